from __future__ import annotations

import uuid

import pytest
from aiohttp import web

from mooring.doctor.checks import forged_session
from mooring.doctor.checks.forged_session import Attempts
from mooring.doctor.client.protocol import SESSION
from mooring.doctor.client.reply import Reply
from mooring.doctor.findings import Finding, Verdict
from tests.doctor.examined import examined
from tests.doctor.examples import HANG, LOST, REACHED, THROTTLED, UNAVAILABLE
from tests.doctor.odd import Odd, refusal, running_odd

CRASH = Reply(status=500)
TOO_LONG = Reply(status=431)


async def found_at(url: str) -> Finding:
    async with examined(url, sessions=2) as exam:
        found = await forged_session.run(exam)
    assert isinstance(found, Finding)
    return found


@pytest.mark.parametrize(
    ("replies", "control", "verdict", "says"),
    [
        ({}, REACHED, Verdict.OK, "altered, overlong and odd session ids are all refused"),
        ({"too_long": [TOO_LONG]}, REACHED, Verdict.OK, "altered, overlong and odd session ids are all refused"),
        ({"path": [Reply(status=403)]}, REACHED, Verdict.OK, "altered, overlong and odd session ids are all refused"),
        (
            {"altered": [LOST, REACHED]},
            REACHED,
            Verdict.BROKEN,
            "a session id with its last character changed is served",
        ),
        (
            {"too_long": [CRASH]},
            REACHED,
            Verdict.BROKEN,
            "something fails on a session id of 4,000 characters: 500",
        ),
        (
            {"invented_then_real": [CRASH]},
            REACHED,
            Verdict.BROKEN,
            "something fails on a session id in two headers, the real one last: 500",
        ),
        (
            {"spaces": [HANG]},
            REACHED,
            Verdict.BROKEN,
            "something fails on a session id with a space: no answer in time",
        ),
        (
            {"invented": [LOST, REACHED], "altered": [REACHED]},
            REACHED,
            Verdict.UNKNOWN,
            "any session id is served here, so none has to be forged",
        ),
        ({"path": [CRASH]}, UNAVAILABLE, Verdict.UNKNOWN, "calls fail in a session that is there, too"),
        ({"path": [THROTTLED]}, REACHED, Verdict.UNKNOWN, "the server limits the rate of requests (429)"),
        ({"altered": [REACHED], "path": [CRASH]}, REACHED, Verdict.BROKEN, None),
    ],
)
def test_the_verdict(replies: dict[str, list[Reply]], control: Reply, verdict: Verdict, says: str | None) -> None:
    found = forged_session.judge(Attempts({"quotes": [LOST], **replies}, [control]), str)
    assert found.verdict is verdict
    assert says is None or found.says == says
    assert bool(found.changes) == (verdict is Verdict.BROKEN)


@pytest.mark.parametrize(
    ("first", "last", "remark"),
    [
        (LOST, LOST, ""),
        (REACHED, LOST, "the server takes the first one"),
        (LOST, REACHED, "the server takes the last one"),
        (REACHED, REACHED, "the server takes the right one"),
    ],
)
def test_which_of_two_ids_counts_is_a_remark(first: Reply, last: Reply, remark: str) -> None:
    """Who sends both has the real one."""
    replies = {"real_then_invented": [first], "invented_then_real": [last]}
    found = forged_session.judge(Attempts(replies, [REACHED]), str)
    assert found.verdict is Verdict.OK
    assert remark in found.why
    assert bool(found.why) == bool(remark)


async def test_what_is_sent() -> None:
    async with running_odd(mint=lambda: f"node.{uuid.uuid4().hex}") as odd, examined(odd.url, sessions=2) as exam:
        real = exam.sessions.opened[0].id
        await forged_session.run(exam)
        sent = {tuple(request.headers.getall(SESSION, [])) for request in odd.seen}
    assert any(len(ids) == 2 and ids[0] == real != ids[1] for ids in sent)
    assert any(len(ids) == 2 and ids[1] == real != ids[0] for ids in sent)
    single = {ids[0] for ids in sent if len(ids) == 1}
    assert any(one != real and one[:-1] == real[:-1] for one in single)
    assert any(one[:5] == real[:5] and one[5:] != real[5:] for one in single)
    assert any(len(one) == 4000 for one in single)


async def test_a_server_that_looks_at_the_beginning_only() -> None:
    def knows(request: web.Request, odd: Odd) -> bool:
        return any(request.headers[SESSION][:8] == one[:8] for one in odd.live)

    async with running_odd(knows=knows) as odd:
        found = await found_at(odd.url)
    assert found.verdict is Verdict.BROKEN
    assert found.says == "a session id with its last character changed is served"


async def test_a_server_that_takes_any_id() -> None:
    async with running_odd(knows=lambda request, odd: True) as odd:
        assert (await found_at(odd.url)).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("char", ["/", "%", " ", '"'])
async def test_a_server_that_fails_on_an_odd_id(char: str) -> None:
    def fail(request: web.Request) -> web.Response:
        return refusal(500 if char in request.headers[SESSION] else 404)

    async with running_odd(refuse=fail) as odd:
        found = await found_at(odd.url)
    assert found.verdict is Verdict.BROKEN
    assert found.says.startswith("something fails on a session id")


async def test_a_server_whose_parser_has_its_own_limit() -> None:
    def too_long(request: web.Request) -> web.Response | None:
        return web.Response(status=431) if len(request.headers.get(SESSION, "")) > 1000 else None

    async with running_odd(guard=too_long) as odd:
        found = await found_at(odd.url)
    assert found.verdict is Verdict.OK
    assert found.evidence["answers"]["too_long"] == {"431": 4}
