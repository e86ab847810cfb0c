"""Official clients under load, and the books of what each call came to.

The judge is the clients' book and the servers' ledger, and not what Mooring says of itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mcp import types
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

from tests.waiting import until

ANSWER_SECONDS: Final = 45.0
"""A call that has no answer by then is lost."""
LAST_WORDS_SECONDS: Final = 20.0
FEW_WORDS: Final = 3
_TOOLS: Final = (("work", 0), ("work", 3), ("look", 3), ("announce", 0))
_QUIET_TOOLS: Final = _TOOLS[:-1]
_CARRIED_OUT_AGAIN: Final = ("look", "add")
"""Tools that change nothing, or only what is kept with their answer."""
_NO_ANSWER: Final = ("Server returned an error response", "SSE stream ended")
"""What the client says of a 502, of a stream that broke off before it had an id, and of one it came back to in vain."""


_NOT_ROUTED_YET: Final = "Session terminated"
"""What the client says of a 404. Traefik answers it itself from when it listens until it has read its configuration."""
_NAMES: Final = itertools.count()


@dataclass
class Book:
    """What became of all calls.

    Attributes:
        answered, unknown: entries whose call was answered by its tool, or that nobody knows.
        cut: entries that the ingress answered with 502, since their node died before it had answered with a byte, or
            a node with `unreachable`, since it reached nobody: neither can know whether the call had begun. And what
            they said.
        died: clients that the SDK ended. It does where nobody is there to take a request, or to answer it: where the
            ingress itself dies.
        wrong: whatever a client should not have seen.
        heard: how often a client heard of each event: progress, and what its server says by itself.
        owed: the events that belong to a call that was answered, which changes something: it was carried out once. And
            whose each is.
    """

    answered: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)
    cut: dict[str, str] = field(default_factory=dict)
    died: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    heard: Counter[str] = field(default_factory=Counter)
    owed: dict[str, object] = field(default_factory=dict)

    def verdict(self, ledger: Path) -> dict[str, Any]:
        """All that is not right; empty where nobody noticed anything."""
        lines = [line.split() for line in ledger.read_text().splitlines()]
        begun = Counter(entry for word, entry in lines if word == "begins" and not entry.startswith(_CARRIED_OUT_AGAIN))
        ended = {entry for word, entry in lines if word == "ends"}
        found = {
            "wrong": self.wrong,
            "died": self.died,
            "answered, and never carried out": self.answered - ended,
            "carried out twice": {entry for entry, times in begun.items() if times > 1},
            "heard twice": {event for event, times in self.heard.items() if times > 1},
            "never heard": self.owed.keys() - self.heard.keys(),
        }
        return {what: which for what, which in found.items() if which}


class Callers:
    """Clients that open a session each, and call again and again.

    Args:
        connection: a new way to their server, for each of them.
        listens: to what the server says by itself, too; else nobody asks it to.
        pause_seconds: the longest between two calls of a client. What is to be seen takes no busy machine.
    """

    def __init__(
        self,
        connection: Callable[[], AbstractAsyncContextManager[Any]],
        count: int,
        *,
        listens: bool = True,
        pause_seconds: float = 0.8,
    ) -> None:
        self._listens = listens
        self._pause_seconds = pause_seconds
        self.book = Book()
        self._connection = connection
        self._count = count
        self._is_over = asyncio.Event()
        self._ready = 0
        self.calls = 0

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(self._count):
                group.create_task(self._one())

    def stop(self) -> None:
        self._is_over.set()

    async def are_open(self) -> bool:
        return self._ready == self._count

    async def have_heard_all(self) -> bool:
        return self.book.owed.keys() <= self.book.heard.keys()

    async def _one(self) -> None:
        async def on_message(message: Any) -> None:
            if isinstance(message, types.ResourceUpdatedNotification):
                self.book.heard[str(message.params.uri)] += 1

        name = object()
        try:
            async with Client(self._connection(), mode="legacy", message_handler=on_message) as client:
                if self._listens:
                    await self._until_it_listens(client)
                self._ready += 1
                while not self._is_over.is_set():
                    await self._call(client, name)
                    await asyncio.sleep(self._pause_seconds * random.random())
                # What the server said by itself may be still to come; if it is not, the verdict says so.
                with contextlib.suppress(AssertionError):
                    await until(self.have_heard_all, what="all that is owed", seconds=LAST_WORDS_SECONDS)
        except (Exception, BaseExceptionGroup) as error:
            self.book.died.append(repr(error))
            self.book.owed = {event: whose for event, whose in self.book.owed.items() if whose is not name}

    async def _until_it_listens(self, client: Client) -> None:
        """The SDK opens its stream beside its first calls; what a server says before, nobody hears."""
        event = ""

        async def has_heard() -> bool:
            return event in self.book.heard

        while not await has_heard():
            event = f"test://listens-{next(_NAMES)}"
            await client.call_tool("announce", {"uri": event})
            with contextlib.suppress(AssertionError):
                await until(has_heard, what="what the server says", seconds=1)

    async def _call(self, client: Client, name: object) -> None:
        tool, steps = random.choice(_TOOLS if self._listens else _QUIET_TOOLS)
        entry = f"{tool}-{next(_NAMES)}"
        arguments = {"entry": entry, "steps": steps} if tool != "announce" else {"uri": f"test://{entry}"}

        async def note(progress: float, total: float | None, message: str | None) -> None:
            self.book.heard[f"{entry} {progress:.0f}"] += 1

        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                result = await client.call_tool(tool, arguments, progress_callback=note)
        except TimeoutError:
            self.book.wrong.append(f"{entry}: no answer")
        except MCPError as error:
            self._note_error(entry, error)
        else:
            text = getattr(result.content[0], "text", "") if result.content else ""
            if result.is_error or text not in (entry, f"test://{entry}"):
                self.book.wrong.append(f"{entry}: answered {text!r}")
            else:
                self._note_answer(name, tool, entry, steps)
        self.calls += 1

    def _note_answer(self, name: object, tool: str, entry: str, steps: int) -> None:
        self.book.answered.add(entry)
        if tool == "work":
            self.book.owed |= {f"{entry} {step}": name for step in range(1, steps + 1)}
        elif tool == "announce":
            self.book.owed[f"test://{entry}"] = name

    def _note_error(self, entry: str, error: MCPError) -> None:
        data: Any = error.error.data or {}
        if data.get("reason") == "outcome_unknown":
            self.book.unknown.add(entry)
        elif data.get("reason") in ("unreachable", "not_revived") or any(said in str(error) for said in _NO_ANSWER):
            self.book.cut[entry] = data.get("reason") or str(error)
        else:
            self.book.wrong.append(f"{entry}: {json.dumps(str(error))} {data}")


@contextlib.asynccontextmanager
async def calling(
    connection: Callable[[], AbstractAsyncContextManager[Any]],
    ledger: Path,
    count: int,
    most_cut: float = 0.02,
    *,
    is_away: bool = False,
    loses_words: bool = False,
) -> AsyncIterator[Callers]:
    """Clients at work while this lasts; then their book is held against the servers' ledger.

    Args:
        most_cut: the part of all calls that may have been in flight when a node died.
        is_away: nobody is there to be asked for longer than these clients try: some may die, and some listen no more to
            what their server says by itself.
        loses_words: a few of the words that a server says by itself may be lost with the node that it was on.
    """
    callers = Callers(connection, count)
    running = asyncio.create_task(callers.run())
    await until(callers.are_open, what="all clients to have a session", seconds=250)
    try:
        yield callers
    finally:
        callers.stop()
        await asyncio.wait_for(running, 250)
    print(f"{callers.calls} calls: {len(callers.book.unknown)} unknown, cut: {Counter(callers.book.cut.values())}")
    verdict = callers.book.verdict(ledger)
    if is_away and len(callers.book.died) < count:
        verdict = {what: which for what, which in verdict.items() if what not in ("died", "never heard")}
        wrong = [said for said in verdict.pop("wrong", ()) if _NOT_ROUTED_YET not in said]
        verdict |= {"wrong": wrong} if wrong else {}
    if loses_words and len(verdict.get("never heard", ())) <= FEW_WORDS:
        verdict.pop("never heard", None)
    assert verdict == {}, verdict
    assert len(callers.book.cut) <= callers.calls * most_cut


async def more_calls(callers: Callers, count: int, seconds: float = 240) -> None:
    wanted = callers.calls + count

    async def made() -> bool:
        return callers.calls >= wanted

    await until(made, what=f"{count} more calls", seconds=seconds)


@contextlib.asynccontextmanager
async def through(ingress: str) -> AsyncIterator[Any]:
    """To whoever balances the load, as any client of the SDK connects."""
    async with streamable_http_client(ingress) as streams:
        yield streams
