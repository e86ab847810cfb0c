"""A store of each kind, for the suites that hold all of them to one contract."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from mooring.store import MemoryStore, RedisStore, Store, codec
from mooring.store.clients import client_of
from tests.real_redis import SERVERS, RealRedis, real_redis
from tests.redis_groups import Group, real_cluster, real_sentinel
from tests.store.examples import SEALS

MANY: dict[str, Callable[[], contextlib.AbstractContextManager[Group]]] = {
    "cluster": real_cluster,
    "sentinel": real_sentinel,
}
"""Several servers that take their time to start: once for all tests, and emptied for each."""


@pytest.fixture(autouse=True)
def tell_again() -> None:
    """What was complained of in another test is complained of again."""
    codec.complain.forget()


@pytest.fixture(params=SERVERS)
async def server(request: pytest.FixtureRequest) -> AsyncIterator[RealRedis]:
    """One of each kind, alone."""
    async with real_redis(request.param) as server:
        yield server


@pytest.fixture(scope="module")
def many(request: pytest.FixtureRequest) -> Iterator[Callable[[str], str]]:
    """The URL of servers of this kind."""
    urls: dict[str, str] = {}
    with contextlib.ExitStack() as running:

        def started(kind: str) -> str:
            if kind not in urls:
                urls[kind] = running.enter_context(MANY[kind]()).url
            return urls[kind]

        yield started


@pytest.fixture(params=["memory", *SERVERS, *(pytest.param(kind, marks=pytest.mark.real) for kind in MANY)])
async def store(request: pytest.FixtureRequest, many: Callable[[str], str]) -> AsyncIterator[Store]:
    if request.param == "memory":
        yield MemoryStore()
        return
    if request.param in MANY:
        url = many(request.param)
        client = client_of(url, 2)
        await client.flushall(**({"target_nodes": "primaries"} if request.param == "cluster" else {}))
        await client.aclose()
        opened = RedisStore(url, "mcp", timeout_seconds=2, seals=SEALS)
        yield opened
        await opened.aclose()
        return
    async with real_redis(request.param) as server:
        opened = RedisStore(server.url, "mcp", timeout_seconds=2, seals=SEALS)
        try:
            yield opened
        finally:
            await opened.aclose()
