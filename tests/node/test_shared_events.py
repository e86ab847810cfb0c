"""What happens on one node is heard on all: once, from nobody else, and again after Redis was away."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator

import pytest
from mcp.server.mcpserver import MCPServer
from mcp.server.subscriptions import (
    InMemorySubscriptionBus,
    PromptsListChanged,
    ResourcesListChanged,
    ResourceUpdated,
    ServerEvent,
    ToolsListChanged,
)

from mooring.core.server_events import LISTS, MESSAGE_BYTES, Announcement, seal
from mooring.core.server_events import ServerEvent as Told
from mooring.errors import StoreUnavailable
from mooring.node import shared_events
from mooring.node.shared_events import QUEUE_LIMIT, SharedEvents
from mooring.node.subscription_buses import share_changes, take_buses
from mooring.store.channel import Channel, RedisChannel
from tests.real_redis import RealRedis, real_redis
from tests.waiting import until

KEY = b"k" * 32
MAX_AGE_MS = 30_000
EVERY_LIST: list[ServerEvent] = [ToolsListChanged(), PromptsListChanged(), ResourcesListChanged()]


class Air(Channel):
    """A channel in this process. It can be away, lose an answer, and pass on what anyone says.

    Attributes:
        is_away: nobody can say or hear anything.
        loses_answers: what is said is heard, and whoever said it learns that it may not have been.
        attempts: how often somebody tried to say, and to hear, while it was away.
    """

    def __init__(self) -> None:
        self.is_away = False
        self.loses_answers = False
        self.said: list[bytes] = []
        self.attempts = Counter[str]()
        self._ears: list[asyncio.Queue[bytes | None]] = []

    async def say(self, message: bytes) -> None:
        await asyncio.sleep(0)
        if self.is_away:
            self.attempts["say"] += 1
            raise StoreUnavailable("Redis is away")
        self.said.append(message)
        for ear in self._ears:
            ear.put_nowait(message)
        if self.loses_answers:
            raise StoreUnavailable("Redis does not answer")

    async def hear(self) -> AsyncGenerator[bytes | None, None]:
        if self.is_away:
            self.attempts["hear"] += 1
            raise StoreUnavailable("Redis is away")
        ear: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._ears.append(ear)
        yield None
        while (message := await ear.get()) is not None:
            yield message
        raise StoreUnavailable("Redis went away")

    async def was_tried_often(self) -> bool:
        return min(self.attempts["say"], self.attempts["hear"]) >= 6

    def cut(self) -> None:
        """Everybody who hears, hears no more."""
        ears, self._ears = self._ears, []
        for ear in ears:
            ear.put_nowait(None)

    async def aclose(self) -> None: ...


class SomeNode:
    """The part of a node that shares changes, with one server.

    Attributes:
        heard: by a listener here.
    """

    def __init__(self, name: str, channel: Channel | None, server: str = "a", key: bytes = KEY) -> None:
        self.events = SharedEvents(channel, key, name, MAX_AGE_MS, now=time.time, sleep=lambda _: asyncio.sleep(0.01))
        self.bus = InMemorySubscriptionBus()
        self.server = MCPServer(server, subscriptions=self.bus)
        self.heard: list[ServerEvent] = []
        self.bus.subscribe(self.heard.append)

    async def start(self) -> None:
        share_changes(self.server)
        await self.events.start()

    async def hears(self, *events: ServerEvent) -> None:
        """These, in this order, and nothing else."""

        async def there() -> bool:
            return len(self.heard) >= len(events)

        await until(there, what=f"{events}")
        assert self.heard == [*events]


@contextlib.asynccontextmanager
async def running(*nodes: SomeNode) -> AsyncIterator[None]:
    take_buses()
    for node in nodes:
        await node.start()
    try:
        yield
    finally:
        for node in nodes:
            await node.events.stop()


async def test_what_happens_on_one_node_is_heard_once_on_each() -> None:
    air = Air()
    nodes = [SomeNode(f"node-{n}", air) for n in range(3)]
    async with running(*nodes):
        changes = [ResourceUpdated(f"test://{n}") for n in range(12)]
        for n, change in enumerate(changes):
            await nodes[n % 3].bus.publish(change)
            for node in nodes:
                await node.hears(*changes[: n + 1])
        assert len(air.said) == 12


async def test_a_hundred_at_once_are_all_heard() -> None:
    air = Air()
    first, second = SomeNode("node-1", air), SomeNode("node-2", air)
    async with running(first, second):
        for _ in range(250):
            await first.bus.publish(ToolsListChanged())
        await second.hears(*[ToolsListChanged()] * 250)


async def test_another_servers_listeners_hear_nothing() -> None:
    air = Air()
    first, other, same = SomeNode("node-1", air), SomeNode("node-2", air, "b"), SomeNode("node-3", air)
    async with running(first, other, same):
        await first.bus.publish(ToolsListChanged())
        await same.hears(ToolsListChanged())
        assert other.heard == []


def message(sender: str = "node-9", nonce: str = "n", age_ms: int = 0, key: bytes = KEY) -> bytes:
    return seal(key, Announcement(sender, nonce, round(time.time() * 1000) - age_ms, Told("a", LISTS[0])))


@pytest.mark.parametrize(
    "forged",
    [
        b"",
        b"x" * (2 * MESSAGE_BYTES),
        message(key=b"another key"),
        bytes(32) + message()[32:],
        message()[:-1],
    ],
)
async def test_what_nobody_of_the_cluster_said_reaches_nobody(forged: bytes, caplog: pytest.LogCaptureFixture) -> None:
    air = Air()
    node = SomeNode("node-1", air)
    async with running(node):
        await air.say(forged)
        await air.say(forged)
        await air.say(message())
        await node.hears(ToolsListChanged())
    assert caplog.text.count("refused") == 1


@pytest.mark.parametrize("age_ms", [2 * MAX_AGE_MS, -2 * MAX_AGE_MS])
async def test_an_old_message_reaches_nobody(age_ms: int, caplog: pytest.LogCaptureFixture) -> None:
    air = Air()
    node = SomeNode("node-1", air)
    async with running(node):
        await air.say(message(age_ms=age_ms))
        await air.say(message(nonce="another"))
        await node.hears(ToolsListChanged())
    assert "s ago by its clock" in caplog.text


async def test_a_message_is_heard_once_however_often_it_comes() -> None:
    air = Air()
    first, second = SomeNode("node-1", air), SomeNode("node-2", air)
    async with running(first, second):
        await first.bus.publish(ToolsListChanged())
        await second.hears(ToolsListChanged())
        await air.say(air.said[0])  # whoever reads the channel may write it again
        air.loses_answers = True
        await first.bus.publish(PromptsListChanged())
        await second.hears(ToolsListChanged(), PromptsListChanged())
        air.loses_answers = False

        async def said_again() -> bool:
            return len(air.said) >= 4 and not first.events._queue

        await until(said_again, what="it to be said again")
        await first.bus.publish(ResourcesListChanged())
        await second.hears(*EVERY_LIST)
        assert first.heard == EVERY_LIST


async def test_while_redis_is_away_the_nodes_own_listeners_hear_and_later_all(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    air = Air()
    first, second = SomeNode("node-1", air), SomeNode("node-2", air)
    async with running(first, second):
        air.is_away = True
        air.cut()
        mine: list[ServerEvent] = [ToolsListChanged(), ToolsListChanged(), ResourceUpdated("test://a")]
        for change in mine:
            await first.bus.publish(change)
        await first.hears(*mine)
        await until(air.was_tried_often, what="several attempts of each")
        assert caplog.text.count("cannot hear of other nodes' changes: Redis") == 2, "once on each node"
        assert caplog.text.count("cannot tell other nodes of changes: Redis") == 1
        assert second.heard == []
        air.is_away = False
        # Whatever was missed cannot be known, so every list may have changed; and the first node says what it kept.
        await first.hears(*mine, *EVERY_LIST)

        async def all_is_told() -> bool:
            return not first.events._queue and set(EVERY_LIST) <= set(second.heard)

        await until(all_is_told, what="everything to be told")
        assert second.heard.count(ToolsListChanged()) <= 2, "those that say the same are one"
        second.heard.clear()
        await first.bus.publish(PromptsListChanged())
        await second.hears(PromptsListChanged())
        assert caplog.text.count("can hear of other nodes' changes again") == 2
        assert caplog.text.count("can tell other nodes of changes again") == 1


async def test_a_node_starts_without_redis_and_its_listeners_look_when_it_comes() -> None:
    air = Air()
    air.is_away = True
    node = SomeNode("node-1", air)
    async with running(node):
        air.is_away = False
        await node.hears(*EVERY_LIST)


async def test_so_it_does_where_redis_takes_long_to_let_it_hear(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(Air):
        lets_hear = asyncio.Event()

        async def hear(self) -> AsyncGenerator[bytes | None, None]:
            await self.lets_hear.wait()
            async for message in super().hear():
                yield message

    monkeypatch.setattr(shared_events, "_START_SECONDS", 0.05)
    slow = Slow()
    node = SomeNode("node-1", slow)
    async with running(node):
        slow.lets_hear.set()
        await node.hears(*EVERY_LIST)


async def test_what_waits_for_redis_is_bounded(caplog: pytest.LogCaptureFixture) -> None:
    air = Air()
    air.is_away = True
    node = SomeNode("node-1", air)
    async with running(node):
        for n in range(QUEUE_LIMIT + 10):
            node.events.tell(Told("a", "notifications/resources/updated", f"test://{n}"))
        assert len(node.events._queue) == QUEUE_LIMIT
        assert f"test://{QUEUE_LIMIT + 9}" in [event.uri for event in node.events._queue.values()]
        air.is_away = False

        async def all_is_told() -> bool:
            return len(air.said) == QUEUE_LIMIT and "10 changes are not told" in caplog.text

        await until(all_is_told, what="what was kept to be told")


async def test_a_uri_that_is_too_long_stays_here(caplog: pytest.LogCaptureFixture) -> None:
    air = Air()
    first, second = SomeNode("node-1", air), SomeNode("node-2", air)
    async with running(first, second):
        long = ResourceUpdated("test://" + "x" * MESSAGE_BYTES)
        await first.bus.publish(long)
        await first.bus.publish(ToolsListChanged())
        await second.hears(ToolsListChanged())
        await first.hears(long, ToolsListChanged())
    assert "is not told to other nodes" in caplog.text


async def test_a_node_that_stops_says_what_is_left() -> None:
    air = Air()
    first, second = SomeNode("node-1", air), SomeNode("node-2", air)
    async with running(second):
        await first.start()
        await first.bus.publish(ToolsListChanged())
        await first.events.stop()
        await second.hears(ToolsListChanged())


async def test_a_single_node_has_nobody_to_tell() -> None:
    node = SomeNode("node-1", None)
    async with running(node):
        await node.bus.publish(ToolsListChanged())
    assert node.heard == [ToolsListChanged()]
    assert "publish" not in vars(node.bus)


async def test_without_a_server_nobody_hears() -> None:
    air = Air()
    take_buses()
    events = SharedEvents(air, KEY, "node-1", MAX_AGE_MS, now=time.time)
    await events.start()
    assert air._ears == []
    await events.stop()


@pytest.fixture
async def redis() -> AsyncIterator[RealRedis]:
    async with real_redis() as server:
        yield server


@pytest.mark.real
async def test_through_a_real_redis_that_is_started_again(redis: RealRedis) -> None:
    nodes = [SomeNode(f"node-{n}", RedisChannel(redis.url, "mcp", 1)) for n in range(3)]
    async with running(*nodes):
        await nodes[0].bus.publish(ToolsListChanged())
        for node in nodes:
            await node.hears(ToolsListChanged())
            node.heard.clear()
        await redis.stop()
        await nodes[1].bus.publish(ResourceUpdated("test://a"))
        await nodes[1].hears(ResourceUpdated("test://a"))
        await redis.start()

        async def all_look_again() -> bool:
            return all(set(EVERY_LIST) <= set(node.heard) for node in nodes)

        await until(all_look_again, what="every list to be looked at")
        for node in nodes:
            node.heard.clear()
        await nodes[2].bus.publish(PromptsListChanged())

        async def all_hear() -> bool:
            return all(PromptsListChanged() in node.heard for node in nodes)

        await until(all_hear, what="all to hear")


async def test_a_server_whose_app_is_started_again_hears_and_tells_as_before() -> None:
    air = Air()
    again, other = SomeNode("node-1", air), SomeNode("node-2", air)
    async with running(again, other):
        await again.events.stop()
        again.events = SharedEvents(air, KEY, "node-3", MAX_AGE_MS, now=time.time, sleep=lambda _: asyncio.sleep(0.01))
        await again.events.start()
        await other.bus.publish(ToolsListChanged())
        await again.hears(ToolsListChanged())
        await again.bus.publish(PromptsListChanged())
        await other.hears(ToolsListChanged(), PromptsListChanged())
