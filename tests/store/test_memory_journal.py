"""What the journal in memory alone has to do: let go by itself of what nobody asks for."""

from __future__ import annotations

from dataclasses import replace

from mooring.store import MemoryStore
from mooring.store.journal import Call, LogEntry
from tests.fakes import Clock
from tests.store.examples import RECORD


async def test_what_is_old_goes_though_nobody_asks_for_it() -> None:
    clock = Clock()
    store = MemoryStore(clock)
    other = replace(RECORD, id="zzzzz.AAAAAAAAAAAAAAAAAAAAAA.BBBBBBBBBBB")
    await store.save_sessions([RECORD, other], 6000)
    for session in (RECORD, other):
        await store.journal.append(session.id, RECORD.epoch, [LogEntry("one", RECORD.epoch, 1, b"x")], 60)
        await store.journal.note_calls(session.id, RECORD.epoch, [Call("one", "1", "ping", "", b"", 1.0)], 60)
        await store.journal.settle(session.id, RECORD.epoch, "two", b"done", 60)
    clock.now += 61
    await store.journal.append(RECORD.id, RECORD.epoch, [LogEntry("one", RECORD.epoch, 2, b"y")], 60)
    assert set(store.journal._pages) == {RECORD.id}
    assert store.journal._pages[RECORD.id].log_bytes == 1


async def test_a_longer_time_is_not_cut_short_by_a_later_write() -> None:
    clock = Clock()
    store = MemoryStore(clock)
    await store.save_session(RECORD, 6000)
    call = Call("one", "1", "ping", "", b"", 1.0)
    await store.journal.note_calls(RECORD.id, RECORD.epoch, [call], 600)
    await store.journal.note_calls(RECORD.id, RECORD.epoch, [replace(call, stream="two")], 60)
    clock.now += 61
    assert call in await store.journal.calls(RECORD.id)
