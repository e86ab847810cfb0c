"""Whatever is asked of the store may fail once, before its deed or after it: a client hears the same.

Each call that a session's life makes is told apart by its name and its turn, and fails in a life of its own.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from mcp.server.mcpserver import MCPServer

from mooring import ClosedSession, RevivedSession
from mooring.core.reconnects import Reconnects
from mooring.errors import StoreUnavailable
from mooring.node.moving.handing_over import HandOver, remove_old_dumps
from mooring.store import MemoryStore
from tests.cluster_in_process import RunningNode, running_nodes
from tests.fakes import FlakyStore
from tests.node.requests.test_modern import META, post
from tests.node.rpc import RawClient
from tests.node.state_nodes import StateNodes, request, said, sdk_app, state_nodes
from tests.servers.counters import CountingNodes

_BESIDE = {"heartbeat", "register", "prune"}
"""What nodes ask by themselves."""

Life = Callable[[], Awaitable[list[Any]]]


def _fails_at(hooks: dict[str, Callable[[], Awaitable[object]]], name: str, turn: int) -> None:
    """The call of this name fails whose turn it is."""

    async def fails() -> None:
        if turn:
            _fails_at(hooks, name, turn - 1)
        else:
            raise StoreUnavailable("silent for one call")

    hooks[name] = fails


async def _is_the_same_whatever_fails(store: FlakyStore, life: Life) -> None:
    store.calls.clear()
    well = await life()
    asked = Counter(name for name in store.calls if name not in _BESIDE)
    assert sum(asked.values()) > 5, asked
    for hooks in (store.before, store.after):
        for name, times in asked.items():
            for turn in range(times):
                _fails_at(hooks, name, turn)
                heard = await life()
                hooks.pop(name, None)
                assert heard == well, (
                    f"{name} fails at its turn {turn}, {'before' if hooks is store.before else 'after'}"
                )


class Handles:
    """The life of a handle: it is made, used, used where its process is gone, and ended."""

    def __init__(self, raw: RawClient, node: RunningNode, store: FlakyStore) -> None:
        self._raw = raw
        self._node = node
        self._store = store

    async def _ask(self, tool: str, **arguments: Any) -> str:
        body = request(tool, **arguments)
        body["params"]["_meta"] = META
        return said(await post(self._raw, self._node, body, tool=tool))

    async def live(self) -> list[Any]:
        counter = await self._ask("new_counter")
        other = await self._ask("new_counter")
        heard = [await self._ask("count_up", counter=counter)]
        node = self._node.mooring._node
        node.sessions.handles.move_away(counter[3:8])  # as after a restart
        node.sessions.handles.move_away(other[3:8])
        heard.append(await self._ask("add_to_both", counter=counter, other=other))
        heard.append(await self._ask("count_up", counter=other))
        await self._ask("end", counter=counter)
        gone = await self._ask("count_up", counter=counter)
        await node.sessions.settle()
        await node.keeper.beat()  # what could not be removed is now
        kept = self._store.inner
        return [*heard, "is gone" in gone, await kept.load_session(counter), await kept.journal.load_state(counter)]


class Moving:
    """The life of a session: it is used, given away with what its app keeps of it, used there, given back and ended."""

    def __init__(self, nodes: StateNodes) -> None:
        self._nodes = nodes
        self._closed: list[ClosedSession] = []
        self._loaded: list[tuple[str, bytes]] = []
        for one in nodes.running:
            one.mooring.on_close(self._closed.append)
            one.mooring.carry(lambda session: session.id.encode(), self._load)

    def _load(self, session: RevivedSession, data: bytes) -> None:
        self._loaded.append((session.id, data))

    async def _give(self, session: str, at: int, to: int) -> bool:
        giver, receiver = (self._nodes.running[n].mooring._node for n in (at, to))
        return await HandOver(giver, Reconnects(0)).give(session.partition(".")[0], receiver.describe(), 2.0)

    async def _is_quiet(self) -> None:
        for one in self._nodes.running:
            await one.mooring._node.sessions.settle()
            with contextlib.suppress(StoreUnavailable):
                await one.mooring._node.streams.write_down([])
            for _ in range(2):
                with contextlib.suppress(StoreUnavailable):
                    await remove_old_dumps(one.mooring._node)
            await one.mooring._node.sessions.settle()

    async def live(self) -> list[Any]:
        nodes = self._nodes
        session = await nodes.open()
        heard: list[Any] = [await nodes.call(session, "add", entry="a")]
        for at, to in ((0, 1), (1, 0)):
            while not await self._give(session, at, to):  # it stays for now, and is given a moment later
                await nodes.running[at].mooring._node.keeper.beat()
            await self._is_quiet()
            if to:
                heard += [await nodes.call(session, tool, at=0, entry="b") for tool in ("add", "keep")]
                heard.append((await nodes.look(session, at=1))["kept"])
        deleted = await nodes.raw.send("DELETE", f"{nodes.running[1].url}/mcp", session=session)
        again = await nodes.raw.send("DELETE", f"{nodes.running[1].url}/mcp", session=session)
        await self._is_quiet()
        kept = nodes.store.inner.journal
        return [
            *heard,
            deleted.status,
            again.status,
            await nodes.store.inner.load_session(session),
            await kept.carried(session),
            await kept.calls(session),
            [data.decode() == session for name, data in self._loaded if name == session],
            [one.reason for one in self._closed if one.id == session],
        ]


async def test_a_session_is_used_moved_and_ended_whatever_fails(raw: RawClient) -> None:
    async with state_nodes(raw, 2, sdk_app) as nodes:
        await _is_the_same_whatever_fails(nodes.store, Moving(nodes).live)


async def test_a_handle_is_used_where_its_process_is_gone_and_ended_whatever_fails(raw: RawClient) -> None:
    store = FlakyStore(MemoryStore())
    async with running_nodes(CountingNodes(MCPServer), 1, store) as [node]:
        await _is_the_same_whatever_fails(store, Handles(raw, node, store).live)
