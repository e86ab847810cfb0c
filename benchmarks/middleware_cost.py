"""What the middleware alone costs: called in this process, around an app that only reads the body and answers.

No network, no HTTP parser, no MCP; so the noise is small enough to see tenths of a microsecond. It is the cost with
everything in the processor's caches: `in_process` shows it next to a real app.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks import messages
from benchmarks.exchange import open_session
from benchmarks.result import Result, Spread
from mooring import Mooring, Settings
from mooring.asgi import App, Message, Receive, Scope, Send
from mooring.node.membership import inner_ids

_ANSWER = b'event: message\r\ndata: {"jsonrpc":"2.0","id":%d,"result":{"protocolVersion":"2025-11-25"}}\r\n\r\n'
_OPENED, _CALLED = _ANSWER % 0, _ANSWER % 1


def _minted() -> bytes:
    """The id that Mooring holds ready for the SDK."""
    held = inner_ids._next_id.get()
    return held.pop().encode() if held else b"minted-without-mooring"


def _own() -> bytes:
    return b"the-apps-own-id"


class StubApp:
    """Answers as the SDK does: headers, one event, the end. Only to `initialize` with the id of a new session."""

    def __init__(self) -> None:
        self.mint: Callable[[], bytes] = _minted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        message = await receive()
        headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache")]
        is_initialize = b'"initialize"' in message["body"]
        if is_initialize:
            headers.append((b"mcp-session-id", self.mint()))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": _OPENED if is_initialize else _CALLED, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


class Wire:
    """As cheap a server's side as can be: the same request again and again, the answer thrown away."""

    def __init__(self, request: bytes) -> None:
        self._message: Message = {"type": "http.request", "body": messages.body(request), "more_body": False}
        self._headers = messages.header_list(request)

    def scope(self, path: str) -> Scope:
        return {
            "type": "http",
            "method": "POST",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": self._headers,
        }

    async def receive(self) -> Message:
        return self._message

    async def send(self, message: Message) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Case:
    label: str
    request: bytes
    path: str = "/mcp"


def run(*, quick: bool = False) -> Result:
    return asyncio.run(_run(rounds=5 if quick else 15, calls=500 if quick else 2000))


async def _run(rounds: int, calls: int) -> Result:
    stub = StubApp()
    node = Mooring(stub, Settings.load())
    result = Result(
        "middleware_cost: the middleware around a stub, in one process",
        ("µs per request over the stub's own", "median", "noise"),
        caption=f"{rounds} rounds of {calls:,} requests",
    )
    for case in await _cases(node, stub):
        wire = Wire(case.request)
        added = []
        for _ in range(rounds):
            alone = await _microseconds(stub, wire, case.path, calls)
            added.append(await _microseconds(node, wire, case.path, calls) - alone)
        result.add_row(case.label, Spread.of(added), 1)
    return result


async def _cases(node: Mooring, stub: StubApp) -> list[Case]:
    stub.mint = _own
    mapped = messages.legacy_call(await open_session(node))
    stub.mint = _minted
    legacy = messages.legacy_call(await open_session(node))
    return [
        Case("another path", legacy, "/other"),
        Case("modern call", messages.modern_call()),
        Case("legacy call on its owner", legacy),
        Case("the same where the app has its own session id", mapped),
        Case("initialize", messages.initialize()),
    ]


async def _microseconds(app: App, wire: Wire, path: str, calls: int) -> float:
    """CPU time of one request."""
    before = time.thread_time_ns()
    for _ in range(calls):
        await app(wire.scope(path), wire.receive, wire.send)
    return (time.thread_time_ns() - before) / calls / 1000
