from __future__ import annotations

import pytest

from mooring.doctor.client.reply import Reply
from mooring.doctor.client.ways import HOME
from mooring.doctor.evidence.failing_calls import failing_reply, telling_replies
from mooring.doctor.examination import Call
from tests.doctor.examined import examined
from tests.doctor.examples import HANG, LOST, REACHED, THROTTLED, UNAVAILABLE
from tests.doctor.odd import running_odd


@pytest.mark.parametrize(
    ("calls", "openings", "is_failing"),
    [
        ([REACHED] * 100, [], False),
        ([REACHED] * 98 + [UNAVAILABLE] * 2, [], False),
        ([REACHED] * 97 + [UNAVAILABLE] * 3, [], True),
        ([REACHED, HANG], [], True),
        ([REACHED, LOST, THROTTLED], [], False),
        ([REACHED], [UNAVAILABLE], False),
        ([REACHED], [UNAVAILABLE, HANG], True),
        ([REACHED], [Reply(status=400), Reply(status=400)], False),
        ([], [], False),
    ],
)
async def test_what_fails_tells_nothing_where_everything_fails_now_and_then(
    calls: list[Reply], openings: list[Reply], is_failing: bool
) -> None:
    async with running_odd() as odd, examined(odd.url, sessions=2) as exam:
        assert exam.first is not None
        exam.calls += [Call(exam.first, HOME, reply) for reply in calls]
        exam.sessions.refused += openings
        assert (failing_reply(exam) is not None) == is_failing
        assert telling_replies(exam, [LOST, UNAVAILABLE, HANG]) == ([LOST] if is_failing else [LOST, UNAVAILABLE, HANG])


async def test_a_token_that_some_calls_are_refused_for_tells_nothing_of_what_was_odd() -> None:
    async with running_odd() as odd, examined(odd.url, sessions=2) as exam:
        assert exam.first is not None
        exam.calls += [Call(exam.first, HOME, reply) for reply in (REACHED, Reply(status=401))]
        assert telling_replies(exam, [Reply(status=401)]) == [Reply(status=401)]
        assert telling_replies(exam, [Reply(status=401), LOST], but_logins=True) == [LOST]
