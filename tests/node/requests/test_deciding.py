"""What a node knows when it decides, of sessions, handles and keys alike."""

from __future__ import annotations

import time

from mooring.core.request import RequestFacts
from mooring.core.routing import OPEN, SERVE, Reason, Refuse, Revive
from mooring.node.requests.deciding import Decisions
from mooring.store import MemoryStore
from tests.cluster_in_process import running_node
from tests.fakes import FlakyStore, old_store
from tests.node.apps import ScriptedApp
from tests.node.direct import joined
from tests.node.rpc import RawClient

MODERN = RequestFacts("POST", modern=True)


async def test_what_is_here_is_decided_without_the_store() -> None:
    store = FlakyStore(MemoryStore())
    async with joined(ScriptedApp(), store, heartbeat_seconds=30.0, lease_seconds=60.0) as one:
        node, decisions = one._node, Decisions(one._node)
        handle = node.mint_handle("browser", "", None, survives=False)
        shard = next(iter(node.membership.shards))
        wrapped = node.handles.wrap(shard, "an-id")
        store.calls.clear()
        assert await decisions.decide(MODERN) == SERVE
        assert await decisions.decide(RequestFacts("POST", modern=True, handle=handle)) == SERVE
        assert await decisions.decide(RequestFacts("POST", modern=True, handle=wrapped)) == SERVE
        assert await decisions.decide(RequestFacts("POST", modern=True, placed_on=shard)) == SERVE
        assert await decisions.decide(RequestFacts("POST")) == OPEN
        assert await decisions.decide(RequestFacts("POST", modern=True, handle="mh~x")) == Refuse(Reason.FORGED)
        assert store.calls == []


async def test_what_is_not_here_is_decided_by_what_the_store_says() -> None:
    store = FlakyStore(await old_store())
    async with joined(ScriptedApp(), store, heartbeat_seconds=30.0, lease_seconds=60.0) as one:
        node, decisions = one._node, Decisions(one._node)
        gone = RequestFacts("POST", modern=True, handle=node.mint_handle("browser", "", None, survives=False))
        node.end_handle(gone.handle or "")
        store.calls.clear()
        assert await decisions.decide(gone) == Revive(Reason.EXPIRED)
        assert store.calls
        nobodys = node.handles.mint("zzzzz", "browser", bytes(16))
        assert await decisions.decide(RequestFacts("POST", modern=True, handle=nobodys)) == Revive(Reason.UNKNOWN)


async def test_who_joins_as_the_store_was_emptied_waits_for_what_others_write_again(raw: RawClient) -> None:
    store = FlakyStore(MemoryStore())
    async with running_node(ScriptedApp(), store, heartbeat_seconds=1.0, lease_seconds=4.0) as holder:
        session = await raw.open(holder.url)
        store.inner = MemoryStore()
        async with running_node(ScriptedApp(), store, "node-2", lease_seconds=4.0) as late:
            assert (await raw.call(late.url, session)).status == 200
            assert holder.mooring._node.sessions.find(session) is not None


async def test_what_could_not_be_done_is_decided_again_while_there_is_time() -> None:
    async with joined(ScriptedApp()) as one:
        node, decisions = one._node, Decisions(one._node)
        handle = RequestFacts("POST", modern=True, handle=node.mint_handle("browser", "", None, survives=False))
        assert await decisions.decide_again(handle, time.monotonic() + 60) == SERVE
        assert await decisions.decide_again(handle, time.monotonic()) == Refuse(Reason.UNREACHABLE)


async def test_it_finds_sessions_and_nothing_else() -> None:
    async with joined(ScriptedApp()) as one:
        decisions = Decisions(one._node)
        assert decisions.find(MODERN) is None
        assert decisions.find(RequestFacts("POST", session_id="none")) is None
