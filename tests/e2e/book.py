"""Load at random nodes, and two books of it: the clients', and the one of the servers that carried it out."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

import aiohttp

from tests.e2e.load import VERSION, open_session
from tests.e2e.nodes import ServedNode
from tests.node.rpc import RawClient
from tests.waiting import until

_PAUSE_SECONDS: Final = 0.02
_SESSIONS: Final = 80
"""As many are open at the most; half of them are where as many are closed as are opened."""


class Book:
    """Opens sessions, calls and closes them without pause, each at a random node.

    Attributes:
        sessions: those that are open, and how many calls each has been answered.
        closed: those whose DELETE was answered.
        entries: the calls that were made.
        failures: whatever a client, or anybody who looks at the nodes, should not have seen.
        calls: how many were answered.
    """

    def __init__(self, raw: RawClient, nodes: Sequence[ServedNode], path: Path) -> None:
        self._raw = raw
        self._nodes = nodes
        self._path = path
        self._prefix = f"{secrets.token_hex(4)}-"
        self._names = itertools.count()
        # Those that nobody uses at this moment: a session counts one call after the other.
        self._free: list[str] = []
        self.sessions: dict[str, int] = {}
        self.closed: list[str] = []
        self.entries: set[str] = set()
        self.failures: list[str] = []
        self.calls = 0
        self._is_over = False

    def _anywhere(self) -> str:
        return random.choice(self._nodes).url

    async def open(self, base: str = "") -> str:
        session = await open_session(self._raw, base or self._anywhere())
        self.sessions[session] = 0
        self._free.append(session)
        return session

    async def call(self, session: str, base: str = "") -> None:
        entry = f"{self._prefix}{session[:5]}-{next(self._names)}"
        self.entries.add(entry)
        tool = {"name": "enter", "arguments": {"entry": entry}}
        body = {"jsonrpc": "2.0", "id": 9, "method": "tools/call", "params": tool}
        reply = await self._raw.call(base or self._anywhere(), session, body=body, headers=VERSION)
        assert (reply.status, reply.json.get("error")) == (200, None), f"{entry}: {reply.body.decode()}"
        counted = int(reply.json["result"]["content"][0]["text"])
        self.calls += 1
        self.sessions[session] += 1
        assert counted == self.sessions[session], f"{entry}: counted {counted}, not {self.sessions[session]}"

    async def close(self, session: str) -> None:
        self._free.remove(session)
        reply = await self._raw.send("DELETE", f"{self._anywhere()}/mcp", session=session, headers=VERSION)
        assert reply.status == 200, f"DELETE: {reply.status} {reply.body.decode()}"
        del self.sessions[session]
        self.closed.append(session)

    async def _call_any(self) -> None:
        if not self._free:
            return
        session = self._free.pop(random.randrange(len(self._free)))
        try:
            await self.call(session)
        finally:
            self._free.append(session)

    async def _open_or_close(self) -> None:
        if self._free and random.randrange(_SESSIONS) < len(self.sessions):
            await self.close(random.choice(self._free))
        else:
            await self.open()

    async def _look(self) -> None:
        """What the nodes think of each other."""
        for node in self._nodes:
            status = await node.status(self._raw)
            dead = [peer["name"] for peer in status["nodes"] if not peer["alive"]]
            assert not dead, f"{node.name} takes {dead} for dead"

    async def _go_on(self, act: Callable[[], Awaitable[None]], pause_seconds: float) -> None:
        while not self._is_over:
            try:
                await act()
            except (AssertionError, OSError, aiohttp.ClientError, TimeoutError) as error:
                self.failures.append(f"{type(error).__name__} {error}"[:300])
            await asyncio.sleep(pause_seconds)

    @contextlib.asynccontextmanager
    async def load(self) -> AsyncIterator[None]:
        """It ends with what was begun, so that the books can be compared."""
        self._is_over = False
        tasks = [asyncio.create_task(self._go_on(self._call_any, _PAUSE_SECONDS)) for _ in range(6)]
        tasks += [asyncio.create_task(self._go_on(self._open_or_close, 5 * _PAUSE_SECONDS)) for _ in range(3)]
        tasks.append(asyncio.create_task(self._go_on(self._look, 10 * _PAUSE_SECONDS)))
        try:
            yield
        finally:
            self._is_over = True
            await asyncio.gather(*tasks)

    async def more(self, calls: int) -> None:
        wanted = self.calls + calls

        async def made() -> bool:
            return self.calls >= wanted

        await until(made, what=f"{calls} more calls")

    def carried_out(self) -> Counter[str]:
        """The servers' own book: how often each of these entries stands there."""
        return Counter(entry for entry in self._path.read_text().split() if entry.startswith(self._prefix))
