"""Where nodes, shards and session records are kept: Redis (or Valkey), or this process's memory for a single node."""

from __future__ import annotations

from collections.abc import Sequence

from mooring.core.sealing import Seals
from mooring.store.base import Store
from mooring.store.memory import MemoryStore
from mooring.store.redis import RedisStore

__all__ = ["MemoryStore", "RedisStore", "Store", "open_store"]


def open_store(
    redis_url: str | None, key_prefix: str = "mcp", timeout_seconds: float = 1.0, secrets: Sequence[str] = ()
) -> Store:
    """The store behind `redis_url`, or one in memory where there is no URL. Connects at the first call.

    Args:
        secrets: the cluster's, as in the settings. Without them neither is a session's record written, nor read what is
            sealed in it.
    """
    if redis_url is None:
        return MemoryStore()
    return RedisStore(redis_url, key_prefix, timeout_seconds, Seals(secrets, key_prefix) if secrets else None)
