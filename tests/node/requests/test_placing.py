"""Calls that name no handle, kept together by the key that their host sends."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from mooring import Mooring
from mooring.errors import StoreUnavailable
from mooring.node.requests.placing import Placements
from mooring.store import MemoryStore
from tests.cluster_in_process import RunningNode, running_nodes
from tests.fakes import Clock, FlakyStore
from tests.node.apps import ScriptedApp, answer
from tests.node.direct import joined
from tests.node.requests.test_modern import post, visit, with_users
from tests.node.rpc import RawClient
from tests.waiting import until

HEADER = "header:X-Conversation-Id"


class Nodes:
    """Three nodes whose apps count what reaches them."""

    def __init__(self) -> None:
        self.apps: list[ScriptedApp] = []

    def __call__(self) -> ScriptedApp:
        async def gate(scope: Any, body: bytes, send: Any) -> None:
            await answer(send, 200, json.dumps({"jsonrpc": "2.0", "id": 7, "result": {}}).encode())

        self.apps.append(ScriptedApp())
        self.apps[-1].gate = gate
        return self.apps[-1]

    def reached(self) -> list[int]:
        """How many calls reached each, since this was last asked; who sends them is asked with empty bodies."""
        counts = [sum(body != b"" for _, _, body in app.asked) for app in self.apps]
        for app in self.apps:
            app.asked.clear()
        return counts


@pytest.fixture
def apps() -> Nodes:
    return Nodes()


async def send(raw: RawClient, nodes: Sequence[RunningNode], key: str, **user: str) -> None:
    headers = [("x-conversation-id", key), *((f"x-{name}", value) for name, value in user.items())]
    replies = await asyncio.gather(*(post(raw, node, visit("x"), headers=headers) for node in nodes))
    assert [reply.status for reply in replies] == [200] * len(nodes)


async def test_parallel_first_calls_meet_on_one_node_and_later_ones_ask_nobody(raw: RawClient, apps: Nodes) -> None:
    stores: list[FlakyStore] = []
    inner = MemoryStore()

    def make_store() -> FlakyStore:
        stores.append(FlakyStore(inner))
        return stores[-1]

    async with running_nodes(apps, 3, make_store, placement_key=HEADER) as nodes:
        met: Counter[int] = Counter()
        for number in range(12):
            turned = [*nodes[number % 3 :], *nodes[: number % 3]]
            await send(raw, turned, f"conversation {number}")
            reached = apps.reached()
            assert sorted(reached) == [0, 0, 3]
            met[reached.index(3)] += 1
            placed = [store.calls.count("place") for store in stores]
            for _ in range(2):
                await send(raw, nodes, f"conversation {number}")
                assert apps.reached() == reached
            assert [store.calls.count("place") for store in stores] == placed
    assert len(met) > 1


@pytest.mark.parametrize("key", ["one", 17])
async def test_a_key_in_meta_keeps_calls_together(raw: RawClient, apps: Nodes, key: Any) -> None:
    async with running_nodes(apps, 3, placement_key="meta:example.org/conversation") as nodes:
        body = visit("x")
        body["params"]["_meta"] = {**body["params"]["_meta"], "example.org/conversation": key}
        for node in nodes:
            assert (await post(raw, node, body)).status == 200
        assert sorted(apps.reached()) == [0, 0, 3]
        for node in nodes:
            await post(raw, node, visit("x"))
        assert apps.reached() == [1, 1, 1]


async def test_the_key_of_another_principal_is_another_key(raw: RawClient, apps: Nodes) -> None:
    asked: list[str] = []
    store = FlakyStore(MemoryStore())

    class Around:
        """Authenticates around Mooring, where its user is known before anything is placed."""

        def __init__(self, app: Any) -> None:
            self._app = with_users(app)

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await self._app(scope, receive, send)

    async with running_nodes(apps, 1, store, placement_key=HEADER, around=Around) as [node]:
        for user in ("alice", "mallory", "alice"):
            await send(raw, [node], "one", user=user)
            asked.append(user)
        assert store.calls.count("place") == 2


async def test_who_asks_is_what_the_app_says(raw: RawClient, apps: Nodes) -> None:
    store = FlakyStore(MemoryStore())
    async with running_nodes(lambda: with_users(apps()), 1, store, placement_key=HEADER) as [node]:
        for user in ("alice", "mallory", "alice", "mallory"):
            await send(raw, [node], "one", user=user)
        # Without an Authorization it is not asked who that is: the key is everybody's.
        assert store.calls.count("place") == 1
        for user in ("alice", "mallory", "alice", "mallory"):
            headers = [("x-conversation-id", "one"), ("x-user", user), ("authorization", f"Bearer {user}")]
            assert (await post(raw, node, visit("x"), headers=headers)).status == 200
        assert store.calls.count("place") == 3


async def test_a_node_s_death_moves_the_key_with_its_shard(raw: RawClient, apps: Nodes) -> None:
    async with running_nodes(apps, 3, placement_key=HEADER) as nodes:
        await send(raw, nodes, "one")
        owner = apps.reached().index(3)
        await nodes[owner].vanish()
        rest = [node for number, node in enumerate(nodes) if number != owner]
        await send(raw, rest, "one")
        assert sorted(apps.reached()) == [0, 0, 2]


async def test_while_the_store_is_away_calls_are_served_where_they_come(raw: RawClient, apps: Nodes) -> None:
    store = FlakyStore(MemoryStore())
    async with running_nodes(apps, 1, store, placement_key=HEADER, lease_seconds=60.0) as [node]:
        store.away = True
        await send(raw, [node], "one")
        store.away = False
        assert apps.reached() == [1]


@pytest.mark.parametrize("failures", [1, 18], ids=["once", "for two seconds"])
async def test_a_store_that_is_silent_for_a_moment_parts_nobody(raw: RawClient, apps: Nodes, failures: int) -> None:
    left = [failures]

    async def fails() -> None:
        left[0] -= 1
        if left[0]:
            store.before["place"] = fails
        raise StoreUnavailable("slow")

    store = FlakyStore(MemoryStore())
    async with running_nodes(apps, 3, store, placement_key=HEADER) as nodes:
        store.before["place"] = fails
        await send(raw, nodes, "one")
        assert left == [0]
        assert sorted(apps.reached()) == [0, 0, 3]


async def test_a_key_that_nobody_uses_is_forgotten(raw: RawClient, apps: Nodes) -> None:
    async with running_nodes(apps, 2, placement_key=HEADER, placement_idle_seconds=1) as nodes:
        found: set[int] = set()

        async def has_been_elsewhere() -> bool:
            await send(raw, nodes[len(found) % 2 :][:1], "one")
            found.add(apps.reached().index(1))
            await asyncio.sleep(1.7)  # longer than it is remembered
            return len(found) == 2

        await until(has_been_elsewhere, what="another place")


@contextlib.asynccontextmanager
async def placed_by(clock: Clock, store: MemoryStore) -> AsyncIterator[Callable[[], Awaitable[str]]]:
    """Asks for the shard of a key."""
    scope: Any = {"type": "http", "headers": []}
    async with joined(ScriptedApp(), store, placement_key=HEADER, placement_idle_seconds=100) as node:
        placements = Placements(node._node, ScriptedApp(), now=clock)

        async def ask() -> str:
            return await placements.shard_of("one", scope, _nothing) or ""

        yield ask


async def test_a_key_is_remembered_for_its_time_after_its_last_use() -> None:
    clock = Clock()
    store = MemoryStore(clock)
    async with placed_by(clock, store) as ask:
        first = await ask()
        clock.now += 49
        assert await ask() == first  # and nothing is written
        clock.now += 99
        assert await ask() == first


async def test_a_store_that_was_emptied_has_the_key_again_where_it_was() -> None:
    clock = Clock()
    store = MemoryStore(clock)
    async with placed_by(clock, store) as ask:
        first = await ask()
        store._places.clear()
        for _ in range(3):
            clock.now += 99
            assert await ask() == first


@pytest.fixture
async def one_node(apps: Nodes) -> AsyncIterator[RunningNode]:
    async with running_nodes(apps, 1, placement_key=HEADER) as [node]:
        yield node


async def test_whoever_the_app_turns_away_leaves_no_key(raw: RawClient, apps: Nodes) -> None:
    store = FlakyStore(MemoryStore())

    def make_app() -> Any:
        inner = apps()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            if dict(scope.get("headers", ())).get(b"cookie") == b"alice" or scope["type"] != "http":
                await inner(scope, receive, send)
            else:
                await answer(send, 401, b"sign in")

        return app

    async with running_nodes(make_app, 1, store, placement_key=HEADER) as [node]:
        for number in range(3):
            reply = await post(raw, node, visit("x"), headers=[("x-conversation-id", f"made up {number}")])
            assert (reply.status, reply.body) == (401, b"sign in")
        assert store.calls.count("place") == 0
        for _ in range(2):
            headers = [("x-conversation-id", "one"), ("cookie", "alice")]
            assert (await post(raw, node, visit("x"), headers=headers)).status == 200
        assert store.calls.count("place") == 1
        assert [body for _, _, body in apps.apps[0].asked].count(b"") == 1  # it is asked once for each key
        assert apps.reached() == [2]
        for number in range(3):
            reply = await post(raw, node, visit("x"), headers=[("x-conversation-id", f"made up {number}")])
            assert (reply.status, reply.body) == (401, b"sign in")
        assert store.calls.count("place") == 1


async def test_an_app_that_turns_the_sender_away_is_heard(raw: RawClient, apps: Nodes, one_node: RunningNode) -> None:
    async def unread(scope: Any, body: bytes, send: Any) -> None:
        await answer(send, 401, b'{"who": "are you"}')

    apps.apps[0].unread = unread
    headers = [("x-conversation-id", "one"), ("authorization", "Bearer stale")]
    reply = await post(raw, one_node, visit("x"), headers=headers)
    assert (reply.status, reply.body) == (401, b'{"who": "are you"}')


@pytest.mark.parametrize("says_so", [True, False])
@pytest.mark.parametrize("user", ["alice", None])
async def test_an_app_that_fails_over_an_empty_body_has_failed_no_call(
    raw: RawClient, apps: Nodes, says_so: bool, user: str | None
) -> None:
    """It is asked with one who sends the call, and is not written for that."""

    def make_app() -> Any:
        app = apps()
        gate = app.gate
        assert gate is not None

        async def failing(scope: Any, body: bytes, send: Any) -> None:
            if not body:
                if says_so:
                    await answer(send, 500, b"Internal Server Error")
                raise ValueError("an empty body is no JSON")
            await gate(scope, body, send)

        app.gate = failing
        return with_users(app)

    async with running_nodes(make_app, 3, placement_key=HEADER) as nodes:
        named = [] if user is None else [("x-user", user)]
        headers = [("x-conversation-id", "one"), ("authorization", "Bearer some"), *named]
        replies = [await post(raw, node, visit("x"), headers=headers) for node in nodes]
        assert [reply.status for reply in replies] == [200] * 3
        served = [sum(bool(body) for _, _, body in app.asked) for app in apps.apps]
        assert sorted(served) == [0, 0, 3]


async def test_while_the_secret_is_changed_nodes_find_the_same() -> None:
    """Some have the new one first by then, and some the old one."""
    store = MemoryStore()
    old, new = "the old secret of them all", "the new secret of them all"

    def placements(secret: str, name: str) -> AbstractAsyncContextManager[Mooring]:
        return joined(ScriptedApp(), store, node_name=name, secret=secret, placement_key=HEADER)

    async def shard_of(key: str, at: Mooring) -> str | None:
        scope: Any = {"type": "http", "headers": []}
        return await Placements(at._node, ScriptedApp()).shard_of(key, scope, _nothing)

    async with placements(old, "node-0") as node:
        before = await shard_of("before", node)
    async with placements(f"{old},{new}", "node-1") as one, placements(f"{new},{old}", "node-2") as two:
        for key, turns in (("before", (two, one)), ("this", (one, two)), ("that", (two, one))):
            found = {await shard_of(key, node) for node in (*turns, *turns)}
            assert len(found) == 1, key
        assert before is not None


async def _nothing(_: Any) -> None:
    raise AssertionError("nobody is asked")
