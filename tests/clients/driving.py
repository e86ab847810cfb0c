"""Has the official clients do one thing after the other, while the test sees to their server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator
from typing import Any, Final

from tests.bare import ROOT
from tests.clients.programs import command_of
from tests.waiting import until

PATIENCE_SECONDS: Final = 180.0
"""Several interpreters start at once, on a machine that may be busy."""

Saw = dict[str, Any]


class Driven:
    """One client, in a process of its own.

    Attributes:
        saw: all that it said (see `tests.clients.driven`), in its order.
        called: the numbers of all its calls.
        is_over: it ended.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.saw: list[Saw] = []
        self.is_over = False
        self._process = process
        self.called: list[int] = []
        self._reading = asyncio.create_task(self._read())

    def call(self, tool: str, **arguments: Any) -> int:
        """Let it call the tool; the number by which it says what came of that."""
        number = len(self.called) + 1
        self.called.append(number)
        self.order({"call": tool, "arguments": arguments, "id": number})
        return number

    def order(self, what: Saw) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(what).encode() + b"\n")

    def all(self, saw: str, number: int | None = None) -> list[Saw]:
        """What it saw of this kind, of this call."""
        return [one for one in self.saw if one["saw"] == saw and number in (None, one.get("id"))]

    def outcomes(self, number: int) -> list[Saw]:
        """The answers to this call, and the errors."""
        return [one for one in self.saw if one["saw"] in ("answer", "error") and one["id"] == number]

    def progress(self, number: int) -> list[float]:
        return [one["progress"] for one in self.all("progress", number)]

    async def first(self, *saw: str, number: int | None = None, seconds: float = PATIENCE_SECONDS) -> Saw:
        """The first one of these kinds, once it is there."""

        async def seen() -> Saw | None:
            found = [one for one in self.saw if one["saw"] in saw and number in (None, one.get("id"))]
            assert found or not self.is_over, f"the client ended; it saw {self.saw}"
            return found[0] if found else None

        found = await until(seen, what=f"the client to see {saw}; it saw {self.saw}", seconds=seconds)
        assert found is not None
        return found

    async def outcome(self, number: int, *, seconds: float = PATIENCE_SECONDS) -> Saw:
        return await self.first("answer", "error", number=number, seconds=seconds)

    async def asked(self, tool: str, **arguments: Any) -> str:
        """What the tool answers."""
        outcome = await self.outcome(self.call(tool, **arguments))
        assert outcome["saw"] == "answer", outcome
        return str(outcome["text"])

    async def stop(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        await self._reading

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            self.saw.append(json.loads(line))
        self.is_over = True


@contextlib.asynccontextmanager
async def driven_client(name: str, url: str) -> AsyncIterator[Driven]:
    """One of `tests.clients.programs.CLIENTS`, which begins to open a session there."""
    process = await asyncio.create_subprocess_exec(
        *(*command_of(name), url, "--driven"),
        cwd=ROOT,
        env=os.environ,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    driven = Driven(process)
    try:
        yield driven
    finally:
        await driven.stop()
