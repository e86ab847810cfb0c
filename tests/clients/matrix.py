"""What each Python client program does in a session, written once. A client's own program says how it does it."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NoReturn, Protocol

from tests.clients.driven import run_driven
from tests.clients.report import Options, Report, run_program
from tests.clients.wire import WireNotes, post_in_session

PROBE_URI = "test://static-text"
WATCHED_URI = "test://watched-resource"
_STEPS = 5
_LOG_LEVEL = "warning"
_RETOUCH_SECONDS = 0.5
_GONE_POSTS = 3

OnProgress = Callable[[float], Awaitable[None]]


@dataclass
class Visit:
    """One session of one client: what the client is told and what it tells."""

    number: int
    options: Options
    wire: WireNotes = field(default_factory=WireNotes)
    updated_uris: asyncio.Queue[str] = field(default_factory=asyncio.Queue)
    # Cleared while the user is away, and answers no question.
    user_is_there: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.user_is_there.set()

    @property
    def user_name(self) -> str:
        """What this session's user answers; no two sessions have the same."""
        return f"user {self.number}"

    async def user_answers(self, question: str) -> str:
        """What the user says once they are there: who they are, or in a driven session which question that answers."""
        await self.user_is_there.wait()
        return question if self.options.driven else self.user_name

    def model_reply(self, text: str) -> str:
        return f"{self.user_name} heard: {text}"


class Client(Protocol):
    """An open session, in whatever way a client has it."""

    async def tool_names(self) -> list[str]: ...

    async def call(self, tool: str, arguments: dict[str, Any], on_progress: OnProgress | None = None) -> str:
        """The text of the tool's answer; raises if the answer is an error."""
        ...

    async def set_log_level(self, level: str) -> None: ...
    async def subscribe(self, uri: str) -> None: ...
    async def unsubscribe(self, uri: str) -> None: ...
    def listen(self, uri: str) -> AbstractAsyncContextManager[AsyncIterator[str]]:
        """The modern era's way to subscribe: the URIs of the changes told while the context is open."""
        ...


Connect = Callable[[Visit], AbstractAsyncContextManager[Client]]


def expect(got: object, wanted: object) -> None:
    if got != wanted:
        raise AssertionError(f"got {got!r}, wanted {wanted!r}")


async def _progress_in_order(client: Client) -> None:
    seen: asyncio.Queue[float] = asyncio.Queue()
    await client.call("progress", {"steps": _STEPS}, seen.put)
    # A client may hand out the last notifications after the answer.
    expect([await seen.get() for _ in range(_STEPS)], list(range(1, _STEPS + 1)))


async def _note_node(client: Client, report: Report) -> None:
    where = json.loads(await client.call("where", {}))
    report.nodes[where["node"] or str(where["pid"])] += 1


async def _both_eras(client: Client, visit: Visit, report: Report) -> None:
    number = visit.number
    async with report.check(number, "tools"):
        names = set(await client.tool_names())
        expect({"count", "ask_name", "sample"} - names, set())
    async with report.check(number, "where"):
        await _note_node(client, report)
    async with report.check(number, "echo"):
        expect(await client.call("echo", {"text": visit.user_name}), visit.user_name)
    async with report.check(number, "progress"):
        await _progress_in_order(client)
    async with report.check(number, "elicitation"):
        expect(await client.call("ask_name", {}), visit.user_name)
    async with report.check(number, "sampling"):
        expect(await client.call("sample", {"text": "hello"}), visit.model_reply("hello"))


async def _open_stream(client: Client, visit: Visit) -> None:
    """Waits until the client's GET stream is open: until then the server drops what it has to tell."""
    await client.subscribe(PROBE_URI)
    while True:
        await client.call("touch", {"uri": PROBE_URI})
        try:
            expect(await asyncio.wait_for(visit.updated_uris.get(), _RETOUCH_SECONDS), PROBE_URI)
        except TimeoutError:
            continue
        break
    await client.unsubscribe(PROBE_URI)


async def _next_update(visit: Visit) -> str:
    while (uri := await visit.updated_uris.get()) == PROBE_URI:
        pass
    return uri


async def _subscribe_and_touch(client: Client, visit: Visit) -> None:
    await client.subscribe(WATCHED_URI)
    expect(await client.call("touch", {"uri": WATCHED_URI}), "true")
    expect(await _next_update(visit), WATCHED_URI)
    await client.unsubscribe(WATCHED_URI)
    expect(await client.call("touch", {"uri": WATCHED_URI}), "false")


async def _legacy_only(client: Client, visit: Visit, report: Report) -> None:
    number = visit.number
    for wanted in range(1, visit.options.calls + 1):
        async with report.check(number, "count"):
            expect(await client.call("count", {}), str(wanted))
        if report.has_failed(number, "count"):
            break
    async with report.check(number, "log level"):
        await client.set_log_level(_LOG_LEVEL)
        expect(await client.call("log_level", {}), _LOG_LEVEL)
    async with report.check(number, "stream"):
        await _open_stream(client, visit)
    async with report.check(number, "subscription"):
        await _subscribe_and_touch(client, visit)


async def _modern_only(client: Client, visit: Visit, report: Report) -> None:
    async with report.check(visit.number, "listen"), client.listen(WATCHED_URI) as changes:
        await client.call("touch", {"uri": WATCHED_URI})
        expect(await anext(changes), WATCHED_URI)
    async with report.check(visit.number, "no session"):
        expect(visit.wire.session_id, None)


async def _exercise(connect: Connect, options: Options, report: Report, number: int) -> None:
    visit = Visit(number, options)
    stack = AsyncExitStack()
    client: Client | None = None
    async with report.check(number, "connect"):
        client = await stack.enter_async_context(connect(visit))
    if client is None:
        return
    async with stack:
        await _both_eras(client, visit, report)
        await (_modern_only if options.modern else _legacy_only)(client, visit, report)
        if not options.modern:
            async with report.check(number, "delete"):
                await stack.aclose()
                expect(visit.wire.delete_status in (200, 202, 204), True)
    if not options.modern:
        async with report.check(number, "gone"):
            session_id = visit.wire.session_id or ""
            statuses = [await post_in_session(options.url, session_id) for _ in range(_GONE_POSTS)]
            expect(statuses, [404] * _GONE_POSTS)


def run_matrix(client_name: str, options: Options, connect: Connect) -> NoReturn:
    if options.driven:
        run_driven(connect, Visit(0, options))
    report = Report(client_name, options.sessions)
    run_program(options, report, partial(_exercise, connect, options, report))
