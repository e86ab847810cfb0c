"""What the store in memory alone has to do; what every store does is in `test_contract.py`."""

from __future__ import annotations

from mooring.store import MemoryStore
from tests.store.examples import RECORD


async def test_a_record_ends_with_its_time_to_live() -> None:
    now = 1_000.0
    store = MemoryStore(now=lambda: now)
    await store.save_session(RECORD, ttl_seconds=60)
    now += 61
    assert await store.load_session(RECORD.id) is None
