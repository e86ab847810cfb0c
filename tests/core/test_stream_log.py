"""A ring of events says again what a client has not seen, once, in order; and knows what it does not have."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mooring.core.stream_ids import BEGINNING, Place
from mooring.core.stream_log import LoggedEvent, StreamLog

MOST_EVENTS, MOST_BYTES = 6, 60


def a_log(*said: bytes, epoch: int = 1) -> StreamLog:
    log = StreamLog(BEGINNING, MOST_EVENTS, MOST_BYTES)
    for data in said:
        log.add(log.next_place(epoch), data)
    return log


def heard(log: StreamLog, after: Place) -> list[bytes | None]:
    return [event.data for event in log.after(after)]


def test_numbers_are_counted_on_in_each_epoch() -> None:
    log = a_log(b"a", b"b")
    assert log.next_place(1) == Place(1, 3)
    assert log.next_place(4) == Place(4, 3)


def test_what_a_client_has_heard_of_two_owners_that_put_nothing_on_record_is_counted() -> None:
    first, second, third = (a_log(b"a") for _ in range(3))
    first.add(first.next_place(1), b"b")
    second.skip_to(first.last)
    second.add(second.next_place(2), b"c")
    third.skip_to(second.last)
    assert (second.skipped, third.skipped) == (1, 2)


@pytest.mark.parametrize("place", [Place(1, 2), Place(1, 1), Place(0, 9)])
def test_nothing_is_said_in_the_past(place: Place) -> None:
    log = a_log(b"a", b"b")
    with pytest.raises(ValueError, match="in order"):
        log.add(place, b"c")


def test_an_event_that_is_larger_than_the_log_keeps_its_place() -> None:
    log = a_log(b"a", b"x" * (MOST_BYTES + 1), b"c")
    assert heard(log, BEGINNING) == [b"a", None, b"c"]
    assert not log.holds_all_after(Place(1, 1))
    assert log.holds_all_after(Place(1, 2))
    assert log.size == 2


def test_what_follows_a_place_that_is_far_ahead_is_nothing() -> None:
    log = a_log(b"a")
    assert heard(log, Place(1, 10**15)) == []
    assert log.holds_all_after(Place(1, 10**15))


def test_what_is_said_next_stands_after_what_a_client_has() -> None:
    log = a_log(b"a", b"b")
    log.skip_to(Place(1, 1))
    assert heard(log, BEGINNING) == [b"a", b"b"]
    assert log.skipped == 0
    log.skip_to(Place(1, 7))
    assert log.skipped == 5
    assert heard(log, BEGINNING) == [b"a", b"b"]
    assert not log.holds_all_after(Place(1, 6))
    assert log.next_place(1) == Place(1, 8)


def test_what_is_missing_between_two_is_marked() -> None:
    log = StreamLog(Place(1, 3), MOST_EVENTS, MOST_BYTES)
    for place in (Place(1, 4), Place(1, 6), Place(2, 8), Place(2, 7), Place(2, 9)):
        log.restore(LoggedEvent(place, b"%d.%d" % (place.epoch, place.number)))
    assert heard(log, BEGINNING) == [b"1.4", None, b"1.6", None, b"2.8", b"2.9"]
    assert not log.holds_all_after(Place(1, 4))
    assert not log.holds_all_after(Place(1, 6))
    assert log.holds_all_after(Place(1, 7)), "a client that has heard what is missing"
    assert log.holds_all_after(Place(2, 8))


said_by_owners = st.lists(st.tuples(st.integers(0, 2), st.binary(max_size=MOST_BYTES + 10)), max_size=30)


@given(said_by_owners, st.integers(0, 30))
def test_a_client_hears_all_that_follows_or_learns_that_it_does_not(said: list[tuple[int, bytes]], seen: int) -> None:
    log, epoch, all_said = StreamLog(BEGINNING, MOST_EVENTS, MOST_BYTES), 1, [(BEGINNING, b"")]
    for raised, data in said:
        epoch += raised
        all_said.append((log.next_place(epoch), data))
        log.add(*all_said[-1])
        assert log.size == sum(len(event.data or b"") for event in log.everything()) <= MOST_BYTES
        assert len(log.everything()) <= MOST_EVENTS
    last_seen = all_said[min(seen, len(all_said) - 1)][0]
    due = [data for place, data in all_said if place > last_seen]
    again = [data for data in heard(log, last_seen) if data is not None]
    assert log.holds_all_after(last_seen) == (again == due)
    fitting = [data for data in due if len(data) <= MOST_BYTES]
    assert again == fitting[len(fitting) - len(again) :]


@given(said_by_owners)
def test_a_log_that_was_written_down_and_read_is_the_same(said: list[tuple[int, bytes]]) -> None:
    log, epoch = StreamLog(BEGINNING, MOST_EVENTS, MOST_BYTES), 1
    for raised, data in said:
        epoch += raised
        log.add(log.next_place(epoch), data)
    events = log.everything()
    first = events[0].place if events else Place(1, 1)
    copy = StreamLog(Place(first.epoch, first.number - 1), MOST_EVENTS, MOST_BYTES)
    for event in [*events, *events]:
        copy.restore(event)
    assert copy.everything() == events
