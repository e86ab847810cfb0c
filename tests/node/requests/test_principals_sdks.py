"""Whose session is whose, in apps of each SDK with each kind of authentication, seen from the wrong person's side."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from mooring import ClosedSession
from mooring.asgi import HeaderList
from mooring.store import MemoryStore, open_store
from tests.cluster_in_process import SECRET, RunningNode, running_node, running_nodes
from tests.node.direct import Request
from tests.node.rpc import HEADERS, RawClient
from tests.node.wrongs import ALICE, BOB, MODERN, NOBODY, STRANGER, People, first_generation, unknown_session
from tests.real_redis import real_redis
from tests.servers.people import Auth, Sdk, authenticated, make_app

second_generation = pytest.mark.parametrize("sdk", ["v2", "fastmcp"])


@asynccontextmanager
async def two_nodes(sdk: Sdk, auth: Auth, store: MemoryStore | None = None) -> AsyncIterator[list[RunningNode]]:
    """Two nodes; the app is on both, and so is its authentication: inside it, or around Mooring."""
    async with running_nodes(lambda: make_app(sdk, auth), 2, store) as nodes:
        yield nodes


def refusal_of(auth: Auth, who: dict[str, str]) -> int:
    """The SDKs' own authentication turns strangers away, which is right: they have to sign in."""
    return 401 if auth == "bearer" and who is not BOB else 404


@second_generation
@pytest.mark.parametrize("auth", ["bearer", "starlette", "optional bearer"])
async def test_nothing_is_done_in_anothers_session(sdk: Sdk, auth: Auth, raw: RawClient) -> None:
    closed: list[ClosedSession] = []
    async with two_nodes(sdk, auth) as nodes:
        for node in nodes:
            node.mooring.on_close(closed.append)
        people = People(raw, [node.url for node in nodes])
        for who in (BOB, STRANGER, NOBODY):
            await people.try_everything(who, refusal_of(auth, who))
        assert {session.reason for session in closed} == {"deleted"}


@second_generation
@pytest.mark.parametrize("auth", ["bearer", "starlette"])
async def test_a_header_of_the_modern_era_does_not_lead_there(sdk: Sdk, auth: Auth, raw: RawClient) -> None:
    async with two_nodes(sdk, auth) as nodes:
        people = People(raw, [node.url for node in nodes])
        for who in (BOB, NOBODY):
            await people.try_everything({**who, "mcp-protocol-version": MODERN}, None)


@second_generation
async def test_authentication_around_mooring_is_as_good(sdk: Sdk, raw: RawClient) -> None:
    async with running_nodes(lambda: make_app(sdk, "nobody"), 2, around=authenticated) as nodes:
        people = People(raw, [node.url for node in nodes])
        for who in (BOB, NOBODY):
            await people.try_everything(who, 404)


@pytest.mark.real
@pytest.mark.parametrize("auth", ["bearer", "starlette", "optional bearer"])
async def test_nothing_is_done_in_anothers_session_with_the_first_generation(auth: Auth, raw: RawClient) -> None:
    """It lives on a node of the first generation, and is asked for there and through one of the second."""
    async with (
        real_redis() as redis,
        first_generation(auth, redis) as home,
        running_node(make_app("v2", auth), open_store(redis.url, secrets=[SECRET]), lease_seconds=5.0) as other,
    ):
        people = People(raw, [home, other.url])
        for who in (BOB, STRANGER, NOBODY):
            await people.try_everything(who, refusal_of(auth, who))
            await people.try_everything({**who, "mcp-protocol-version": MODERN}, None)
        assert other.mooring._node.tally.forwarded_out > 0


@second_generation
@pytest.mark.parametrize("auth", ["bearer", "starlette", "optional bearer"])
async def test_a_method_in_another_case_does_not_lead_there(sdk: Sdk, auth: Auth, raw: RawClient) -> None:
    """Not every server refuses it, and not every app. FastMCP's routes do."""
    async with running_node(make_app(sdk, auth), MemoryStore()) as node:
        session = await People(raw, [node.url]).open(ALICE)
        for method in ("delete", "Delete", "post", "get"):
            for who in (BOB, STRANGER, NOBODY):
                asked = Request(method, session=session, headers=encoded({**HEADERS, **who}))
                assert (await asked.to(node.mooring)).status in (refusal_of(auth, who), 405)
        assert await node.mooring.has_session(session)


def encoded(headers: dict[str, str]) -> HeaderList:
    return [(name.encode(), value.encode()) for name, value in headers.items()]


@second_generation
@pytest.mark.parametrize("auth", ["bearer", "starlette"])
async def test_on_the_wire_anothers_session_is_one_that_never_was(sdk: Sdk, auth: Auth, raw: RawClient) -> None:
    async with two_nodes(sdk, auth) as nodes:
        people = People(raw, [node.url for node in nodes])
        session = await people.open(ALICE)
        for node in nodes:
            for method in ("POST", "GET", "DELETE"):
                wrong = await raw.send(method, f"{node.url}/mcp", session=session, headers=BOB)
                unknown = await unknown_session(raw, node.url, method, BOB)
                assert (wrong.status, wrong.body) == (unknown.status, unknown.body)
                assert set(wrong.headers) == set(unknown.headers)
