"""`mooring doctor` as a process, at real servers: its exit codes, what it prints where, and what it never prints."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from tests.bare import bare_server
from tests.cli.doctor.process import doctor, running_doctor
from tests.doctor.ledger import running_ledger

pytestmark = pytest.mark.real

TOKEN = f"token-{'0123456789abcdef' * 8}"
OTHER_TOKEN = f"other-{'fedcba9876543210' * 8}"
KEY = "key-51f0c2"
FEW = ("--sessions", "3", "--calls", "2", "--only", "eras,affinity")


async def test_a_healthy_server() -> None:
    async with bare_server("v2") as url:
        said = await doctor(url, *FEW)
        with_json = await doctor(url, *FEW, "--json")
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith(f"healthy: 2 checks are ok\n{url}\n")
    assert (with_json.code, with_json.err) == (0, "")
    assert (with_json.json["outlook"], with_json.json["exit_code"]) == ("healthy", 0)
    assert with_json.json["sessions"] == {"opened": 3, "closed": 3, "left": 0, "why_left": ""}


async def test_a_server_whose_sessions_are_lost() -> None:
    async with running_ledger(lost_share=2) as ledger:
        said = await doctor(ledger.url, *FEW, "--markdown")
    assert (said.code, said.err) == (2, "")
    assert said.out.startswith("## broken: ")
    assert f"- endpoint: `{ledger.url}`" in said.out
    assert ledger.live == set()


async def test_nothing_there() -> None:
    said = await doctor("http://127.0.0.1:1/mcp")
    assert (said.code, said.err) == (3, "")
    assert said.out.startswith("cannot be examined: nothing listens at 127.0.0.1:1\n")
    assert (await doctor("http://127.0.0.1:1/mcp", "--json")).json["exit_code"] == 3


async def test_who_reads_no_further_changes_nothing() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        async with running_doctor("http://127.0.0.1:1/mcp", stdout=writer) as run:
            said = await run.end()
    finally:
        os.close(writer)
    assert (said.code, said.err) == (3, "")


async def _tell_all(request: web.Request) -> web.StreamResponse:
    """A debugging server: every answer but that to `initialize` repeats what was sent, whole or cut."""
    message = await request.json() if request.method == "POST" else {}
    sent = request.headers.get("Authorization", "")
    if message.get("method") == "initialize" and "refuse" not in request.query:
        result = {"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {"name": sent, "version": sent}}
        headers = {"Mcp-Session-Id": "one", "Set-Cookie": f"who={sent.partition(' ')[2]}", "Server": sent}
        return web.json_response({"jsonrpc": "2.0", "id": message["id"], "result": result}, headers=headers)
    said = f"session of {sent} with {request.headers.get('X-Key')} at {request.path_qs}"
    error = {"code": -32600, "message": said, "data": {"reason": said}}
    headers = {"WWW-Authenticate": f'Bearer error="{sent}"', "Location": f"http://h/?t={sent}"}
    status = int(request.query.get("refuse", 404))
    if status == 500:
        return web.Response(text=f"{'x' * 150} {said}", status=status, headers=headers)
    return web.json_response({"jsonrpc": "2.0", "id": None, "error": error}, status=status, headers=headers)


@contextlib.asynccontextmanager
async def telling_server() -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/mcp", _tell_all)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/mcp"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("query", "form"),
    [
        *(("", form) for form in [(), ("--json",), ("--markdown",), ("--debug",)]),
        *((f"refuse={status}", ("--json",)) for status in (307, 401, 403, 404, 500)),
        ("refuse=401", ()),
    ],
)
async def test_no_secret_is_shown_though_the_server_tells_them(query: str, form: tuple[str, ...]) -> None:
    few = ("--sessions", "3", "--calls", "1", "--timeout", "2")
    tokens = ("--token-env", "TOKEN", "--token-env", "OTHER_TOKEN", "--header", f"X-Key: {KEY}")
    async with telling_server() as url:
        said = await doctor(f"{url}?{query}&api_key={KEY}", *few, *tokens, *form, TOKEN=TOKEN, OTHER_TOKEN=OTHER_TOKEN)
    assert said.code in (1, 2, 3)
    if "--json" in form:
        json.loads(said.out)
    for secret in (KEY, *(token[:12] for token in (TOKEN, OTHER_TOKEN))):
        assert secret not in said.out + said.err
