"""How modern-era changes reach the `subscriptions/listen` streams: within one process, or across nodes over Redis.

The SDK names the second way itself: a `SubscriptionBus` over any publisher. It is in use where EVERYTHING_REDIS_URL is
set; `cluster` stands for the Redis that a cluster's nodes have in common. The server does not outlive its Redis.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from mcp.server.subscriptions import (
    InMemorySubscriptionBus,
    PromptsListChanged,
    ResourcesListChanged,
    ResourceUpdated,
    ServerEvent,
    ToolsListChanged,
)
from redis.asyncio import Redis

_CHANNEL: Final = "everything:changes"
_EVENTS: Final = {kind.__name__: kind for kind in (ToolsListChanged, PromptsListChanged, ResourcesListChanged)}


def _to_text(event: ServerEvent) -> str:
    uri = event.uri if isinstance(event, ResourceUpdated) else None
    return json.dumps({"kind": type(event).__name__, "uri": uri})


def _from_text(text: str) -> ServerEvent:
    fields = json.loads(text)
    return ResourceUpdated(fields["uri"]) if fields["uri"] else _EVENTS[fields["kind"]]()


class RedisSubscriptionBus(InMemorySubscriptionBus):
    """Publishes to every node; each node hands what it hears to its own listeners."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._redis = Redis.from_url(url, decode_responses=True)

    async def publish(self, event: ServerEvent) -> None:
        await self._redis.publish(_CHANNEL, _to_text(event))

    async def hear(self, ready: asyncio.Event) -> None:
        async with self._redis, self._redis.pubsub() as channel:
            await channel.subscribe(_CHANNEL)
            ready.set()
            async for message in channel.listen():
                if message["type"] == "message":
                    await super().publish(_from_text(message["data"]))


_redis_url = os.environ.get("EVERYTHING_REDIS_URL")
if _redis_url == "cluster":
    _redis_url = os.environ["MOORING_REDIS_URL"]
BUS: Final = RedisSubscriptionBus(_redis_url) if _redis_url else InMemorySubscriptionBus()


@asynccontextmanager
async def lifespan(_server: Any) -> AsyncIterator[dict[str, Any]]:
    """The servers' lifespan: the bus listens while they run."""
    if not isinstance(BUS, RedisSubscriptionBus):
        yield {}
        return
    ready = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        hearing = tasks.create_task(BUS.hear(ready))
        await ready.wait()
        yield {}
        hearing.cancel()
