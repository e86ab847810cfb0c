"""Sessions that died with their node are somebody's still, as the wrong person finds out, and then the right one.

Whoever is not the principal revives none, learns of none and ends none, whether or not they may be revived.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest

from mooring.store import MemoryStore, Store, open_store
from tests.cluster_in_process import SECRET, RunningNode, running_node
from tests.fakes import old_store
from tests.node.direct import Request
from tests.node.rpc import RawClient, Reply
from tests.node.wrongs import (
    ALICE,
    BOB,
    NOBODY,
    STRANGER,
    People,
    answer_to,
    call_of,
    cancellation_of,
    first_generation,
    unknown_session,
)
from tests.real_redis import real_redis
from tests.servers.people import Auth, Sdk, authenticated, make_app

SETTINGS: dict[str, Any] = {"lease_seconds": 10.0}
ATTEMPTS: list[tuple[str, Any, dict[str, str]]] = [
    ("POST", call_of("count"), {}),
    ("POST", cancellation_of(4), {}),
    ("POST", answer_to(0, "Mallory"), {}),
    ("GET", None, {}),
    ("GET", None, {"last-event-id": "1"}),
    ("DELETE", None, {}),
    ("DELETE", b"{}", {}),
]

losses = pytest.mark.parametrize("on_loss", ["revive", "reinitialize"])
auths = pytest.mark.parametrize("auth", ["bearer", "starlette", "optional bearer"])


@dataclass
class Survivor:
    """The address of a node whose peer died, and the store that both have."""

    raw: RawClient
    base: str
    store: Store

    async def send(self, method: str, session: str, who: dict[str, str], body: Any = None) -> Reply:
        return await self.raw.send(method, f"{self.base}/mcp", session=session, headers=who, body=body)

    async def try_in_vain(self, session: str, who: dict[str, str], refused: int) -> None:
        """`who` tries everything; the record stays as it is, but for whom it refuses, and nothing is carried out."""
        before = await self.store.load_session(session)
        assert before is not None
        for method, body, more in ATTEMPTS:
            reply = await self.send(method, session, {**who, **more}, body)
            assert reply.status == refused, (method, reply)
            if refused == 404:
                unknown = await unknown_session(self.raw, self.base, method, who)
                assert (reply.body, set(reply.headers)) == (unknown.body, set(unknown.headers))
            after = await self.store.load_session(session)
            assert after is not None
            assert after.epoch >= before.epoch
            assert replace(after, epoch=before.epoch) == before
        assert await People(self.raw, [self.base]).ledger() == []

    async def go_on(self, called: str, deleted: str) -> None:
        """Alice uses one session of hers as if nothing had happened, and ends the other; who else may do either?"""
        counted = await self.send("POST", called, ALICE, call_of("count"))
        assert counted.json["result"]["content"][0]["text"] == "1"
        record = await self.store.load_session(called)
        assert record is not None
        assert record.incarnation == 1
        assert (await self.send("DELETE", deleted, ALICE)).status == 200
        assert await self.store.load_session(deleted) is None
        assert (await self.send("POST", deleted, ALICE, call_of("count"))).reason == "expired"
        assert await People(self.raw, [self.base]).ledger() == ["counted"]
        for who in (BOB, NOBODY):
            assert (await self.send("POST", called, who, call_of("count"))).status in (401, 404)
        assert await People(self.raw, [self.base]).ledger() == ["counted"]

    async def end(self, on_loss: str, called: str, deleted: str) -> None:
        await (self.go_on if on_loss == "revive" else self.learn)(called, deleted)

    async def learn(self, called: str, deleted: str) -> None:
        """Alice hears what became of two sessions of hers, and their records are gone."""
        reply = await self.send("POST", called, ALICE, call_of("count"))
        assert (reply.status, reply.reason) == (404, "owner_lost")
        assert (await self.send("DELETE", deleted, ALICE)).status == 200
        for session in (called, deleted):
            assert await self.store.load_session(session) is None
            assert (await self.send("DELETE", session, ALICE)).reason == "expired"


async def opened_and_lost(raw: RawClient, node: RunningNode) -> tuple[str, str]:
    """Two sessions of Alice's on a node that is dead when this returns, as its peers know."""
    people = People(raw, [node.url])
    sessions = await people.open(ALICE), await people.open(ALICE)
    await node.mooring._node.keeper.leave()
    await node.vanish()
    return sessions


def refusal_of(auth: Auth, who: dict[str, str]) -> int:
    """The SDKs' own authentication turns strangers away, which is right: they have to sign in."""
    return 401 if auth == "bearer" and who is not BOB else 404


@asynccontextmanager
async def survivor(
    raw: RawClient, *apps: Any, around: Any = None, on_loss: str = "revive"
) -> AsyncIterator[tuple[Survivor, str, str]]:
    store = await old_store()
    settings = {**SETTINGS, "on_node_loss": on_loss}
    async with (
        running_node(apps[0], store, "node-1", around=around, **settings) as lost,
        running_node(apps[1], store, "node-2", around=around, **settings) as left,
    ):
        yield Survivor(raw, left.url, store), *await opened_and_lost(raw, lost)


@pytest.mark.parametrize("sdk", ["v2", "fastmcp"])
@auths
@losses
async def test_a_lost_session_is_unknown_to_all_but_its_principal(
    sdk: Sdk, auth: Auth, on_loss: str, raw: RawClient
) -> None:
    async with survivor(raw, make_app(sdk, auth), make_app(sdk, auth), on_loss=on_loss) as (left, called, deleted):
        for who in (BOB, STRANGER, NOBODY):
            await left.try_in_vain(called, who, refusal_of(auth, who))
        await left.end(on_loss, called, deleted)


async def test_a_method_in_another_case_is_no_way_to_end_one(raw: RawClient) -> None:
    """Not every server refuses it."""
    store = MemoryStore()
    async with (
        running_node(make_app("v2", "starlette"), store, "node-1", **SETTINGS) as lost,
        running_node(make_app("v2", "starlette"), store, "node-2", **SETTINGS) as left,
    ):
        session, _ = await opened_and_lost(raw, lost)
        for who in (BOB, NOBODY):
            headers = [(name.encode(), value.encode()) for name, value in {**who, "host": "127.0.0.1:8000"}.items()]
            asked = await Request("delete", session=session, headers=headers).to(left.mooring)
            assert (asked.status, asked.reason) == (404, "unknown")
        assert await store.load_session(session) is not None


@pytest.mark.parametrize("sdk", ["v2", "fastmcp"])
@losses
async def test_authentication_around_mooring_is_as_good(sdk: Sdk, on_loss: str, raw: RawClient) -> None:
    apps = make_app(sdk, "nobody"), make_app(sdk, "nobody")
    async with survivor(raw, *apps, around=authenticated, on_loss=on_loss) as (left, called, deleted):
        for who in (BOB, NOBODY):
            await left.try_in_vain(called, who, 404)
        await left.end(on_loss, called, deleted)


@pytest.mark.real
@auths
async def test_so_it_is_with_the_first_generation(auth: Auth, raw: RawClient) -> None:
    """The node that died had the second generation, as in the middle of an upgrade."""
    async with (
        real_redis() as redis,
        first_generation(auth, redis) as base,
        running_node(make_app("v2", auth), open_store(redis.url, secrets=[SECRET]), "node-1", **SETTINGS) as lost,
    ):
        called, deleted = await opened_and_lost(raw, lost)
        left = Survivor(raw, base, open_store(redis.url, secrets=[SECRET]))
        for who in (BOB, STRANGER, NOBODY):
            await left.try_in_vain(called, who, refusal_of(auth, who))
        await left.go_on(called, deleted)
        await left.store.aclose()
