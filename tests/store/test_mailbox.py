"""What is put into a node's mailbox it reads, in order and once: each kind of Redis, and all that may happen to one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mooring.errors import StoreUnavailable
from mooring.store.mailbox import RedisMailbox
from mooring.store.stopping import stopped
from mooring.store.trouble import RIGHTS
from tests.real_redis import SERVERS, real_redis
from tests.redis_groups import real_cluster, real_sentinel, real_single
from tests.waiting import until

pytestmark = pytest.mark.real

PASSWORD = "a-password"


class Reader:
    """All that a node finds in its mailbox."""

    def __init__(self, mailbox: RedisMailbox) -> None:
        self.found: list[bytes] = []
        self.times_opened = 0
        self.trouble = ""
        self._task = asyncio.create_task(self._read(mailbox))

    async def _read(self, mailbox: RedisMailbox) -> None:
        while True:
            self.times_opened += 1
            try:
                async with contextlib.aclosing(mailbox.read()) as batches:
                    async for batch in batches:
                        self.found += batch
            except StoreUnavailable as error:
                self.trouble = str(error)
                await asyncio.sleep(0.05)

    async def has(self, *frames: bytes) -> None:
        async def there() -> bool:
            return len(self.found) >= len(frames)

        await until(there, what=f"{len(frames)} frames")
        assert tuple(self.found) == frames

    async def stop(self) -> None:
        await stopped([self._task])


@contextlib.asynccontextmanager
async def two(url: str, **options: Any) -> AsyncIterator[tuple[RedisMailbox, RedisMailbox, Reader]]:
    """A node that writes, and one that reads."""
    writing, reading = (RedisMailbox(url, "mcp", 0.5, node_id, **options) for node_id in ("a-1", "b-1"))
    reader = Reader(reading)
    try:
        yield writing, reading, reader
    finally:
        await reader.stop()
        await writing.aclose()
        await reading.aclose()


async def posted(mailbox: RedisMailbox, *frames: bytes) -> list[bytes]:
    """Once the peer has a mailbox."""

    async def taken() -> list[bytes] | None:
        try:
            return await mailbox.post("b-1", frames)
        except StoreUnavailable:
            return None

    return await until(taken, what="the peer's mailbox") or []


async def test_a_cluster_carries_frames_in_their_order() -> None:
    with real_cluster() as group:
        async with two(group.url) as (writing, _, reader):
            frames = [b"%d" % number for number in range(50)]
            assert len(await posted(writing, *frames[:3])) == 3
            for frame in frames[3:]:
                await posted(writing, frame)
            await reader.has(*frames)


@pytest.mark.parametrize("flavour", SERVERS)
async def test_nobody_writes_where_nobody_reads_and_no_key_stays(flavour: Any) -> None:
    async with real_redis(flavour) as server:
        alone = RedisMailbox(server.url, "mcp", 0.5, "a-1")
        assert await alone.post("b-1", [b"lost"]) is None
        assert await server.keys() == []
        async with two(server.url, kept_seconds=0.2) as (writing, _, reader), server.client() as client:
            await posted(writing, b"x")
            await reader.has(b"x")
            assert await server.keys() == ["mcp:mailbox:{b-1}"]
            assert await client.pttl("mcp:mailbox:{b-1}") > 0
            await reader.stop()

            async def gone() -> bool:
                return await alone.post("b-1", []) is None

            await until(gone, what="the mailbox of a node that is dead to go")
        await alone.aclose()


async def test_a_mailbox_is_bounded_and_what_is_read_is_cut_off() -> None:
    async with real_redis() as server, two(server.url, most_frames=10) as (writing, _, reader):
        await posted(writing, b"first")
        await reader.has(b"first")
        await reader.stop()
        assert len(await posted(writing, *[b"x"] * 25)) <= 10
        assert await writing.post("b-1", [b"y"]) == []
        async with server.client() as client:
            assert await client.xlen("mcp:mailbox:{b-1}") == 10


async def test_what_nobody_has_read_is_taken_back_and_what_was_read_is_not() -> None:
    async with real_redis() as server, two(server.url) as (writing, reading, reader):
        [read] = await posted(writing, b"read")
        await reader.has(b"read")
        await reading.keep_nothing()
        assert not await writing.take_back("b-1", read)
        await reader.stop()
        [unread] = await posted(writing, b"unread")
        assert await writing.take_back("b-1", unread)
        assert not await writing.take_back("b-1", unread)
        again = Reader(reading)
        await posted(writing, b"later")
        await again.has(b"later")
        await again.stop()


async def test_who_reads_again_misses_nothing_that_redis_has() -> None:
    async with real_redis() as server, two(server.url) as (writing, _, reader), server.client() as client:
        await posted(writing, b"1")
        await reader.has(b"1")
        await client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await posted(writing, b"2", b"3")
        await reader.has(b"1", b"2", b"3")
        assert reader.times_opened > 1


async def test_a_mailbox_that_was_lost_is_made_anew() -> None:
    async with real_redis() as server, two(server.url) as (writing, _, reader):
        await posted(writing, b"before")
        await reader.has(b"before")
        await server.empty()
        await posted(writing, b"after")
        await reader.has(b"before", b"after")
        await server.stop()

        async def told() -> str:
            return reader.trouble

        assert "Redis at" in await until(told, what="word of the Redis that ended")
        await server.start()
        await posted(writing, b"at last")
        await reader.has(b"before", b"after", b"at last")


async def test_another_programs_key_in_its_place_is_told_of_and_outlived() -> None:
    async with real_redis() as server, server.client() as client:
        await client.set("mcp:mailbox:{b-1}", "x")
        async with two(server.url) as (writing, _, reader):

            async def told() -> str:
                return reader.trouble

            await until(told, what="word of it")
            with pytest.raises(StoreUnavailable):
                await writing.post("b-1", [b"x"])
            await client.delete("mcp:mailbox:{b-1}")
            await posted(writing, b"y")
            await reader.has(b"y")


async def test_a_redis_without_memory_refuses_and_says_so() -> None:
    async with (
        real_redis("redis", "--maxmemory-policy", "noeviction") as server,
        server.client() as client,
        two(server.url) as (writing, _, reader),
    ):
        await posted(writing, b"1")
        await client.config_set("maxmemory", "1mb")
        with pytest.raises(StoreUnavailable, match="memory"):
            await writing.post("b-1", [b"2"])
        await client.config_set("maxmemory", "0")
        await posted(writing, b"3")
        await reader.has(b"1", b"3")


async def test_after_a_failover_both_are_with_the_new_primary() -> None:
    with real_sentinel(sentinels=1) as group:
        async with two(group.url) as (writing, _, reader):
            await posted(writing, b"before")
            await asyncio.to_thread(group.wait_until_whole)
            replica = group.replica_of(next(port for port in group._running() if group.is_primary(port)))
            await asyncio.to_thread(group.hand_over, replica)
            await asyncio.to_thread(group.wait_until_primary, replica)

            async def arrives() -> bool:
                await posted(writing, b"after")
                return b"after" in reader.found

            await until(arrives, what="a frame by way of the new primary")


async def test_the_rights_that_we_ask_for_are_enough() -> None:
    async with real_redis("redis") as server, server.client() as client:
        url = server.url.replace("unix://", f"unix://mooring:{PASSWORD}@")
        rights = ["reset", "on", f">{PASSWORD}", "~mcp:*", *RIGHTS.split()]
        await client.execute_command("ACL", "SETUSER", "mooring", *rights)
        async with two(url) as (writing, reading, reader):
            [entry] = await posted(writing, b"x")
            await reader.has(b"x")
            await reading.keep_nothing()
            assert not await writing.take_back("b-1", entry)


@pytest.mark.parametrize("group", [real_single, real_sentinel, real_cluster], ids=["single", "sentinel", "cluster"])
async def test_a_url_that_gives_redis_less_time_than_it_is_asked_to_wait(group: Any) -> None:
    with group() as servers:
        mailbox = RedisMailbox(f"{servers.url}?socket_timeout=0.5", "mcp", 2, "a-1")
        async with contextlib.aclosing(mailbox.read()) as batches:
            assert [await anext(batches) for _ in range(3)] == [[], [], []]
        await mailbox.aclose()
