from __future__ import annotations

import json

import pytest

from mooring.doctor.client.protocol import SESSION
from mooring.doctor.client.reply import Outcome, Reply, Trouble
from mooring.doctor.client.ways import HOME, Way
from mooring.doctor.evidence.question import TRIES, ask, can_ask, head_of_answer, question, tries_needed, with_one_retry
from mooring.doctor.examination import Call
from tests.doctor.examined import examined
from tests.doctor.examples import HANG, LOST, REACHED, UNAVAILABLE
from tests.doctor.ledger import running_ledger
from tests.doctor.odd import running_odd


@pytest.mark.parametrize("size", [1024, 256 * 1024, 3 * 512 * 1024])
async def test_a_padded_question_has_that_very_length(size: int) -> None:
    async with running_odd() as odd, examined(odd.url, sessions=2) as exam:
        _, message = question(exam, body_bytes=size)
        assert len(json.dumps(message).encode()) == size
        assert (await ask(exam, body_bytes=size)).outcome is Outcome.REACHED


async def test_a_padded_question_of_the_modern_era_keeps_what_it_needs() -> None:
    async with running_odd(is_modern=True) as odd, examined(odd.url, sessions=2) as exam:
        for session in tuple(exam.sessions.opened):
            await exam.sessions.close(session)
        exam.eras.legacy.clear()
        headers, message = question(exam, body_bytes=2000)
        assert len(json.dumps(message)) == 2000
        assert len(message["params"]["_meta"]) == 4
        assert headers["Mcp-Method"] == message["method"] == "server/discover"


async def test_it_is_asked_again_until_the_sessions_node_answers() -> None:
    async with running_ledger(lost_share=3) as ledger, examined(ledger.url, sessions=2) as exam:
        for _ in range(5):
            assert (await ask(exam)).outcome is Outcome.REACHED


async def test_a_session_that_no_node_knows_is_lost_in_the_end() -> None:
    async with running_ledger() as ledger, examined(ledger.url, sessions=2) as exam:
        ledger.live.clear()
        before = len(ledger.methods)
        assert (await ask(exam)).outcome is Outcome.LOST
        assert len(ledger.methods) - before == TRIES


async def test_a_404_is_taken_sooner_for_the_answer_where_none_was_ever_lost() -> None:
    async with running_ledger() as ledger, examined(ledger.url, sessions=2) as exam:
        session = exam.first
        assert session is not None
        assert tries_needed(exam) == TRIES
        exam.calls.append(Call(session, HOME, REACHED))
        few = tries_needed(exam)
        assert few < TRIES
        exam.calls.append(Call(session, HOME, LOST))
        assert tries_needed(exam) == TRIES


async def test_a_session_is_asked_that_new_connections_reach() -> None:
    """But not the last one, which is deleted meanwhile."""
    async with running_ledger() as ledger, examined(ledger.url, sessions=4) as exam:
        _, second, third, last = exam.sessions.opened
        fresh = Way(cookies=False, one_connection=False)
        exam.calls += [Call(second, HOME, REACHED), Call(second, fresh, LOST), Call(last, fresh, REACHED)]
        assert exam.first is not None
        assert question(exam)[0][SESSION] == exam.first.id
        exam.calls.append(Call(third, fresh, REACHED))
        assert question(exam)[0][SESSION] == third.id


async def test_what_is_sent_with_a_pause_arrives_whole_and_with_its_length() -> None:
    async with running_odd() as odd, examined(odd.url, sessions=2) as exam:
        reply = await ask(exam, body_bytes=200_000, pause_seconds=0.01)
        assert reply.outcome is Outcome.REACHED
        assert odd.seen[-1].headers["Content-Length"] == "200000"


async def test_nothing_is_asked_without_a_session_where_that_would_open_one() -> None:
    async with running_ledger() as ledger, examined(ledger.url, sessions=2) as exam:
        assert can_ask(exam)
        for session in tuple(exam.sessions.opened):
            await exam.sessions.close(session)
        assert not can_ask(exam)


async def test_the_head_of_an_answer_and_none() -> None:
    async with (
        running_ledger(hangs_on=frozenset({"GET"})) as ledger,
        examined(ledger.url, sessions=2, timeout_seconds=0.3) as exam,
    ):
        assert exam.first is not None
        hanging = await head_of_answer(exam, "GET", {SESSION: exam.first.id})
        assert hanging.trouble is Trouble.HANG
        assert (await head_of_answer(exam, "DELETE", {SESSION: "nobody's"})).status == 404


@pytest.mark.parametrize(
    ("replies", "last"), [([UNAVAILABLE, LOST], LOST), ([UNAVAILABLE, UNAVAILABLE, LOST], UNAVAILABLE), ([HANG], HANG)]
)
async def test_what_failed_is_sent_once_more(replies: list[Reply], last: Reply) -> None:
    coming = iter(replies)

    async def send() -> Reply:
        return next(coming)

    assert await with_one_retry(send) is last
