"""Each load balancer, started for real with the configuration that is written for it, in front of three real backends.

The table in `docs/behind-a-proxy.md` says what each can do; here it is made to say what is so.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from mooring.ingress import haproxy, nginx
from mooring.ingress.catalogue import PROXIES
from mooring.ingress.proxy import SILENT_MINUTES, Files, Proxy
from tests.ingress.abilities import DESTRUCTIVE, REST, UNHARMED, Ability, Stage, next_event
from tests.ingress.real_nodes import backends
from tests.ingress.real_proxies import RUNNING, real_proxy
from tests.ingress.topologies import SHARDS, three_nodes

pytestmark = pytest.mark.real

DOC = Path(__file__).resolve().parents[2] / "docs/behind-a-proxy.md"
ROW = re.compile(r"^\| ([^|]+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)


def table() -> dict[str, dict[str, str]]:
    """What the document says: ability -> load balancer -> `yes` or `no`, with or without a remark."""
    head, *rows = [[cell.strip() for cell in row] for row in ROW.findall(DOC.read_text(encoding="utf-8"))]
    return {row[0]: dict(zip((cell.lower() for cell in head[1:]), row[1:], strict=True)) for row in rows}


def test_the_table_has_a_column_for_each_load_balancer_and_a_row_for_each_ability() -> None:
    rows = table()
    assert set(rows) == {*UNHARMED, *DESTRUCTIVE}
    for row in rows.values():
        assert list(row) == [proxy.NAME for proxy in PROXIES]
        assert all(re.match(r"(yes|no)\b", cell) for cell in row.values())


@contextlib.asynccontextmanager
async def stage(kind: Proxy, folder: Path) -> AsyncIterator[Stage]:
    ledger = folder / "ledger"
    async with backends(*SHARDS, ledger=ledger) as nodes:
        topology = three_nodes({name: node.url for name, node in nodes.items()})
        async with real_proxy(kind, folder, topology) as proxy:
            yield Stage(proxy, nodes, ledger)


@pytest.mark.parametrize("kind", [nginx, haproxy], ids=lambda kind: kind.NAME)
async def test_the_limit_in_its_configuration_is_the_one_that_ends_silence(
    kind: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it is written it is more than an hour, and nobody waits for that. Of the others none has one by itself."""
    assert SILENT_MINUTES > 60
    monkeypatch.setattr(kind, "whole", with_limit_of_a_second(kind.whole))
    headers = {"Accept": "text/event-stream", "Mcp-Session-Id": f"aaaaa.{REST}"}
    async with (
        stage(kind, tmp_path) as short,
        short.proxy.session.get(short.proxy.url + "/mcp/silent", headers=headers) as stream,
    ):
        assert await next_event(stream) == "node-1 0"
        with contextlib.suppress(aiohttp.ClientPayloadError):
            async with asyncio.timeout(4.5):  # for so long it lives where the limit is as written
                await stream.content.read()


def with_limit_of_a_second(whole: Any) -> Any:
    def write(*arguments: Any) -> Files:
        limit = f"{SILENT_MINUTES}m"
        files = whole(*arguments)
        assert any(limit in text for text in files.values())
        return {file: text.replace(limit, "1s") for file, text in files.items()}

    return write


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=RUNNING, ids=lambda kind: kind.NAME)
async def standing(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    async with stage(request.param, tmp_path_factory.mktemp(request.param.NAME)) as running:
        yield running


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", UNHARMED)
async def test_the_table_tells_what_it_does(standing: Stage, name: str) -> None:
    await holds(standing, name, UNHARMED[name])


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", DESTRUCTIVE)
async def test_the_table_tells_what_it_does_in_trouble(standing: Stage, name: str) -> None:
    try:
        await holds(standing, name, DESTRUCTIVE[name])
    finally:
        await standing.restore()


async def holds(stage: Stage, name: str, ability: Ability) -> None:
    """What a cell says is so: `yes` where the ability is there, `no` where it is not."""
    if table()[name][stage.proxy.kind.NAME].startswith("yes"):
        await ability(stage)
    else:
        with pytest.raises(AssertionError):
            await ability(stage)


@pytest.mark.asyncio(loop_scope="module")
async def test_requests_that_fail_everywhere_cost_nobody_else_an_answer(standing: Stage) -> None:
    """Traefik takes a node out for answers of 500; its requests then go to its peers, until the next check."""
    for path in ("/fail", "/mcp/fail"):
        assert await standing.answers(path, f"aaaaa.{REST}", count=12) == {"500"}
    for path, session_id in (("/mcp", f"aaaaa.{REST}"), ("/mcp", None), ("/other", None)):
        assert await standing.answers(path, session_id, count=6) <= set(SHARDS)
    await standing.restore()
