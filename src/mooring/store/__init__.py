"""Where nodes, shards and session records are kept: Redis (or Valkey), or this process's memory for a single node."""

from __future__ import annotations

from mooring.store.base import Store
from mooring.store.memory import MemoryStore
from mooring.store.redis import RedisStore

__all__ = ["MemoryStore", "RedisStore", "Store", "open_store"]


def open_store(redis_url: str | None, key_prefix: str = "mcp", timeout_seconds: float = 1.0) -> Store:
    """The store behind `redis_url`, or one in memory where there is no URL. Connects at the first call."""
    if redis_url is None:
        return MemoryStore()
    return RedisStore(redis_url, key_prefix, timeout_seconds)
