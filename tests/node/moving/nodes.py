"""Nodes with scripted apps around one store that can fail, for tests of what moves between them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from mooring.asgi import Scope, Send
from mooring.core.model import NodeInfo
from mooring.core.reconnects import Reconnects
from mooring.node.moving.handing_over import HandOver
from mooring.node.node import Node
from mooring.store import MemoryStore
from tests.cluster_in_process import RunningNode, running_nodes
from tests.fakes import FlakyStore
from tests.node.apps import ScriptedApp, answer
from tests.node.rpc import RawClient, Reply
from tests.waiting import until

Happening = Callable[[], Awaitable[object]]


@dataclass
class Nodes:
    running: list[RunningNode]
    apps: list[ScriptedApp]
    store: FlakyStore
    raw: RawClient

    def node(self, index: int) -> Node:
        return self.running[index].mooring._node

    def info(self, index: int) -> NodeInfo:
        return self.node(index).describe()

    async def open(self, at: int = 0) -> str:
        return await self.raw.open(self.running[at].url)

    async def ping(self, session: str, at: int = 0) -> Reply:
        return await self.raw.call(self.running[at].url, session)

    def lives_at(self, session: str) -> list[int]:
        return [n for n, one in enumerate(self.running) if one.mooring._node.sessions.find(session) is not None]

    def hand_over(self, at: int = 0) -> HandOver:
        return HandOver(self.node(at), Reconnects(0))

    def shard_of(self, session: str) -> str:
        return session.partition(".")[0]

    async def give(self, session: str, patience_seconds: float = 1.0, *, cuts_off: bool = False) -> bool:
        receiver = self.info(1)
        return await self.hand_over().give(self.shard_of(session), receiver, patience_seconds, cuts_off=cuts_off)

    async def give_in_vain(self, session: str, carry: Happening | None = None) -> None:
        """Its receiver dies before the store gives.

        Args:
            carry: what happens then before the store is told of a dump.
        """

        async def dies() -> None:
            if carry is not None:
                self.store.before["carry"] = carry
            await self.store.inner.bury(self.running[1].id)

        self.store.before["give"] = dies
        assert not await self.give(session)

    async def give_cut_short(self, session: str, hooks: dict[str, Happening]) -> None:
        """It is cancelled where it asks the store.

        Args:
            hooks: the store's: `before` it gives, or `after`.
        """
        is_asked = asyncio.Event()

        async def hang() -> None:
            is_asked.set()
            await asyncio.Event().wait()

        hooks["give"] = hang
        giving = asyncio.create_task(self.give(session))
        await is_asked.wait()
        giving.cancel()
        await asyncio.wait({giving})


class SlowCall:
    """An app that answers when it is told to."""

    def __init__(self, app: ScriptedApp) -> None:
        self.has_begun, self.may_end = asyncio.Event(), asyncio.Event()
        app.on_session = self._answer

    async def _answer(self, scope: Scope, body: bytes, send: Send) -> None:
        self.has_begun.set()
        await self.may_end.wait()
        await answer(send, 200, b'{"slow": true}')


@contextlib.asynccontextmanager
async def some_nodes(raw: RawClient, count: int = 2, **settings: Any) -> AsyncIterator[Nodes]:
    apps: list[ScriptedApp] = []

    def app() -> ScriptedApp:
        apps.append(ScriptedApp())
        return apps[-1]

    store = FlakyStore(MemoryStore())
    async with running_nodes(app, count, store, **settings) as running:
        yield Nodes(running, apps, store, raw)


async def once(condition: Callable[[], bool], *, what: str) -> None:
    """Wait until it is so."""

    async def is_so() -> bool:
        return condition()

    await until(is_so, what=what)
