"""A stream that is taken up again from its first event id."""

from __future__ import annotations

from mooring.doctor.evidence import resumed_stream
from tests.doctor.examined import examined
from tests.doctor.ledger import running_ledger
from tests.doctor.streams import stream_server


async def test_what_was_missed_comes_again() -> None:
    async with stream_server(ids="primed") as server, examined(server.url, sessions=2) as exam:
        assert exam.first is not None
        asked = await resumed_stream.ask(exam, exam.first)
        assert asked.facts.is_primed
        resumed = await resumed_stream.resume(exam, asked)
    assert server.resumed == ["1"]
    assert resumed.answers == (asked.request_id,)
    assert not resumed.may_be_lost


async def test_where_calls_are_answered_without_streams_there_is_nothing_to_take_up() -> None:
    async with running_ledger() as ledger, examined(ledger.url, sessions=2) as exam:
        assert exam.first is not None
        asked = await resumed_stream.ask(exam, exam.first)
    assert asked.facts.ids == ()
    assert asked.reply.media_type == "application/json"
