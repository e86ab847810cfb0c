"""Which store a setting opens. None is asked for anything yet."""

from __future__ import annotations

from mooring.store import MemoryStore, RedisStore, open_store


async def test_without_a_url_it_is_this_processs_memory() -> None:
    assert isinstance(open_store(None), MemoryStore)
    assert open_store(None) is not open_store(None)


async def test_with_a_url_it_is_redis_which_need_not_be_there_yet() -> None:
    store = open_store("redis://127.0.0.1:1/0")
    assert isinstance(store, RedisStore)
    await store.aclose()
