"""One contract for every journal: this process's memory, Valkey and Redis 7, a cluster and one behind sentinels."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from mooring.core.model import Touch, Written
from mooring.errors import Fenced
from mooring.store import Store
from mooring.store.journal import LOG_BYTES, LOG_ENTRIES, Call, Calls, Entries, LogEntry, SettledCall, StateChange
from tests.store.examples import ABSENT, RECORD
from tests.waiting import until

ID, EPOCH = RECORD.id, RECORD.epoch
TTL = 600
CALL = Call("one", '"id-1"', "tools/call", "grüße", b'{"id": "id-1"}\x00\xff', 1_700_000_000.25)


def entries(stream: str, *numbers: int, epoch: int = EPOCH) -> list[LogEntry]:
    return [LogEntry(stream, epoch, number, b"%s %d" % (stream.encode(), number)) for number in numbers]


@pytest.fixture(autouse=True)
async def recorded(store: Store) -> None:
    assert await store.save_session(RECORD, 600) is Written.DONE


# The log.


async def test_a_stream_is_read_as_it_was_written(store: Store) -> None:
    written = [
        LogEntry("one", EPOCH, 0, b""),
        LogEntry("one", EPOCH, 1, b"\x00\xff\r\n\r\n"),
        LogEntry("one", EPOCH, 2, None),
        LogEntry("one", EPOCH, 3, b"end", is_last=True),
    ]
    assert await store.journal.append(ID, EPOCH, written[:1], TTL) is Written.DONE
    assert await store.journal.append(ID, EPOCH, written[1:], TTL) is Written.DONE
    assert await store.journal.read(ID, "one") == written
    assert await store.journal.read(ID, "another") == []
    assert await store.journal.read(ABSENT, "one") == []


async def test_streams_of_a_session_are_told_apart_and_each_is_in_order(store: Store) -> None:
    both = [*entries("one", 2), *entries("two", 1), *entries("one", 1, 10), *entries("two", 2)]
    await store.journal.append(ID, EPOCH, both, TTL)
    await store.journal.append(ID, EPOCH + 1, entries("one", 0, 1, epoch=EPOCH + 1), TTL)
    expected = [*entries("one", 1, 2, 10), *entries("one", 0, 1, epoch=EPOCH + 1)]
    assert await store.journal.read(ID, "one") == expected
    assert await store.journal.read(ID, "two") == entries("two", 1, 2)


async def test_to_add_the_same_again_changes_nothing(store: Store) -> None:
    """As a node does that got no answer."""
    await store.journal.append(ID, EPOCH, entries("one", 1, 2), TTL)
    await store.journal.append(ID, EPOCH, entries("one", 1, 2, 3), TTL)
    assert await store.journal.read(ID, "one") == entries("one", 1, 2, 3)


async def test_a_log_keeps_about_as_many_entries_as_it_may_the_latest(store: Store) -> None:
    count = 2 * LOG_ENTRIES
    await store.journal.append(ID, EPOCH, entries("one", *range(count)), TTL)
    left = await store.journal.read(ID, "one")
    assert LOG_ENTRIES <= len(left) <= LOG_ENTRIES + 500
    assert left == entries("one", *range(count))[-len(left) :]


async def test_a_log_keeps_about_as_many_bytes_as_it_may_the_latest(store: Store) -> None:
    large = [LogEntry("one", EPOCH, number, b"x" * (LOG_BYTES // 10)) for number in range(25)]
    for entry in large:
        await store.journal.append(ID, EPOCH, [entry], TTL)
    left = await store.journal.read(ID, "one")
    assert 7 <= len(left) <= 10
    assert left == large[-len(left) :]
    beyond = LogEntry("two", EPOCH, 0, b"x" * (LOG_BYTES + 1))
    await store.journal.append(ID, EPOCH, [beyond], TTL)
    assert await store.journal.read(ID, "one") == []
    assert await store.journal.read(ID, "two") == [beyond]


async def test_a_log_is_gone_after_its_time(store: Store) -> None:
    await store.journal.append(ID, EPOCH, entries("one", 1), 0.05)

    async def is_gone() -> bool:
        return await store.journal.read(ID, "one") == []

    await until(is_gone, what="the log to be gone")
    assert await store.load_session(ID) == RECORD


async def test_many_logs_are_written_and_those_that_were_not_are_named(store: Store) -> None:
    records = [replace(RECORD, id=f"abcde.{n:022d}.BBBBBBBBBBB") for n in range(300)]
    await store.save_sessions(records, 600)
    writes = [Entries(record.id, EPOCH, entries("one", 1, 2)) for record in records]
    await store.touch_sessions([Touch(records[7].id, EPOCH + 1, 1.0)], 600)
    missing = Entries(ABSENT, EPOCH, entries("one", 1))
    refused = await store.journal.append_all([*writes, missing], TTL)
    assert refused == {records[7].id: Written.REFUSED, ABSENT: Written.MISSING}
    logs = await asyncio.gather(*(store.journal.read(record.id, "one") for record in records))
    assert [len(log) for log in logs] == [0 if n == 7 else 2 for n in range(300)]


# Calls, and what became of them.


async def test_calls_are_read_as_they_were_noted_those_that_run_by_their_start(store: Store) -> None:
    later = replace(CALL, stream="two", body=b"", name="", request_id_json="2", started=CALL.started + 1)
    assert await store.journal.note_calls(ID, EPOCH, [later, CALL], TTL) is Written.DONE
    assert await store.journal.calls(ID) == [CALL, later]
    assert await store.journal.calls(ABSENT) == []


async def test_the_first_outcome_stands_whoever_asks_again(store: Store) -> None:
    journal = store.journal
    await journal.note_calls(ID, EPOCH, [CALL], TTL)
    assert await journal.settle(ID, EPOCH, CALL.stream, b"first\x00\n", TTL) == b"first\x00\n"
    assert await journal.settle(ID, EPOCH, CALL.stream, b"second", TTL) == b"first\x00\n"
    assert await journal.settle(ID, EPOCH + 1, CALL.stream, b"third", TTL) == b"first\x00\n"
    assert await journal.calls(ID) == [SettledCall(CALL.stream, b"first\x00\n", replace(CALL, body=b""))]


async def test_of_many_that_settle_at_once_one_decides(store: Store) -> None:
    outcomes = [b"%d" % number for number in range(20)]
    told = await asyncio.gather(*(store.journal.settle(ID, EPOCH, "one", outcome, TTL) for outcome in outcomes))
    assert len(set(told)) == 1
    assert await store.journal.calls(ID) == [SettledCall("one", told[0])]


async def test_a_call_that_is_settled_does_not_run_again(store: Store) -> None:
    await store.journal.settle(ID, EPOCH, CALL.stream, b"done", TTL)
    assert await store.journal.note_calls(ID, EPOCH, [CALL], TTL) is Written.DONE
    assert await store.journal.calls(ID) == [SettledCall(CALL.stream, b"done")]


async def test_what_is_forgotten_is_gone_and_the_rest_stays(store: Store) -> None:
    other = replace(CALL, stream="two")
    await store.journal.note_calls(ID, EPOCH, [CALL, other], TTL)
    await store.journal.settle(ID, EPOCH, CALL.stream, b"done", TTL)
    assert await store.journal.forget(ID, EPOCH, [CALL.stream, "unknown"]) is Written.DONE
    assert await store.journal.calls(ID) == [other]
    assert await store.journal.forget(ID, EPOCH, [other.stream]) is Written.DONE
    assert await store.journal.calls(ID) == []


async def test_outcomes_and_calls_are_gone_after_their_time(store: Store) -> None:
    await store.journal.note_calls(ID, EPOCH, [CALL], 0.05)
    await store.journal.settle(ID, EPOCH, "two", b"done", 0.05)

    async def are_gone() -> bool:
        return await store.journal.calls(ID) == []

    await until(are_gone, what="the calls to be gone")
    assert await store.journal.settle(ID, EPOCH, "two", b"again", TTL) == b"again"


async def test_a_call_that_runs_on_stays_as_long_as_anybody_says_so(store: Store) -> None:
    await store.journal.note_calls(ID, EPOCH, [CALL], 0.3)
    assert await store.journal.note_calls(ID, EPOCH, [], TTL) is Written.DONE
    await asyncio.sleep(0.4)
    assert await store.journal.calls(ID) == [CALL]
    assert await store.journal.note_calls(ID, EPOCH - 1, [], TTL) is Written.REFUSED


async def test_an_outcome_beside_a_call_that_runs_on_is_gone_after_its_time(store: Store) -> None:
    await store.journal.note_calls(ID, EPOCH, [CALL], TTL)
    await store.journal.settle(ID, EPOCH, "two", b"done", 0.05)

    async def is_gone() -> bool:
        return await store.journal.calls(ID) == [CALL]

    await until(is_gone, what="the outcome to be gone")
    assert await store.journal.settle(ID, EPOCH, "two", b"again", TTL) == b"again"


async def test_calls_of_many_sessions_are_noted_and_those_that_were_not_are_named(store: Store) -> None:
    other = replace(RECORD, id=f"abcde.{7:022d}.BBBBBBBBBBB", epoch=EPOCH + 1)
    await store.save_session(other, 600)
    writes = [Calls(session_id, EPOCH, [CALL]) for session_id in (ID, other.id, ABSENT)]
    assert await store.journal.note_all(writes, TTL) == {other.id: Written.REFUSED, ABSENT: Written.MISSING}
    assert await store.journal.calls(ID) == [CALL]
    assert await store.journal.calls(other.id) == []


async def test_no_more_calls_are_noted_than_there_may_be(store: Store) -> None:
    many = [replace(CALL, stream=f"stream {number}") for number in range(3000)]
    assert await store.journal.note_calls(ID, EPOCH, many, TTL) is Written.DONE
    noted = await store.journal.calls(ID)
    assert len(noted) == 1000
    assert all(call in many for call in noted)
    assert await store.journal.settle(ID, EPOCH, "beyond", b"done", TTL) == b"done"


# Epochs.


async def write_all(store: Store, session_id: str, epoch: int) -> list[Written | bytes]:
    journal = store.journal
    written: list[Written | bytes] = [
        await journal.append(session_id, epoch, entries("late", 1), TTL),
        await journal.append(session_id, epoch, [], TTL),
        await journal.note_calls(session_id, epoch, [replace(CALL, stream="late")], TTL),
        await journal.forget(session_id, epoch, [CALL.stream]),
    ]
    try:
        written.append(await journal.settle(session_id, epoch, "late", b"late", TTL))
    except Fenced as error:
        written.append(Written.MISSING if error.is_missing else Written.REFUSED)
    return written


async def is_unwritten(store: Store, session_id: str) -> bool:
    return await store.journal.read(session_id, "late") == [] and await store.journal.calls(session_id) in ([], [CALL])


async def test_an_owner_of_old_writes_nothing(store: Store) -> None:
    await store.journal.note_calls(ID, EPOCH, [CALL], TTL)
    await store.touch_sessions([Touch(ID, EPOCH + 1, 2.0)], 600)
    assert await write_all(store, ID, EPOCH) == [Written.REFUSED] * 5
    assert await is_unwritten(store, ID)
    assert await store.journal.calls(ID) == [CALL]


@pytest.mark.parametrize("first", ["append", "note", "settle", "forget", "append nothing"])
async def test_the_first_write_of_a_new_owner_fences_the_one_before(store: Store, first: str) -> None:
    journal, later = store.journal, EPOCH + 1
    match first:
        case "append":
            await journal.append(ID, later, entries("one", 1, epoch=later), TTL)
        case "append nothing":
            await journal.append(ID, later, [], TTL)
        case "note":
            await journal.note_calls(ID, later, [CALL], TTL)
        case "settle":
            await journal.settle(ID, later, "one", b"", TTL)
        case "forget":
            await journal.forget(ID, later, [])
    assert await write_all(store, ID, EPOCH) == [Written.REFUSED] * 5
    assert await journal.read(ID, "late") == []
    assert await store.load_session(ID) == replace(RECORD, epoch=later)
    assert await store.save_session(RECORD, 600) is Written.REFUSED


@pytest.mark.parametrize("epoch", [EPOCH - 1, EPOCH, EPOCH + 1])
async def test_of_a_removed_session_nothing_is_left_and_nothing_written(store: Store, epoch: int) -> None:
    await store.journal.append(ID, EPOCH, entries("one", 1), TTL)
    await store.journal.note_calls(ID, EPOCH, [CALL], TTL)
    await store.journal.settle(ID, EPOCH, "two", b"done", TTL)
    assert await store.delete_session(ID, EPOCH) is Written.DONE
    assert await store.journal.read(ID, "one") == []
    assert await store.journal.calls(ID) == []
    expected = Written.REFUSED if epoch <= EPOCH else Written.MISSING
    assert await write_all(store, ID, epoch) == [expected] * 5
    assert await is_unwritten(store, ID)


async def test_who_may_not_remove_a_session_removes_nothing_of_it(store: Store) -> None:
    await store.journal.append(ID, EPOCH, entries("one", 1), TTL)
    assert await store.delete_session(ID, EPOCH - 1) is Written.REFUSED
    assert await store.journal.read(ID, "one") == entries("one", 1)


async def test_of_a_session_without_a_record_nothing_is_written(store: Store) -> None:
    assert await write_all(store, ABSENT, EPOCH) == [Written.MISSING] * 5
    assert await is_unwritten(store, ABSENT)


# The state.

STATE_TTL = 6000


async def commit(store: Store, change: StateChange, epoch: int = EPOCH) -> bytes:
    return await store.journal.commit(ID, epoch, change, TTL, STATE_TTL)


async def kept(store: Store) -> bytes | None:
    return (await store.journal.load_state(ID))[0]


async def test_what_is_kept_is_read_with_its_version(store: Store) -> None:
    assert await store.journal.load_state(ID) == (b"", 0)
    assert await commit(store, StateChange(b'{"own":{"a":"\xc3\xbc b"}}', 1)) == b""
    assert await store.journal.load_state(ID) == (b'{"own":{"a":"\xc3\xbc b"}}', 1)
    await commit(store, StateChange(b"{}", 2))
    assert (await kept(store)) in (b"", b"{}")
    assert await store.journal.load_state(ABSENT) == (b"", 0)


async def test_a_call_is_settled_with_what_it_changed_and_once(store: Store) -> None:
    await store.journal.note_calls(ID, EPOCH, [CALL], TTL)
    assert await commit(store, StateChange(b'{"own":{"n":1}}', 1, "one", b"answer")) == b"answer"
    [settled] = await store.journal.calls(ID)
    assert isinstance(settled, SettledCall)
    assert settled.outcome == b"answer"
    assert await commit(store, StateChange(b'{"own":{"n":2}}', 2, "one", b"another")) == b"answer"
    assert await kept(store) == b'{"own":{"n":1}}'


async def test_a_call_that_was_settled_before_changes_nothing(store: Store) -> None:
    await store.journal.settle(ID, EPOCH, "one", b"nobody knows", TTL)
    assert await commit(store, StateChange(b'{"own":{"n":1}}', 1, "one", b"answer")) == b"nobody knows"
    assert await kept(store) == b""


async def test_the_same_change_again_is_done_once_as_by_a_node_that_got_no_answer(store: Store) -> None:
    for _ in range(2):
        assert await commit(store, StateChange(b'{"own":{"n":1}}', 1, "one", b"answer")) == b"answer"
        assert await commit(store, StateChange(b'{"own":{"n":2}}', 2)) == b""
    assert await store.journal.load_state(ID) == (b'{"own":{"n":2}}', 2)


async def test_a_write_that_was_given_up_comes_too_late(store: Store) -> None:
    await commit(store, StateChange(b'{"own":{"n":2}}', 2))
    with pytest.raises(Fenced):
        await commit(store, StateChange(b'{"own":{"n":1}}', 1, "one", b"answer"))
    assert await kept(store) == b'{"own":{"n":2}}'
    assert await store.journal.calls(ID) == []
    await commit(store, StateChange(b'{"own":{"n":3}}', 1), EPOCH + 1)
    assert await store.journal.load_state(ID) == (b'{"own":{"n":3}}', 1)


async def test_calls_that_may_be_a_part_of_it_lose_their_bodies_and_those_that_are_over_go(store: Store) -> None:
    calls = [replace(CALL, stream=name, is_transactional=True) for name in ("one", "two", "three")]
    await store.journal.note_calls(ID, EPOCH, calls, TTL)
    await store.journal.settle(ID, EPOCH, "four", b"long ago", TTL)
    await commit(store, StateChange(b'{"own":{"n":1}}', 1, "one", b"answer", ["two"], ["four", "five"]))
    found = {call.stream: call for call in await store.journal.calls(ID)}
    assert found["two"] == replace(calls[1], body=b"")
    assert found["three"] == calls[2]
    assert set(found) == {"one", "two", "three"}


@pytest.mark.parametrize("epoch", [EPOCH, EPOCH + 1])
async def test_an_owner_of_old_commits_nothing(store: Store, epoch: int) -> None:
    await commit(store, StateChange(b'{"own":{"n":1}}', 1))
    await store.touch_sessions([Touch(ID, EPOCH + 2, 0.0)], TTL)
    with pytest.raises(Fenced):
        await commit(store, StateChange(b'{"own":{"n":2}}', 2, "one", b"answer"), epoch)
    assert await kept(store) == b'{"own":{"n":1}}'
    assert await store.journal.calls(ID) == []


async def test_with_its_session_it_is_gone_and_nothing_is_kept_of_one_that_is(store: Store) -> None:
    await commit(store, StateChange(b'{"own":{"n":1}}', 1))
    await store.delete_session(ID, EPOCH)
    assert await store.journal.load_state(ID) == (b"", 0)
    with pytest.raises(Fenced):
        await commit(store, StateChange(b'{"own":{"n":2}}', 2))
    assert await store.journal.load_state(ID) == (b"", 0)


async def test_it_lives_as_long_as_its_record(store: Store) -> None:
    await store.journal.commit(ID, EPOCH, StateChange(b'{"own":{"n":1}}', 1), TTL, 1)
    await store.touch_sessions([Touch(ID, EPOCH, 1.0)], 600)
    await asyncio.sleep(1.1)
    assert await kept(store) == b'{"own":{"n":1}}'


# What goes along when a session is given away.


async def test_what_goes_along_is_read_as_it_was_written_until_it_is_removed(store: Store) -> None:
    data = b"7 \x00\xff " + bytes(5000)
    assert await store.journal.carried(ID) is None
    assert await store.journal.carry(ID, EPOCH, 3, data, 60) is Written.DONE
    assert await store.journal.carried(ID) == (3, data)
    assert await store.journal.carry(ID, EPOCH, 3, b"newer", 60) is Written.DONE
    assert await store.journal.carried(ID) == (3, b"newer")
    assert await store.journal.carry(ID, EPOCH, 0, b"", 60) is Written.DONE
    assert await store.journal.carried(ID) is None


async def test_an_owner_of_old_sends_nothing_along_and_what_went_goes_with_the_session(store: Store) -> None:
    assert await store.journal.carry(ABSENT, EPOCH, 0, b"data", 60) is Written.MISSING
    await store.journal.carry(ID, EPOCH, 0, b"data", 60)
    await store.touch_sessions([Touch(ID, EPOCH + 1, 1.0)], 600)
    assert await store.journal.carry(ID, EPOCH, 0, b"older", 60) is Written.REFUSED
    assert await store.journal.carry(ID, EPOCH, 0, b"", 60) is Written.REFUSED
    assert await store.journal.carried(ID) == (0, b"data")
    await store.delete_session(ID, EPOCH + 1)
    assert await store.journal.carried(ID) is None


async def test_what_goes_along_is_gone_after_its_time(store: Store) -> None:
    await store.journal.carry(ID, EPOCH, 0, b"data", 1)

    async def is_gone() -> bool:
        return await store.journal.carried(ID) is None

    await until(is_gone, what="it to be gone")
