"""Every client against every bare server: what a cluster is then compared with."""

import sys
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.bare import bare_server, serve
from tests.clients.programs import CLIENTS, MODERN_CLIENTS, run_client
from tests.ports import free_port

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="module")]

SESSIONS = 2
CALLS = 4
ONCE = ("connect", "tools", "where", "echo", "progress", "elicitation", "sampling")
LEGACY_CHECKS = dict.fromkeys((*ONCE, "log level", "stream", "subscription", "delete", "gone"), SESSIONS) | {
    "count": SESSIONS * CALLS
}
MODERN_CHECKS = dict.fromkeys((*ONCE, "listen", "no session"), SESSIONS)
ARGUMENTS = ("--sessions", str(SESSIONS), "--calls", str(CALLS))


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["v1", "v2", "fastmcp"])
async def url(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    async with bare_server(request.param) as url:
        yield url


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["v2", "fastmcp"])
async def modern_url(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    async with bare_server(request.param) as url:
        yield url


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["kept", "dropped"])
async def gated(request: pytest.FixtureRequest) -> AsyncIterator[tuple[str, str]]:
    target = "tests.servers.cookie_gate:app"
    async with serve(target, python=sys.executable, environment={"COOKIE_GATE": request.param}) as url:
        yield url, "--cookies" if request.param == "kept" else "--no-cookies"


@pytest.mark.parametrize("client", CLIENTS)
async def test_a_session_of_every_client_works(client: str, url: str) -> None:
    report = await run_client(client, url, *ARGUMENTS)
    assert report.failures == []
    assert report.checks == LEGACY_CHECKS
    assert report.ok


@pytest.mark.parametrize("client", MODERN_CLIENTS)
async def test_the_modern_era_works(client: str, modern_url: str) -> None:
    report = await run_client(client, modern_url, *ARGUMENTS, "--modern")
    assert report.failures == []
    assert report.checks == MODERN_CHECKS


@pytest.mark.parametrize("client", CLIENTS)
async def test_cookies_are_kept_or_dropped_as_told(client: str, gated: tuple[str, str]) -> None:
    url, option = gated
    report = await run_client(client, url, option)
    assert report.failures == []


@pytest.mark.parametrize("client", CLIENTS)
async def test_a_client_without_a_server_says_so(client: str) -> None:
    report = await run_client(client, f"http://127.0.0.1:{free_port()}/mcp")
    assert not report.ok
    assert [failure["check"] for failure in report.failures] == ["connect"]
