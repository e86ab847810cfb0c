"""The servers under test, bare: what they pass of the conformance suite."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.bare import ServerKind, bare_server
from tests.clients.conformance import passed_scenarios, run_conformance

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="module")]

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
