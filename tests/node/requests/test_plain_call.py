"""Calls that need nobody to be asked, served with as little as that takes: nobody can tell it from how all others are
served."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

import mooring
from mooring.asgi import HeaderList, Message, Receive, Scope, Send
from mooring.core.handles import Handles, brief
from mooring.errors import NoHandle
from mooring.node.requests import plain_call
from mooring.node.requests.call_states import CallStates
from mooring.node.requests.keep_alive import COMMENT
from mooring.store import MemoryStore
from tests.fakes import FlakyStore
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


@dataclass(frozen=True)
class Named:
    """Handles of one node. Everybody's, but for one."""

    here: str
    other: str
    owned: str
    wrapped: str
    ended: str

    @classmethod
    def of(cls, node: mooring.Mooring) -> Named:
        here, other, ended = (mooring.new_handle("browser") for _ in range(3))
        mooring.end(ended)
        shard = node._node.next_shard()
        owned = node._node.mint_handle("browser", "oauth:ada", shard, survives=False)
        return cls(here, other, owned, node._node.handles.wrap(shard, "own") or "", ended)

    def in_header(self, handle: str) -> HeaderList:
        return [*MODERN, (b"mcp-param-browser", handle.encode())]

    def named_in(self, seen: str) -> str:
        """What was seen, with what each of them is in its place, also where it begins or ends in another way."""
        for name, text in vars(self).items():
            for part in (text[3:], text[3:-1], brief(text)[3:]):
                seen = seen.replace(part, name)
        return seen


NAMING: dict[str, Callable[[Named], dict[str, Any]]] = {
    "one": lambda named: {"pieces": [called(browser=named.here)]},
    "one, in a header too": lambda named: {"headers": named.in_header(named.here), "pieces": [called(b=named.here)]},
    "one, twice in headers": lambda named: {
        "headers": [*named.in_header(named.here), (b"mcp-param-other", named.here.encode())],
        "pieces": [called(browser=named.here)],
    },
    "one, in a header alone": lambda named: {"headers": named.in_header(named.here)},
    "another in a header": lambda named: {
        "headers": named.in_header(named.other),
        "pieces": [called(browser=named.here)],
    },
    "one as the name that the header has": lambda named: {
        "headers": [*MODERN[:2], (b"mcp-name", named.here.encode())],
        "pieces": [called(browser=named.here)],
    },
    "one beside much else": lambda named: {"pieces": [called(page="a~b", browser=named.here, n=[1, {}], x=None)]},
    "twice": lambda named: {"pieces": [called(browser=named.here, again=named.here)]},
    "two": lambda named: {"pieces": [called(browser=named.here, other=named.other)]},
    "in a longer text": lambda named: {"pieces": [called(browser=named.here + ":a tab")]},
    "in a text that begins with another": lambda named: {"pieces": [called(browser="the " + named.here)]},
    "in a list": lambda named: {"pieces": [called(browsers=[named.here])]},
    "as a member's name": lambda named: {"pieces": [called(browsers={named.here: 1})]},
    "as an argument's name": lambda named: {"pieces": [called(**{named.here: 1})]},
    "beside the arguments": lambda named: {
        "pieces": [called(a=1).replace(b'"params": {', b'"params": {"_meta": {"b": "%b"}, ' % named.here.encode())]
    },
    "arguments that are a list": lambda named: {
        "pieces": [called(a=1).replace(b'{"a": 1}', b'["%b"]' % named.here.encode())]
    },
    "arguments twice": lambda named: {
        "pieces": [called(a=1).replace(b'{"a": 1}', b'{"b": "%b"}, "arguments": {}' % named.here.encode())]
    },
    "in what is no JSON": lambda named: {"pieces": [b'"%b' % named.here.encode()]},
    "in a batch": lambda named: {"pieces": [b"[" + called(browser=named.here) + b"]"]},
    "with an escape": lambda named: {"pieces": [called(browser=named.here).replace(b"~", b"\\u007e")]},
    "with an escape elsewhere": lambda named: {"pieces": [called(browser=named.here, text='"')]},
    "one that is somebody's": lambda named: {"pieces": [called(browser=named.owned)]},
    "one that was wrapped": lambda named: {"pieces": [called(browser=named.wrapped)]},
    "one that was ended": lambda named: {"pieces": [called(browser=named.ended)]},
    "one that nobody made": lambda named: {"pieces": [called(browser=named.here[:-1] + "~")]},
    "one of another cluster": lambda named: {"pieces": [called(browser=HANDLE)]},
}


@pytest.mark.parametrize("what", NAMING)
async def test_app_and_client_notice_nothing_of_calls_with_handles(what: str) -> None:
    seen = []
    for key in ("", "header:x-nobody-sends"):
        app = Echo()
        async with joined(app, placement_key=key) as node:
            named = Named.of(node)
            call = await Request(**{"headers": MODERN, **NAMING[what](named)}).to(node)
            assert node._node.open_calls.calls == 0
            assert not any(node._node.sessions.handles.are_in_use(shard) for shard in node._node.membership.shards)
        seen.append(named.named_in(str((app.heard, call.sent))))
    assert seen[0] == seen[1]


async def test_one_that_is_here_and_everybodys_is_told_apart() -> None:
    async with joined(Echo()) as node:
        named = Named.of(node)
        told = {
            what
            for what, make in NAMING.items()
            if node._plain.may_be_one(Request(**{"headers": MODERN, **make(named)}).scope)
            and await node._plain.serve(*_parts(Request(**{"headers": MODERN, **make(named)}))) is None
        }
    assert told == {"one", "one, in a header too", "one, twice in headers", "one beside much else"} | {
        "one as the name that the header has"
    }


async def test_while_it_runs_its_handle_is_in_use_and_its_shard_stays() -> None:
    seen: list[tuple[bool, bool]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        shard = held.shard
        seen.append((node._node.sessions.handles.are_in_use(shard), node._node.arrivals.are_in(shard)))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    async with joined(app) as node:
        handle = mooring.new_handle("browser")
        found = node._node.handles.read(handle)
        assert found is not None
        held = found
        assert await node._plain.serve(*_parts(Request(headers=MODERN, pieces=[called(browser=handle)]))) is None
        assert not node._node.sessions.handles.are_in_use(held.shard)
        assert not node._node.arrivals.are_in(held.shard)
    assert seen == [(True, True)]


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


@pytest.mark.parametrize("key", ["", "header:x-nobody-sends"])
async def test_one_that_is_cut_off_says_so_though_the_store_is_away_that_would_keep_what_it_changed(key: str) -> None:
    runs = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        mooring.state(handle)["page"] = 3
        runs.set()
        await asyncio.Event().wait()

    store = FlakyStore(MemoryStore())
    async with joined(app, store, placement_key=key, hold_seconds=20) as node:
        handle = mooring.new_handle("browser", survives=True)
        call = Request(headers=MODERN, pieces=[called(browser=handle)])
        served = asyncio.create_task(call.to(node))
        await runs.wait()
        store.away = True
        node._node.sessions.handles.cut_off(handle[3:8])
        await until(lambda: asyncio.sleep(0.01, b"outcome_unknown" in call.body), what="its client to hear of it")
        assert not served.done(), "what it changed is still to be kept"
        store.away = False
        await served


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
