"""The way to Redis: one connection, and whoever comes while it is busy goes along with the next batch.

So however much is asked at once, it takes one connection and few round trips; a Redis that is well is never taken for
away because a pool is exhausted. What must not wait behind other things gets a lane of its own.

A connection that stays open may lead to a server that is the primary no more: frozen for a while, cut off, or relieved
of it. So whatever goes wrong on one lane is a doubt about all of a store's: each connects anew before it sends more.
"""

from __future__ import annotations

import asyncio
import functools
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha1
from importlib.resources import files
from typing import Any, Final

from redis.asyncio import RedisCluster
from redis.exceptions import NoScriptError, ReadOnlyError

from mooring.core.model import Written
from mooring.errors import StoreUnavailable
from mooring.store.trouble import RAISED, SILENCE

BATCH: Final = 200
"""Commands that go together: what keeps Redis busy for a few milliseconds, so that no other client is held up."""
_BATCH_BYTES: Final = 1024 * 1024
_SCANNED: Final = 500
_DOUBTFUL: Final = (*SILENCE, ReadOnlyError)
"""What may mean that another server is the primary by now."""

Explain = Callable[[Exception, str], StoreUnavailable]


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script and the name that Redis knows it by."""

    text: str
    sha: str

    @classmethod
    def of(cls, text: str) -> Script:
        return cls(text, sha1(text.encode(), usedforsecurity=False).hexdigest())

    def on(self, keys: list[str], args: Iterable[Any]) -> Command:
        return Command(("EVALSHA", self.sha, len(keys), *keys, *args), self)


@functools.cache
def script(name: str, *parts: str) -> Script:
    """A script behind what it shares with others."""
    folder = files("mooring.store") / "lua"
    texts = ((folder / f"{part}.lua").read_text(encoding="utf-8") for part in ("shared", *parts, name))
    return Script.of("".join(texts))


@dataclass(frozen=True, slots=True)
class Command:
    parts: tuple[Any, ...]
    script: Script | None = None

    @property
    def size(self) -> int:
        return sum(len(part) if isinstance(part, str | bytes) else 8 for part in self.parts)

    @property
    def with_text(self) -> Command:
        """The same for a Redis that does not know the script yet, as after its start."""
        assert self.script is not None
        return Command(("EVAL", self.script.text, *self.parts[2:]))


@dataclass(slots=True)
class _Waiting:
    command: Command
    doing: str
    answer: asyncio.Future[Any]

    def settle(self, answer: Any, explain: Explain) -> None:
        if self.answer.done():  # whoever asked was cancelled
            return
        if isinstance(answer, Exception):
            self.answer.set_exception(explain(answer, self.doing))
        else:
            self.answer.set_result(answer)


class Lane:
    """
    Args:
        client: redis-py's, with a pool of a single connection.
        explain: an error of redis-py's and what was tried, in words of ours.
        on_doubt: called where the primary may be another server by now.
    """

    def __init__(self, client: Any, explain: Explain, on_doubt: Callable[[], None] | None = None) -> None:
        self._client = client
        self._explain = explain
        self._on_doubt = on_doubt or self.connect_anew
        # Whether the connection may lead to the wrong server.
        self._is_in_doubt = False
        # In the order that they came; `_run` takes them out.
        self._waiting: deque[_Waiting] = deque()
        # While there is anything to send. No caller's own task: one who is cancelled takes no other's answer along.
        self._running: asyncio.Task[None] | None = None

    def connect_anew(self) -> None:
        """Before the next command: there may be another primary. What is under way goes on."""
        self._is_in_doubt = True

    async def ask(self, doing: str, command: Command) -> Any:
        """Redis's answer.

        Args:
            doing: what is tried, for the words of an error.

        Raises:
            StoreUnavailable: there is none, or Redis refuses. Nothing is sent a second time.
        """
        waiting = _Waiting(command, doing, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if self._running is None:
            self._running = asyncio.create_task(self._run(), name="mooring redis")
        return await waiting.answer

    async def ask_all(self, doing: str, commands: Iterable[Command]) -> list[Any]:
        """The answers to many commands, in their order; others' are let in between batches."""
        answers: list[Any] = []
        batch: list[Command] = []
        for command in commands:
            batch.append(command)
            if len(batch) == BATCH:
                answers += await asyncio.gather(*(self.ask(doing, command) for command in batch))
                batch.clear()
        return answers + await asyncio.gather(*(self.ask(doing, command) for command in batch))

    async def write_all(self, doing: str, commands: Iterable[tuple[str, Command]]) -> Mapping[str, Written]:
        """Writes of many sessions, each command made when its turn comes; answers those that were not done, by session.

        A session of which one was not done is told of, whatever else was.
        """
        sessions: list[str] = []

        def each() -> Iterator[Command]:
            for session_id, command in commands:
                sessions.append(session_id)
                yield command

        answers = await self.ask_all(doing, each())
        written = ((session_id, Written(answer)) for session_id, answer in zip(sessions, answers, strict=True))
        return {session_id: what for session_id, what in written if what is not Written.DONE}

    async def scan(self, doing: str, pattern: str) -> AsyncIterator[list[bytes]]:
        """The keys that match, from all servers, some at a time. One that comes or goes meanwhile may be missing.

        Raises:
            StoreUnavailable: as in `ask`.
        """
        if not isinstance(self._client, RedisCluster):
            cursor = 0
            while True:
                cursor, keys = await self.ask(doing, Command(("SCAN", cursor, "MATCH", pattern, "COUNT", _SCANNED)))
                yield keys
                if cursor == 0:
                    return
        await self._drop_doubtful_connections()
        found = self._client.scan_iter(pattern, _SCANNED)
        batch: list[bytes] = []
        try:
            async for key in found:
                batch.append(key)
                if len(batch) == BATCH:
                    yield batch
                    batch = []
        except RAISED as error:
            self._on_doubt()
            raise self._explain(error, doing) from None
        yield batch

    async def aclose(self) -> None:
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait({self._running})
        await self._client.aclose()

    async def _run(self) -> None:
        batch: list[_Waiting] = []
        try:
            while self._waiting:
                batch = self._next_batch()
                await self._drop_doubtful_connections()
                await self._send(batch)
        finally:
            # At the end there is nothing left; where it was closed before, nobody is left to wait for ever.
            self._running = None
            for waiting in (*batch, *self._waiting):
                if not waiting.answer.done():
                    waiting.answer.set_exception(StoreUnavailable(f"closed while {waiting.doing}"))
            self._waiting.clear()

    def _next_batch(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        size = 0
        while self._waiting and len(batch) < BATCH and size < _BATCH_BYTES:
            waiting = self._waiting.popleft()
            if not waiting.answer.done():
                batch.append(waiting)
                size += waiting.command.size
        return batch

    async def _send(self, batch: list[_Waiting]) -> None:
        try:
            answers = await self._execute([waiting.command for waiting in batch])
        except RAISED as error:
            # No connection, or a broken one. Those who wait behind would each wait as long, for the same.
            behind = list(self._waiting)
            self._waiting.clear()
            for waiting in (*batch, *behind):
                waiting.settle(error, self._explain)
            self._on_doubt()
            return
        if any(isinstance(answer, _DOUBTFUL) for answer in answers):
            self._on_doubt()
        for waiting, answer in zip(batch, answers, strict=True):
            waiting.settle(answer, self._explain)

    async def _drop_doubtful_connections(self) -> None:
        """A cluster's map goes too: redis-py makes it anew only where it was told to retry."""
        if not self._is_in_doubt:
            await _drop_closed_connections(self._client)
            return
        self._is_in_doubt = False
        if isinstance(self._client, RedisCluster):
            await self._client.aclose()
        else:
            await self._client.connection_pool.disconnect()

    async def _execute(self, commands: list[Command]) -> list[Any]:
        answers = await self._pipeline(commands)
        unknown = [n for n, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if unknown:
            for n, answer in zip(unknown, await self._pipeline([commands[n].with_text for n in unknown]), strict=True):
                answers[n] = answer
        return answers

    async def _pipeline(self, commands: list[Command]) -> list[Any]:
        if not commands:
            return []
        pipeline = self._client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command.parts)
        answers: list[Any] = await pipeline.execute(raise_on_error=False)
        return answers


async def _drop_closed_connections(client: Any) -> None:
    """Those that a server has closed since, as one does that nobody used for its `timeout`, or something on the way: a
    command that meets such a connection fails. redis-py looks for that with some servers, and not with others.
    """
    if isinstance(client, RedisCluster):
        idle = [connection for node in client.get_nodes() for connection in getattr(node, "_free", ())]
    else:
        idle = list(getattr(client.connection_pool, "_available_connections", ()))
    for connection in idle:
        reader = getattr(connection, "_reader", None)
        if reader is not None and reader.at_eof():
            await connection.disconnect()
