from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from mooring.core.model import ShardOwner
from mooring.ingress.catalogue import PROXIES
from mooring.ingress.proxy import Proxy
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
@pytest.mark.parametrize("flag", ["--part", "--dynamic"])
def test_the_part_is_the_dynamic_file(tmp_path: Path, flag: str) -> None:
    assert mooring("ingress", "traefik", flag, "--output", "dynamic.yml").code == 0
    assert "mcp-node-1" in routers((tmp_path / "dynamic.yml").read_text())


@pytest.mark.usefixtures("_filled")
def test_output_is_the_static_file_with_the_dynamic_one_beside_it(tmp_path: Path) -> None:
    assert mooring("ingress", "traefik", "-o", "here.yml").code == 0
    static = yaml.safe_load((tmp_path / "here.yml").read_text())
    assert static["providers"]["file"]["filename"] == "here-dynamic.yml"
    assert "mcp-node-1" in routers((tmp_path / "here-dynamic.yml").read_text())


@pytest.mark.usefixtures("_filled")
@pytest.mark.parametrize("proxy", PROXIES, ids=lambda proxy: proxy.NAME)
def test_every_load_balancer_has_the_same_flags(tmp_path: Path, proxy: Proxy) -> None:
    flags = ("--address", "127.0.0.1:8899", "--mcp-path", "/here", "--insecure-cookies")
    printed = mooring("ingress", proxy.NAME, *flags)
    assert printed.code == 0, printed.err
    assert mooring("ingress", proxy.NAME, *flags, "-o", f"sub-{proxy.FILE}").code == 0
    assert mooring("ingress", proxy.NAME, *flags, "--part", "-o", f"part-{proxy.FILE}").code == 0
    whole = "".join(file.read_text() for file in tmp_path.glob("sub-*"))
    part = "".join(file.read_text() for file in tmp_path.glob("part-*"))
    for text in (printed.out, whole):
        assert all(said in text for said in ("8899", "/here", "abcde"))
    assert "8899" not in part
    assert "abcde" in part
    for text in (printed.out, whole, part):
        assert "Secure" not in text
        assert "secure: true" not in text


@pytest.mark.usefixtures("_filled")
@pytest.mark.parametrize("address", ["", "8080", "host:", "host:0", "host:99999", "a b:1", "x:1;y:2", "::1:80"])
def test_an_address_that_is_not_one(address: str) -> None:
    said = mooring("ingress", "nginx", "--address", address)
    assert said.code == 2
    assert "HOST:PORT" in said.err


@pytest.mark.usefixtures("_filled")
def test_cookies_are_secure_unless_they_may_not_be() -> None:
    assert "secure: true" in mooring("ingress", "traefik", "--dynamic").out
    assert "secure: false" in mooring("ingress", "traefik", "--dynamic", "--insecure-cookies").out


def test_without_nodes_there_is_no_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    use(MemoryStore(), monkeypatch)
    said = mooring("ingress", "traefik", "--dynamic")
    assert said.code == 1
    assert "no node is alive" in said.error_line


@pytest.mark.parametrize(
    "flags",
    [
        ("traefik", "--static", "--dynamic"),
        ("traefik", "--static", "--kubernetes"),
        ("traefik", "--static", "--reload", "x"),
        ("traefik", "--static", "--from-nodes", "http://nodes:8000", "--dynamic-file", "x"),
        ("traefik", "--dynamic-file", "x"),
        ("traefik", "--watch"),
        ("nginx", "--watch"),
        ("nginx", "--reload", "x"),
    ],
)
@pytest.mark.usefixtures("_filled")
def test_flags_that_exclude_each_other(flags: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOORING_STATUS_TOKEN", "a-token-for-tests-and-nowhere-else")
    assert mooring("ingress", *flags).code == 2


def test_a_reload_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    use(filled_store(Clock(1_800_000_000.0)), monkeypatch)
    said = mooring("ingress", "nginx", "--watch", "-o", "x", "--reload", "sh -c 'x")
    assert said.code == 2
    assert "--reload" in said.err


def test_a_file_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    use(filled_store(Clock(1_800_000_000.0)), monkeypatch)
    for flags in (("--part",), ("--static",)):
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
            *("--watch", "--part", "--output", str(file)),
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


TOKEN = "a-token-for-tests,nowhere-else"


def test_traefik_can_ask_the_nodes_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOORING_STATUS_TOKEN", TOKEN)
    flags = ("ingress", "traefik", "--static", "--from-nodes", "http://nodes:8000/", "--insecure-cookies")
    assert TOKEN not in mooring(*flags).out
    assert mooring(*flags, "-o", "static.yml").code == 0
    written = tmp_path / "static.yml"
    assert written.stat().st_mode & 0o077 == 0
    providers = yaml.safe_load(written.read_text())["providers"]
    assert providers["http"]["endpoint"] == "http://nodes:8000/mooring/traefik?insecure_cookies"
    assert providers["http"]["headers"] == {"Authorization": f"Bearer {TOKEN}"}
    assert "file" not in providers


@pytest.mark.parametrize("url", ["nodes:8000", "nodes", "redis://nodes:1", "http://", "http://n:1?x", "http://n:1/#x"])
def test_where_nodes_are_is_a_url(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Traefik would take any text, and ask nobody."""
    monkeypatch.setenv("MOORING_STATUS_TOKEN", TOKEN)
    said = mooring("ingress", "traefik", "--static", "--from-nodes", url)
    assert said.code == 2
    assert "http://nodes:8000" in said.err


def test_nodes_answer_traefik_only_with_a_token() -> None:
    assert "MOORING_STATUS_TOKEN" in mooring("ingress", "traefik", "--static", "--from-nodes", "http://n").err
    assert mooring("ingress", "traefik", "--from-nodes", "http://n").code == 2


def test_the_lines_for_azure_need_no_cluster(tmp_path: Path) -> None:
    said = mooring("ingress", "azure", "--name", "counter", "-g", "mcp", "--stop-seconds", "90")
    assert "sticky-sessions set --name counter --resource-group mcp --affinity sticky\n" in said.out
    assert "--termination-grace-period 120 " in said.out
    assert mooring("ingress", "azure", "-n", "counter", "-g", "mcp", "-o", "lines.sh").code == 0
    assert "mooring doctor https://FQDN/mcp" in (tmp_path / "lines.sh").read_text()
    assert mooring("ingress", "azure", "-n", "a;b", "-g", "mcp").code == 1


@pytest.mark.usefixtures("_filled")
def test_objects_of_kubernetes_for_traefik() -> None:
    said = mooring("ingress", "traefik", "--kubernetes")
    kinds = [one["kind"] for one in yaml.safe_load_all(said.out)]
    assert {"IngressRoute", "TraefikService", "Service", "EndpointSlice", "Middleware", "ServersTransport"} == set(
        kinds
    )
    assert mooring("ingress", "traefik", "--watch", "-o", "x", "--reload", "y").code == 2


@pytest.mark.usefixtures("_filled")
@pytest.mark.parametrize(
    ("params", "says"),
    [("", 'handle_params = "Page,Session-Id"'), ("Page", 'handle_params = "Session-Id"'), ("Page,session-id", "")],
)
def test_arguments_that_no_header_says_are_named_beside_the_configuration(
    monkeypatch: pytest.MonkeyPatch, params: str, says: str
) -> None:
    rules = '[{"mint": "create", "field": "id", "use": ["session_id", "page"]}]'
    monkeypatch.setenv("MOORING_HANDLES", rules)
    monkeypatch.setenv("MOORING_HANDLE_PARAMS", params)
    said = mooring("ingress", "traefik", "--dynamic")
    assert said.code == 0
    assert "mcp-node-1" in routers(said.out)
    assert (says in said.err) if says else (said.err == "")


@pytest.mark.usefixtures("_filled")
def test_headers_that_carry_handles_are_routed_by(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOORING_HANDLE_PARAMS", "Session-Id")
    rule = routers(mooring("ingress", "traefik", "--dynamic").out)["mcp-node-1"]["rule"]
    assert "HeaderRegexp(`Mcp-Param-Session-Id`, `^mh~(abcde)" in rule


@pytest.mark.parametrize("name", ["nginx", "caddy"])
def test_a_part_is_never_loaded_as_the_whole(name: str) -> None:
    """Caddy takes a file of snippets, and serves nothing from then on."""
    said = mooring("ingress", name, "--part", "--watch", "-o", "x")
    assert said.code == 2
    assert "FILE is a part" in said.err


@pytest.mark.usefixtures("_filled")
def test_what_is_no_file_cannot_be_kept_up_to_date() -> None:
    os.mkfifo("pipe")
    said = mooring("ingress", "traefik", "--part", "--watch", "-o", "pipe")
    assert said.code == 2
    assert "pipe is no file" in said.err


@pytest.mark.usefixtures("_filled")
@pytest.mark.parametrize(
    ("flags", "flag"),
    [
        (("traefik", "-o", "traefik.conf"), "--output"),
        (("traefik", "--part", "-o", "dynamic"), "--output"),
        (("traefik", "--static", "-o", "traefik.toml"), "--output"),
        (("traefik", "--static", "--dynamic-file", "d.conf"), "--dynamic-file"),
        (("envoy", "-o", "envoy.conf"), "--output"),
    ],
)
def test_a_file_whose_ending_its_program_does_not_take(flags: tuple[str, ...], flag: str, tmp_path: Path) -> None:
    said = mooring("ingress", *flags)
    assert said.code == 2
    assert f"{flag}" in said.err
    assert ".yaml" in said.err
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("_filled")
def test_kubectl_takes_a_file_of_any_ending() -> None:
    assert mooring("ingress", "traefik", "--kubernetes", "-o", "objects.txt").code == 0
