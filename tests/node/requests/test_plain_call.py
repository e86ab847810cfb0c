"""Calls that name no handle, served with as little as that takes: nobody can tell it from how all others are served."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import threading
from typing import Any

import pytest

import mooring
from mooring.asgi import HeaderList, Message, Receive, Scope, Send
from mooring.core.handles import Handles
from mooring.errors import NoHandle
from mooring.node.requests import plain_call
from mooring.node.requests.call_states import CallStates
from mooring.node.requests.keep_alive import COMMENT
from mooring.store import MemoryStore
from tests.node.direct import Request, joined
from tests.waiting import until

VERSION = (b"mcp-protocol-version", b"2026-07-28")
MODERN: HeaderList = [VERSION, (b"mcp-method", b"tools/call"), (b"mcp-name", b"add"), (b"accept", b"*/*")]
HANDLE = Handles("the secret of another cluster").mint("aaaaa", "browser", bytes(16))
STREAM: HeaderList = [(b"content-type", b"text/event-stream")]


def called(**arguments: Any) -> bytes:
    params = {"name": "add", "arguments": arguments}
    return json.dumps({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params}).encode()


class Echo:
    """Says what it was asked, and names a session in its answer as apps of the legacy era do.

    Attributes:
        heard: what it was asked, without what servers and other nodes do not send.
    """

    def __init__(self) -> None:
        self.heard: list[tuple[str, HeaderList, bytes]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message.get("body", b"")
            if not message.get("more_body", False):
                break
        self.heard.append((scope["method"], list(scope["headers"]), body))
        headers = [(b"content-type", b"application/json"), (b"Mcp-Session-Id", b"of its own")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b'{"echo": %d}' % len(body)})


CALLS: dict[str, dict[str, Any]] = {
    "plain": {},
    "a notification": {"pieces": [b'{"jsonrpc":"2.0","method":"notifications/cancelled"}']},
    "no JSON": {"pieces": [b"no JSON"]},
    "nothing": {"pieces": [b""]},
    "in pieces": {"pieces": [called(a=1)[:20], called(a=1)[20:]]},
    "a batch": {"pieces": [b" [" + called(a=1) + b"]"]},
    "large": {"pieces": [called(text="x" * 2_000_000)]},
    "below the endpoint": {"path": "/mcp/more"},
    "with a session": {"headers": [*MODERN, (b"mcp-session-id", b"anybody's")]},
    "with a query, which may name a session of HTTP+SSE": {"query": b"a=b"},
    "of two revisions": {"headers": [*MODERN, (b"mcp-protocol-version", b"2025-11-25")]},
    "of one that is no date": {"headers": [(b"mcp-protocol-version", b"2026-99-99"), *MODERN[1:]]},
    "twice the same": {"headers": [*MODERN, VERSION]},
    "with what peers send": {"headers": [*MODERN, (b"mooring-begin", b"1")]},
    "from a peer that is none": {"headers": [*MODERN, (b"mooring-peer", b"anybody")]},
    "compressed": {"headers": [*MODERN, (b"content-encoding", b"gzip")], "pieces": [gzip.compress(called(a=1))]},
    "from a page": {"headers": [*MODERN, (b"origin", b"https://page.example")]},
    "a handle in a header": {"headers": [*MODERN, (b"mcp-param-browser", HANDLE.encode())]},
    "a handle in base64": {"headers": [*MODERN, (b"mcp-param-x", b"=?base64?bWh+YWFhYWEuZm9yZ2Vk?=")]},
    "a handle in percents": {"headers": [*MODERN[:2], (b"mcp-name", HANDLE.replace("~", "%7E").encode())]},
    "a handle in the body": {"pieces": [called(browser=HANDLE)]},
    "one with an escape": {"pieces": [called(browser=HANDLE).replace(b"~", b"\\u007e")]},
    "one in UTF-16": {"pieces": [called(browser=HANDLE).decode().encode("utf-16")]},
}


@pytest.mark.parametrize("what", CALLS)
async def test_app_and_client_notice_nothing(what: str) -> None:
    seen = []
    for key in ("", "header:x-nobody-sends"):  # with a key nothing is told at a look
        app = Echo()
        async with joined(app, placement_key=key) as node:
            call = await Request(**{"headers": MODERN, "pieces": [called(a=1)], **CALLS[what]}).to(node)
        seen.append((app.heard, call.sent, call.scope))
    assert seen[0] == seen[1]
    assert seen[0][1], "it was answered"


async def test_a_plain_one_is_told_apart() -> None:
    """Or the test above would compare the same with the same."""
    async with joined(Echo()) as node:
        told = {
            what
            for what, call in CALLS.items()
            if node._plain.may_be_one(Request(**{"headers": MODERN, **call}).scope)
            and await node._plain.serve(*_parts(Request(**{"headers": MODERN, "pieces": [called(a=1)], **call})))
            is None
        }
    assert told == {
        "plain",
        "a notification",
        "no JSON",
        "nothing",
        "in pieces",
        "below the endpoint",
        "twice the same",
    }


def _parts(call: Request) -> tuple[Scope, Receive, Send]:
    return call.scope, call.receive, call.send


async def test_a_node_that_drains_passes_them_on_as_all_others() -> None:
    app = Echo()
    async with joined(app) as node:
        draining = asyncio.create_task(node.drain())
        await until(lambda: asyncio.sleep(0, not node._node.takes_new_sessions), what="the node to drain")
        assert await node._plain.serve(*_parts(Request(headers=MODERN, pieces=[called(a=1)]))) is not None
        await draining
    assert app.heard == []


async def test_comments_are_said_into_its_stream() -> None:
    is_over = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": STREAM})
        await is_over.wait()
        await send({"type": "http.response.body", "body": b"data: {}\n\n", "more_body": False})

    async with joined(app, stream_comment_seconds=0.05) as node:
        call = Request(headers=MODERN, pieces=[called(a=1)])
        served = asyncio.create_task(call.to(node))
        await until(lambda: asyncio.sleep(0.01, COMMENT in call.body), what="a comment")
        is_over.set()
        await served
    assert call.body.replace(COMMENT, b"") == b"data: {}\n\n"


async def test_what_it_mints_is_kept_and_known_no_longer_than_it_runs() -> None:
    late: list[BaseException] = []
    minted: list[str] = []
    is_answered = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        handle = mooring.new_handle("browser")
        minted.append(handle)
        mooring.state(handle)["page"] = 3

        async def too_late() -> None:
            await is_answered.wait()
            try:
                mooring.state(handle)
            except NoHandle as error:
                late.append(error)

        tasks.append(asyncio.create_task(too_late()))
        await send({"type": "http.response.start", "status": 200, "headers": STREAM[:0]})
        await send({"type": "http.response.body", "body": b'{"jsonrpc":"2.0","id":7,"result":{}}'})

    tasks: list[asyncio.Task[None]] = []
    store = MemoryStore()
    async with joined(app, store) as node:
        await Request(headers=MODERN, pieces=[called(a=1)]).to(node)
        is_answered.set()
        await asyncio.gather(*tasks)
        kept = node._node.state_of_handle(minted[0])
        assert kept is not None
        assert b'"page"' in (kept.state.kept or b"")
    assert len(late) == 1


async def test_threads_of_one_call_lose_nothing_of_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    both = threading.Barrier(2)
    minted: list[str] = []

    def slowly(*args: Any, **kwargs: Any) -> CallStates:
        with contextlib.suppress(threading.BrokenBarrierError):
            both.wait(0.2)  # where another thread is here as well
        return CallStates(*args, **kwargs)

    def keep(handle: str) -> None:
        mooring.state(handle)["page"] = 3

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        minted[:] = [mooring.new_handle("browser") for _ in range(2)]
        await asyncio.gather(*(asyncio.to_thread(keep, handle) for handle in minted))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b'{"jsonrpc":"2.0","id":7,"result":{}}'})

    monkeypatch.setattr(plain_call, "CallStates", slowly)
    async with joined(app) as node:
        await Request(headers=MODERN, pieces=[called(a=1)]).to(node)
        kept = [node._node.state_of_handle(handle) for handle in minted]
        assert [b'"page"' in (each.state.kept or b"") for each in kept if each is not None] == [True, True]


async def test_an_app_that_fails_is_the_servers_to_answer_for() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise LookupError("its own")

    async with joined(app) as node:
        with pytest.raises(LookupError, match="its own"):
            await Request(headers=MODERN, pieces=[called(a=1)]).to(node)
        assert node._node.open_calls.calls == 0


async def test_a_client_that_has_left_is_heard_of() -> None:
    heard: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        heard.append(await receive())
        heard.append(await receive())

    async with joined(app) as node:
        call = Request(headers=MODERN, pieces=[called(a=1)])
        call.leave()
        await call.to(node)
    assert [message["type"] for message in heard] == ["http.request", "http.disconnect"]
