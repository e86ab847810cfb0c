"""What one says in Redis, all hear: each kind of Redis, servers that go away, and users with few rights."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest

from mooring.errors import StoreUnavailable
from mooring.store.channel import SILENT_SECONDS, RedisChannel
from mooring.store.trouble import RIGHTS
from tests.fakes import Clock
from tests.real_redis import SERVERS, RealRedis, real_redis
from tests.redis_groups import Group, real_cluster, real_sentinel, real_single
from tests.waiting import until

pytestmark = pytest.mark.real

PASSWORD = "a-password"


class Ear:
    """All that one node hears, the ends as well."""

    def __init__(self, channel: RedisChannel) -> None:
        self.heard: list[bytes | None] = []
        self.trouble = ""
        self._task = asyncio.create_task(self._listen(channel))

    @property
    def has_ended(self) -> bool:
        return self._task.done()

    async def _listen(self, channel: RedisChannel) -> None:
        try:
            async with contextlib.aclosing(channel.hear()) as messages:
                async for message in messages:
                    self.heard.append(message)
        except StoreUnavailable as error:
            self.trouble = str(error)

    async def has_heard(self, count: int) -> list[bytes | None]:
        async def there() -> bool:
            return len(self.heard) >= count or self.has_ended

        await until(there, what=f"{count} messages")
        return self.heard

    async def ends(self) -> str:
        async def ended() -> bool:
            return self.has_ended

        await until(ended, what="the end of hearing")
        return self.trouble

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


@contextlib.asynccontextmanager
async def two(url: str, **options: Any) -> AsyncIterator[tuple[RedisChannel, RedisChannel, Ear, Ear]]:
    first, second = (RedisChannel(url, "mcp", 1, **options) for _ in range(2))
    ears = Ear(first), Ear(second)
    try:
        yield first, second, *ears
    finally:
        for ear in ears:
            await ear.stop()
        await first.aclose()
        await second.aclose()


def single_with_tls() -> AbstractContextManager[Group]:
    return real_single(tls=True, password=True)


@pytest.mark.parametrize("start", [real_single, single_with_tls, real_cluster, real_sentinel])
async def test_all_hear_what_one_says(start: Callable[[], AbstractContextManager[Group]]) -> None:
    with start() as group:
        async with two(group.url) as (first, second, *ears):
            for ear in ears:
                assert await ear.has_heard(1) == [None], "from now on"
            said = [b"%d" % number for number in range(250)]
            await asyncio.gather(*(first.say(message) for message in said))
            await second.say(b"\x00\xff last")
            for ear in ears:
                assert await ear.has_heard(252) == [None, *said, b"\x00\xff last"]


@pytest.mark.parametrize("flavour", SERVERS)
async def test_other_clusters_hear_nothing_of_it(flavour: Any) -> None:
    async with real_redis(flavour) as server, two(server.url) as (first, _, ear, _):
        await ear.has_heard(1)
        other = RedisChannel(server.url, "other", 1)
        await other.say(b"theirs")
        await other.aclose()
        await first.say(b"ours")
        assert await ear.has_heard(2) == [None, b"ours"]


async def test_a_redis_that_ends_is_told_of_and_found_again() -> None:
    async with real_redis() as server, two(server.url) as (first, second, ear, _):
        await ear.has_heard(1)
        await server.stop()
        assert "Redis at" in await ear.ends()
        with pytest.raises(StoreUnavailable, match="telling of a change"):
            await second.say(b"lost")
        await server.start()
        again = Ear(first)
        await again.has_heard(1)
        await second.say(b"heard")
        assert await again.has_heard(2) == [None, b"heard"]
        await again.stop()


async def test_a_connection_that_is_cut_does_not_come_back_unseen() -> None:
    async with real_redis() as server, two(server.url) as (_, _, ear, _), server.client() as client:
        await ear.has_heard(1)
        await client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        assert "listening for changes" in await ear.ends()
        assert ear.heard == [None]


async def frozen_is_noticed(server: RealRedis, clock: Clock, ear: Ear) -> str:
    await ear.has_heard(1)
    server.freeze()
    try:
        while not ear.has_ended:
            clock.now += SILENT_SECONDS / 2
            await asyncio.sleep(0.05)
        return ear.trouble
    finally:
        server.thaw()


async def test_a_redis_that_freezes_is_noticed_and_a_quiet_one_is_not() -> None:
    clock = Clock()
    async with real_redis() as server, two(server.url, now=clock) as (first, _, ear, _):
        await ear.has_heard(1)
        for _ in range(3):  # quiet for longer than that, and asked, and it answers
            clock.now += 1.5 * SILENT_SECONDS
            await asyncio.sleep(1.2)
        await first.say(b"still there")
        assert await ear.has_heard(2) == [None, b"still there"]
        assert "does not answer" in await frozen_is_noticed(server, clock, ear)


async def test_after_a_failover_all_are_with_the_new_primary() -> None:
    with real_sentinel(sentinels=1) as group:
        async with two(group.url) as (first, second, *ears):
            for ear in ears:
                await ear.has_heard(1)
            await asyncio.to_thread(group.wait_until_whole)
            replica = group.replica_of(next(port for port in group._running() if group.is_primary(port)))
            # Nobody ends the connections: the old primary does not know yet that it is none.
            await asyncio.to_thread(group.hand_over, replica)
            await asyncio.to_thread(group.wait_until_primary, replica)
            for ear in ears:
                await ear.ends()
            later = Ear(first)
            await later.has_heard(1)
            await said_in_the_end(second, b"after it")
            assert (await later.has_heard(2))[:2] == [None, b"after it"]
            await later.stop()


async def said_in_the_end(channel: RedisChannel, message: bytes) -> None:
    async def says() -> bool:
        try:
            await channel.say(message)
        except StoreUnavailable:
            return False
        return True

    await until(says, what="the new primary to take it")


@pytest.mark.parametrize("flavour", SERVERS)
async def test_a_user_with_the_rights_that_we_ask_for_is_enough_and_one_without_is_told(flavour: Any) -> None:
    async with real_redis(flavour) as server, server.client() as client:
        url = server.url.replace("unix://", f"unix://mooring:{PASSWORD}@")
        base = ["reset", "on", f">{PASSWORD}", "~mcp:*", *RIGHTS.split()]
        await client.execute_command("ACL", "SETUSER", "mooring", *base)
        async with two(url) as (first, _, ear, _):
            assert "denies its user that" in await ear.ends()
            assert "+@pubsub" in ear.trouble
            assert "channels" in ear.trouble
            with pytest.raises(StoreUnavailable, match="denies its user that"):
                await first.say(b"")
        await client.execute_command("ACL", "SETUSER", "mooring", *base, "&mcp:*")
        async with two(url) as (first, _, ear, _):
            await ear.has_heard(1)
            await first.say(b"allowed")
            assert await ear.has_heard(2) == [None, b"allowed"]


async def test_in_another_database_of_the_same_redis_it_is_another_channel() -> None:
    """Two clusters there may have one prefix: they share no key, and so nothing else."""
    async with real_redis() as server, two(server.url) as (first, _, ear, _), two(f"{server.url}?db=1") as others:
        for one in (ear, *others[2:]):
            await one.has_heard(1)
        await first.say(b"of database 0")
        await others[0].say(b"of database 1")
        assert await ear.has_heard(2) == [None, b"of database 0"]
        assert await others[2].has_heard(2) == await others[3].has_heard(2) == [None, b"of database 1"]
