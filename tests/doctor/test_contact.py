"""What is no MCP endpoint, or lets nobody in: one clear verdict each, and never a traceback."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiohttp import web

from mooring.doctor.report import Outlook, Report
from tests.deployments import haproxy
from tests.deployments.faults import Faults, running_faults
from tests.doctor.runs import finding, problems, run
from tests.doctor.serving import serving
from tests.ports import free_port
from tests.servers.tokens import ALICE_TOKEN

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def faults() -> AsyncIterator[Faults]:
    async with running_faults() as running:
        yield running


def said(report: Report) -> str:
    """What is said of an endpoint that cannot be examined."""
    assert report.outlook is Outlook.UNREACHABLE
    [found] = report.findings
    assert found.check == "endpoint"
    assert found.changes
    return found.says


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("silent", "no answer within 1 s"),
        ("page", "no MCP endpoint: POST is answered with 200 (text/html)"),
        ("login", "`initialize` is answered with 401 Unauthorized: a login seems to be needed"),
        ("other_host", "the server refuses its own host name: 421 Invalid Host header"),
        ("echo", "`initialize` is answered with 500"),
    ],
)
async def test_what_is_wrong_is_said_in_a_line(faults: Faults, fault: str, says: str) -> None:
    assert said(await run(getattr(faults, fault), timeout_seconds=1.0)) == says


async def test_nothing_listens() -> None:
    assert said(await run(f"http://127.0.0.1:{free_port()}/mcp")).startswith("nothing listens at 127.0.0.1:")


async def test_a_name_that_is_none() -> None:
    report = await run("http://no-such-host.invalid/mcp")
    assert said(report) == "the host name no-such-host.invalid cannot be resolved"


async def test_a_certificate_that_nobody_trusts(faults: Faults) -> None:
    async with haproxy.self_signed([faults.healthy]) as url:
        report = await run(url)
    assert said(report) == "TLS fails: self-signed certificate"
    assert "SSL_CERT_FILE" in report.findings[0].changes[0].what


async def test_https_where_http_is_spoken(faults: Faults) -> None:
    report = await run(faults.healthy.replace("http:", "https:"))
    assert said(report) == "TLS fails: what answers does not speak it (wrong version number)"
    assert "certificate" not in report.findings[0].changes[0].what


async def test_a_limit_on_the_rate_is_no_missing_endpoint() -> None:
    async def slow_down(request: web.Request) -> web.StreamResponse:
        return web.Response(status=429, headers={"Retry-After": "30"}, text="slow down")

    async with serving(slow_down) as url:
        report = await run(url)
    assert said(report) == "the server limits the rate of requests: 429 slow down"
    assert report.findings[0].evidence["retry_after"] == "30"


async def test_something_that_is_no_http() -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example.com ESMTP\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()
        assert said(await run(f"http://{host}:{port}/mcp")) == "what answers does not speak HTTP"


async def test_a_connection_that_is_closed_at_once() -> None:
    async def close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(close, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()
        assert said(await run(f"http://{host}:{port}/mcp")) == "the connection is closed without an answer"


async def test_a_token_that_is_refused_and_never_shown(faults: Faults) -> None:
    report = await run(faults.login, tokens=("wrong-token-123",))
    assert said(report) == "the token is refused: 401 Unauthorized"
    assert report.findings[0].evidence["challenge"].startswith("Bearer error=")
    echoed = await run(faults.echo, tokens=("wrong-token-123",), headers=(("X-Key", "another-secret"),))
    for shown in (report, echoed):
        assert "wrong-token" not in json.dumps(shown.as_json())
        assert "another-secret" not in json.dumps(shown.as_json())


async def test_a_token_that_is_right_opens(faults: Faults) -> None:
    report = await run(faults.login, tokens=(ALICE_TOKEN,), only=frozenset({"eras", "affinity"}), calls=2)
    assert report.outlook is Outlook.HEALTHY


async def test_a_redirect_within_the_origin_is_followed_and_warned_of(faults: Faults) -> None:
    report = await run(faults.slash, only=frozenset({"eras", "affinity"}), calls=2)
    assert report.reached
    assert report.url == faults.slash, "the URL that was typed"
    assert problems(report) == {"endpoint": f"every request is redirected to {faults.slash}/"}


async def test_a_redirect_elsewhere_is_not_followed(faults: Faults) -> None:
    assert said(await run(faults.moved, tokens=("secret-token",))) == f"redirected to {faults.healthy}"


@pytest.mark.parametrize("redirect", [302, 303, 307])
@pytest.mark.parametrize("status", [200, 403, 405])
async def test_a_redirect_to_a_login_page_is_no_url_for_clients(redirect: int, status: int) -> None:
    async def answer(request: web.Request) -> web.Response:
        if request.path == "/login":
            return web.Response(status=status, text="<html>Sign in</html>", content_type="text/html")
        return web.Response(status=redirect, headers={"Location": "/login?next=/mcp"})

    async with serving(answer) as url:
        report = await run(url)
    found = finding(report, "endpoint")
    assert report.outlook is Outlook.UNREACHABLE
    assert re.fullmatch(r"every request is redirected to .*/login\?next=/mcp, where no session is opened", found.says)
    assert f"That is from {url}." in found.why
    assert not any("Give clients the URL" in change.what for change in found.changes)
    assert "--token-env" in found.changes[0].what


async def test_a_redirect_to_itself_ends() -> None:
    async def again(request: web.Request) -> web.StreamResponse:
        return web.Response(status=307, headers={"Location": "/mcp"})

    async with serving(again) as url:
        assert said(await run(url)) == "redirected to /mcp"


async def test_the_deprecated_transport_is_recognised() -> None:
    async def old(request: web.Request) -> web.StreamResponse:
        if request.method != "GET":
            return web.Response(status=405)
        stream = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await stream.prepare(request)
        await stream.write(b"event: endpoint\ndata: /messages?session_id=1\n\n")
        await asyncio.Event().wait()
        return stream

    async with serving(old) as url:
        assert said(await run(url)) == "the server speaks the deprecated HTTP+SSE transport only (2024-11-05)"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b'{"jsonrpc": "2.0", "id": 1, "result": []}',
        b'{"jsonrpc": "2.0", "id": 1, "error": "no object"}',
        b'[[[{"jsonrpc": "2.0"}]]]',
        b"\xff" * 1000,
    ],
)
async def test_nonsense_is_no_endpoint(body: bytes) -> None:
    async def nonsense(_: web.Request) -> web.StreamResponse:
        return web.Response(body=body, content_type="application/json")

    async with serving(nonsense) as url:
        assert said(await run(url)) == "no MCP endpoint: POST is answered with 200 (application/json)"


async def test_escape_sequences_do_not_get_through() -> None:
    async def colourful(_: web.Request) -> web.StreamResponse:
        return web.Response(status=400, text="\x1b[2J\x1b]0;title\x07[bold]gone[/bold]\n\nnext")

    async with serving(colourful) as url:
        assert said(await run(url)) == "no MCP endpoint: POST is answered with 400 [bold]gone[/bold]  next (text/plain)"
