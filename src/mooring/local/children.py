"""All children of a local cluster, and how they end.

So that clients see clean ends, Traefik is asked first, and ends last. It takes no new connection from then on (refused,
rather than a 502 from a proxy without nodes), and goes on passing what is under way. Then the nodes are asked; they
finish what runs and end their streams, and Traefik passes those ends on. With the last of them it ends by itself. Redis
comes last, since the nodes say goodbye there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Final, TypeVar

from mooring.local.commands import REDIS, TRAEFIK
from mooring.local.output import Output
from mooring.processes.child import Command
from mooring.processes.leash import Leash
from mooring.processes.supervisor import Supervisor
from mooring.processes.tasks import end

_REFUSING_SECONDS: Final = 1.0
"""Traefik stops listening within milliseconds; nothing else waits longer than this for it."""

_T = TypeVar("_T")


class Children:
    """The supervisors, in the order of their start.

    Attributes:
        dead: (name, process id) of each child that ended by itself; whoever has told the registry takes it out. A
            process id may come by again: what starts is not dead.
    """

    def __init__(self, leash: Leash, output: Output) -> None:
        self.dead: set[tuple[str, int]] = set()
        self._news = asyncio.Event()
        self._leash = leash
        self._output = output
        self._supervisors: list[Supervisor] = []
        self._keeping: list[asyncio.Task[None]] = []

    async def start(self, command: Command) -> Supervisor:
        """Start one more.

        Raises:
            ClusterError: its program cannot be started.
        """
        name = command.name
        supervisor = Supervisor(
            command,
            self._leash,
            show=lambda line: self._output.line(name, line),
            say=lambda text: self._output.say(name, text),
            begun=lambda pid: self.dead.discard((name, pid)),
            gone=lambda pid: self._has_ended(name, pid),
        )
        self._supervisors.append(supervisor)
        await supervisor.start()
        return supervisor

    def _has_ended(self, name: str, pid: int) -> None:
        self.dead.add((name, pid))
        self._news.set()

    async def until_one_ends(self, seconds: float) -> None:
        """Wait until a child ends by itself, at most for so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()
        self._news.clear()

    async def unless_one_ends(self, waiting: Coroutine[Any, Any, _T]) -> _T:
        """The result of `waiting`, while everything is brought up.

        Raises:
            ChildError: a child ended first.
        """
        ends = [asyncio.ensure_future(supervisor.first_end()) for supervisor in self._supervisors]
        result = asyncio.ensure_future(waiting)
        try:
            await asyncio.wait([result, *ends], return_when=asyncio.FIRST_COMPLETED)
            for ended in ends:
                if ended.done():
                    ended.result()
            return await result
        finally:
            await end(result, *ends)

    def last_words(self) -> str:
        """The last line of each child, with its name; not of Redis, where it has answered and others were started."""
        awaited = [one for one in self._supervisors if one.command.name != REDIS] or self._supervisors
        said = [f"{one.command.name} said: {one.tail[-1]}" for one in awaited if one.tail]
        return "; ".join(said) or "nothing was said so far"

    def keep(self) -> list[asyncio.Task[None]]:
        """From now on, restart each one that ends."""
        self._keeping = [asyncio.create_task(supervisor.keep()) for supervisor in self._supervisors]
        return self._keeping

    async def stop(self, ingress_refuses: Coroutine[Any, Any, None]) -> None:
        """Stop everything that is running, in order.

        Args:
            ingress_refuses: returns when Traefik has stopped listening.
        """
        await end(*self._keeping)
        nodes = [one for one in self._supervisors if one.command.name not in (REDIS, TRAEFIK)]
        await self._ask_ingress(ingress_refuses)
        await asyncio.gather(*(node.stop() for node in nodes))
        for one in self._named(TRAEFIK) + self._named(REDIS):
            await one.stop()

    async def _ask_ingress(self, refuses: Coroutine[Any, Any, None]) -> None:
        waiting = asyncio.ensure_future(refuses)
        for traefik in self._named(TRAEFIK):
            traefik.ask_to_stop()
            await asyncio.wait([waiting], timeout=_REFUSING_SECONDS)
        await end(waiting)

    def _named(self, name: str) -> list[Supervisor]:
        return [one for one in self._supervisors if one.command.name == name]

    def kill(self) -> None:
        """All of them, at once."""
        for supervisor in self._supervisors:
            supervisor.kill()
