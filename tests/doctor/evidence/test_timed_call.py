"""When what a call brings came, and what that shows."""

from __future__ import annotations

import pytest

from mooring.doctor.client.held_stream import Arrival
from mooring.doctor.client.protocol import SESSION
from mooring.doctor.client.reply import Reply
from mooring.doctor.evidence.question import request_in_era
from mooring.doctor.evidence.timed_call import TimedCall, headers_by_turn, timed_call
from tests.doctor.examined import examined
from tests.doctor.ledger import running_ledger
from tests.doctor.streams import stream_server

EVENT = b"data: {}\n\n"


def came_at(*seconds: float) -> TimedCall:
    return TimedCall(Reply(status=200), arrivals=tuple(Arrival(one, EVENT) for one in seconds))


@pytest.mark.parametrize(
    ("call", "is_burst", "passes"),
    [
        (came_at(3.0, 3.0, 3.01), True, False),
        (came_at(1.0, 2.0, 3.0), False, True),
        (came_at(3.0, 3.01), False, False),  # so few may come together by right
        (came_at(0.9, 0.9, 0.9), False, False),  # so may those of a short call
        (came_at(), False, False),
    ],
)
def test_events_that_come_together_at_the_end_of_a_long_call(call: TimedCall, is_burst: bool, passes: bool) -> None:
    assert (call.is_burst, call.passes) == (is_burst, passes)


def test_an_event_came_when_its_last_piece_did() -> None:
    call = TimedCall(Reply(), arrivals=(Arrival(1.0, EVENT[:4]), Arrival(2.0, EVENT[4:] + EVENT)))
    assert call.event_seconds == (2.0, 2.0)


async def test_it_is_sent_until_it_meets_the_node_of_its_session() -> None:
    async with running_ledger(lost_share=3) as ledger, examined(ledger.url, sessions=2) as exam:
        call = await timed_call(exam, *request_in_era(exam, "ping"))
    assert call.is_answered
    assert not call.is_stream


async def test_a_stream_is_read_to_its_answer() -> None:
    async with stream_server() as server, examined(server.url, sessions=2) as exam:
        call = await timed_call(exam, *request_in_era(exam, "ping"))
    assert (call.is_answered, call.is_stream, len(call.event_seconds)) == (True, True, 1)


async def test_what_is_not_answered_ends_with_the_time_for_it() -> None:
    async with (
        running_ledger(hangs_on=frozenset({"ping"})) as ledger,
        examined(ledger.url, sessions=2, timeout_seconds=0.3) as exam,
    ):
        call = await timed_call(exam, *request_in_era(exam, "ping"))
    assert not call.is_answered
    assert call.seconds == 0.0


async def test_the_headers_are_those_of_the_first_session_and_more() -> None:
    async with running_ledger() as ledger, examined(ledger.url, sessions=2) as exam:
        assert exam.first is not None
        headers = headers_by_turn(exam, {"X": "1"})(1)
        assert (headers[SESSION], headers["X"]) == (exam.first.id, "1")
