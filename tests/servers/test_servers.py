"""The servers under test, bare: what they pass of the conformance suite, and what two nodes of one share."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio
from mcp import Client, types
from mcp.server.subscriptions import ResourceUpdated

from tests.bare import ServerKind, bare_server
from tests.clients.conformance import passed_scenarios, run_conformance
from tests.real_redis import real_redis
from tests.servers import fixtures

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="module")]

SECOND_GENERATION: tuple[ServerKind, ...] = ("v2", "fastmcp")
LEGACY, MODERN = "2025-11-25", "2026-07-28"
# (server, revision) -> how many scenarios there are, and how many the bare server passes at least. The first
# generation of the SDK passes five of the modern era's by refusing.
FLOORS: dict[tuple[ServerKind, str], tuple[int, int]] = {
    ("v1", LEGACY): (33, 33),
    ("v1", MODERN): (40, 5),
    ("v2", LEGACY): (33, 33),
    ("v2", MODERN): (40, 40),
    ("fastmcp", LEGACY): (33, 33),
    ("fastmcp", MODERN): (40, 40),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["v1", "v2", "fastmcp"])
async def server(request: pytest.FixtureRequest) -> AsyncIterator[tuple[ServerKind, str]]:
    async with bare_server(request.param) as url:
        yield request.param, url


@pytest.mark.parametrize("spec_version", [LEGACY, MODERN])
async def test_conformance(server: tuple[ServerKind, str], spec_version: str, tmp_path: Path) -> None:
    kind, url = server
    results = await run_conformance(url, spec_version, tmp_path)
    scenarios, floor = FLOORS[kind, spec_version]
    assert len(results) == scenarios
    assert len(passed_scenarios(results)) >= floor, {
        scenario: result.failing for scenario, result in results.items() if not result.ok
    }


async def test_two_runs_find_the_same(tmp_path: Path) -> None:
    async with bare_server("v2") as url:
        first, second = [await run_conformance(url, LEGACY, tmp_path) for _ in range(2)]
    assert first == second


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=SECOND_GENERATION)
async def two_nodes(request: pytest.FixtureRequest) -> AsyncIterator[tuple[str, str]]:
    async with real_redis() as redis, AsyncExitStack() as stack:
        environment = {"EVERYTHING_REDIS_URL": redis.url, "EVERYTHING_STATE_KEY": "one key for both nodes, 32 bytes"}
        first, second = [await stack.enter_async_context(bare_server(request.param, environment)) for _ in range(2)]
        yield first, second


async def test_one_node_opens_the_state_that_another_sealed(two_nodes: tuple[str, str]) -> None:
    tool = "test_input_required_result_request_state"
    async with Client(two_nodes[0], mode=MODERN) as first, Client(two_nodes[1], mode=MODERN) as second:
        asked = await first.session.call_tool(tool, {}, allow_input_required=True)
        assert isinstance(asked, types.InputRequiredResult)
        answers: types.InputResponses = {"confirm": types.ElicitResult(action="accept", content={"ok": True})}
        result = await second.call_tool(tool, {}, input_responses=answers, request_state=asked.request_state)
    assert [getattr(content, "text", None) for content in result.content] == ["state-ok"]


async def test_a_change_on_one_node_reaches_a_listener_on_another(two_nodes: tuple[str, str]) -> None:
    async with (
        Client(two_nodes[0], mode=MODERN) as first,
        Client(two_nodes[1], mode=MODERN) as second,
        first.listen(resource_subscriptions=[fixtures.WATCHED_URI]) as changes,
    ):
        await second.call_tool("touch", {"uri": fixtures.WATCHED_URI})
        assert await anext(changes) == ResourceUpdated(fixtures.WATCHED_URI)
