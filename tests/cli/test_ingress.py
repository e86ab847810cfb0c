from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from mooring.core.model import ShardOwner
from mooring.store import MemoryStore, RedisStore
from tests.cli.command import mooring
from tests.cli.registries import NODE_1, NODE_2, filled_store, use
from tests.fakes import Clock
from tests.real_redis import real_redis
from tests.waiting import until


@pytest.fixture
def _filled(monkeypatch: pytest.MonkeyPatch) -> None:
    use(filled_store(Clock(1_800_000_000.0)), monkeypatch)


def routers(text: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(text)["http"]["routers"]
    return found


@pytest.mark.usefixtures("_filled")
def test_both_parts_as_two_documents() -> None:
    static, dynamic = yaml.safe_load_all(mooring("ingress", "traefik").out)
    assert static["entryPoints"]["web"]["address"] == "127.0.0.1:8080"
    assert static["providers"]["file"]["filename"] == "traefik-dynamic.yml"
    assert set(dynamic["http"]["routers"]) == {"mcp-node-1", "mcp-node-2", "mcp", "default"}


@pytest.mark.usefixtures("_filled")
def test_the_dynamic_part_alone_has_the_nodes_that_are_alive_and_their_shards() -> None:
    found = routers(mooring("ingress", "traefik", "--dynamic", "--mcp-path", "/here").out)
    assert "^(abcde)" in found["mcp-node-1"]["rule"]
    assert "Path(`/here`)" in found["mcp"]["rule"]
    assert "mcp-node-3" not in found


def test_the_static_part_needs_no_cluster(tmp_path: Path) -> None:
    said = mooring("ingress", "traefik", "--static", "--address", ":443")
    assert yaml.safe_load(said.out)["entryPoints"]["web"]["address"] == ":443"
    assert mooring("ingress", "traefik", "--static", "--output", "traefik.yml").out == ""
    assert "web" in yaml.safe_load((tmp_path / "traefik.yml").read_text())["entryPoints"]


@pytest.mark.usefixtures("_filled")
@pytest.mark.parametrize("flags", [(), ("--dynamic",)])
def test_output_is_the_dynamic_file(tmp_path: Path, flags: tuple[str, ...]) -> None:
    assert mooring("ingress", "traefik", *flags, "--output", "dynamic.yml").code == 0
    assert "mcp-node-1" in routers((tmp_path / "dynamic.yml").read_text())


@pytest.mark.usefixtures("_filled")
def test_cookies_are_secure_unless_they_may_not_be() -> None:
    assert "secure: true" in mooring("ingress", "traefik", "--dynamic").out
    assert "secure: false" in mooring("ingress", "traefik", "--dynamic", "--insecure-cookies").out


def test_without_nodes_there_is_no_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    use(MemoryStore(), monkeypatch)
    said = mooring("ingress", "traefik", "--dynamic")
    assert said.code == 1
    assert "no node is alive" in said.error_line


@pytest.mark.parametrize("flags", [("--static", "--dynamic"), ("--watch",), ("--watch", "--static", "--output", "x")])
def test_flags_that_exclude_each_other(flags: tuple[str, ...]) -> None:
    assert mooring("ingress", "traefik", *flags).code == 2


def test_a_file_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    use(filled_store(Clock(1_800_000_000.0)), monkeypatch)
    for flags in ((), ("--static",)):
        said = mooring("ingress", "traefik", *flags, "--output", "/no/such/folder/x.yml")
        assert said.code == 1
        assert "cannot write /no/such/folder/x.yml: " in said.error_line


@pytest.mark.real
@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
async def test_watch_follows_the_nodes_until_it_is_stopped(tmp_path: Path, signal_number: int) -> None:
    file = tmp_path / "dynamic.yml"
    async with real_redis() as redis:
        store = RedisStore(redis.url, "mcp", timeout_seconds=2)
        await store.register(NODE_1, lease_seconds=60)
        await store.claim("abcde", ShardOwner(NODE_1.id, 1), expected_epoch=0)
        watching = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "mooring", "ingress", "traefik", "--redis-url", redis.url),
            *("--watch", "--output", str(file)),
        )
        try:

            async def has(router: str) -> bool:
                return file.exists() and router in routers(file.read_text())

            await until(lambda: has("mcp-node-1"), what="the first node")
            await store.register(NODE_2, lease_seconds=60)
            await store.claim("fghij", ShardOwner(NODE_2.id, 1), expected_epoch=0)
            await until(lambda: has("mcp-node-2"), what="the second node", seconds=2)
            watching.send_signal(signal_number)
            assert await asyncio.wait_for(watching.wait(), 5) == 0
        finally:
            if watching.returncode is None:
                watching.kill()
            await store.aclose()
