"""A port for peers alone, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from mooring.asgi import App, Receive, Scope, Send, respond
from mooring.errors import SettingsError, StoreUnavailable
from mooring.node.links import peer_port
from mooring.node.links.peer_port import PeerPort


@contextlib.asynccontextmanager
async def opened(app: App, state: dict[str, Any] | None = None, **given: Any) -> AsyncIterator[PeerPort]:
    port = PeerPort(app, **{"host": None, "ports": range(1), "redis_url": None, **given})
    await port.open({} if state is None else state)
    try:
        yield port
    finally:
        await port.drain()
        await port.close()


async def ok(scope: Scope, receive: Receive, send: Send) -> None:
    await respond(send, 200, b"ok")


def port_of(port: PeerPort) -> int:
    return int(port.url.rpartition(":")[2])


async def test_it_is_where_redis_is_reached_from_and_serves_with_the_apps_state() -> None:
    scopes: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope)
        await respond(send, 200, b"ok")

    async with (
        opened(app, {"pool": "of the app"}, redis_url="redis://127.0.0.1:1") as port,
        aiohttp.ClientSession() as http,
    ):
        assert port.url.startswith("http://127.0.0.1:")
        async with http.post(f"{port.url}/mcp?a=b", data=b"x", headers={"X-Forwarded-For": "10.1.1.1"}) as answer:
            assert (answer.status, await answer.read()) == (200, b"ok")
    (scope,) = scopes
    assert (scope["path"], scope["query_string"], scope["state"]) == ("/mcp", b"a=b", {"pool": "of the app"})
    assert scope["client"][0] == "127.0.0.1", "nobody's word for it"


async def test_it_leaves_the_logs_of_the_server_around_it_alone(caplog: pytest.LogCaptureFixture) -> None:
    access = logging.getLogger("uvicorn.access")
    before = (list(access.handlers), access.propagate, access.level)
    with caplog.at_level(logging.INFO, "uvicorn.error"):
        async with opened(ok):
            pass
    assert (list(access.handlers), access.propagate, access.level) == before
    assert caplog.records == []


async def test_each_takes_the_first_free_port_of_a_range_and_the_last_one_is_told() -> None:
    """Of two ports that the system gave, the first stays taken; nothing is known of those between them."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        taken, free = sorted((one, other), key=lambda listener: int(listener.getsockname()[1]))
        first, last = taken.getsockname()[1], free.getsockname()[1]
        ports = range(first, last + 1, last - first)
        free.close()
        async with opened(ok, ports=ports) as second:
            assert port_of(second) == last
            with pytest.raises(SettingsError, match=f"peer_ports: '{first}-{last}' is wrong: none is free on 127"):
                await PeerPort(ok, None, ports, None).open({})


async def test_a_host_of_another_machine() -> None:
    with pytest.raises(
        SettingsError, match=r"peer_host: '192\.0\.2\.1' is wrong: it has to be an address of this mach"
    ):
        await PeerPort(ok, "192.0.2.1", range(1), None).open({})


async def test_a_redis_that_cannot_be_found() -> None:
    with pytest.raises(StoreUnavailable, match=r"no-such-host\.invalid cannot be found"):
        await PeerPort(ok, None, range(1), "redis://no-such-host.invalid").open({})


async def test_what_peers_have_asked_for_is_finished_and_what_only_listens_is_ended() -> None:
    may_finish, listening, working_there = asyncio.Event(), asyncio.Event(), asyncio.Event()
    ended: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "GET":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b": here", "more_body": True})
            listening.set()
            while (await receive())["type"] != "http.disconnect":
                pass
        else:
            working_there.set()
            await may_finish.wait()
            await respond(send, 200, b"done")
        ended.append(scope["method"])

    async with opened(app) as port, aiohttp.ClientSession() as http:
        stream = await http.get(f"{port.url}/mcp")
        working = asyncio.create_task(http.post(f"{port.url}/mcp", data=b"x"))
        await listening.wait()
        await working_there.wait()
        draining = asyncio.create_task(port.drain())
        await asyncio.sleep(0)
        with pytest.raises(aiohttp.ClientConnectorError):
            await http.get(f"{port.url}/mcp")
        assert not draining.done()
        may_finish.set()
        await draining
        assert (await working).status == 200
        assert ended == ["POST"]
        await port.close()
        assert ended == ["POST", "GET"]
        with pytest.raises(aiohttp.ClientError):
            await stream.read()


async def test_what_takes_too_long_is_ended_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_port, "_DRAIN_SECONDS", 0.05)
    asked = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        asked.set()
        await asyncio.Event().wait()

    async with opened(app) as port, aiohttp.ClientSession() as http:
        working = asyncio.create_task(http.post(f"{port.url}/mcp", data=b"x"))
        await asked.wait()
        await port.drain()
        await port.close()
        with pytest.raises(aiohttp.ClientError):
            await working


async def test_one_that_was_never_opened() -> None:
    port = PeerPort(ok, None, range(1), None)
    await port.drain()
    await port.close()
    assert port.url == ""
