from __future__ import annotations

import pytest
from aiohttp import web

from mooring.doctor.checks import deleted_session
from mooring.doctor.client.protocol import SESSION
from mooring.doctor.client.reply import Reply, Trouble
from mooring.doctor.findings import Finding, NotRun, Verdict
from tests.deployments import haproxy
from tests.deployments.servers import replica_urls
from tests.doctor.examined import examined
from tests.doctor.examples import HANG, LOST, REACHED, THROTTLED, UNAVAILABLE
from tests.doctor.ledger import running_ledger
from tests.doctor.odd import Odd, running_odd

ENDED = Reply(status=204)
NOT_ALLOWED = Reply(status=405)


async def found_at(url: str, **fields: object) -> Finding:
    async with examined(url, **{"sessions": 3, **fields}) as exam:
        found = await deleted_session.run(exam)
    assert isinstance(found, Finding)
    return found


@pytest.mark.parametrize(
    ("closing", "after", "verdict", "says"),
    [
        (ENDED, [LOST] * 17, Verdict.OK, "a deleted session is answered with 404, 17 of 17 times"),
        (NOT_ALLOWED, [], Verdict.OK, "clients cannot end sessions here (405, which is allowed)"),
        (
            ENDED,
            [REACHED] * 3 + [LOST] * 14,
            Verdict.BROKEN,
            "a deleted session is still served by some nodes: 3 of 17 calls",
        ),
        (ENDED, [REACHED] * 17, Verdict.BROKEN, "a deleted session is still served by every node: 17 of 17 calls"),
        (ENDED, [Reply(status=400)] * 17, Verdict.BROKEN, "a deleted session is answered with 400; 404 is due"),
        (
            UNAVAILABLE,
            [REACHED] * 17,
            Verdict.WARNING,
            "clients cannot end their sessions: DELETE is answered with 502",
        ),
        (
            Reply(status=403),
            [REACHED] * 17,
            Verdict.WARNING,
            "clients cannot end their sessions: DELETE is answered with 403",
        ),
        (
            HANG,
            [REACHED] * 17,
            Verdict.WARNING,
            "clients cannot end their sessions: DELETE meets no answer in time",
        ),
        (
            Reply(status=404, body=b"Cannot DELETE /mcp"),
            [REACHED] * 17,
            Verdict.WARNING,
            "clients cannot end their sessions: DELETE is answered with 404 Cannot DELETE /mcp",
        ),
        (
            LOST,
            [LOST] * 17,
            Verdict.UNKNOWN,
            "no node that was asked knew the session, so it could not be deleted: 404 Session not found",
        ),
        (THROTTLED, [THROTTLED], Verdict.UNKNOWN, "the server limits the rate of requests (429)"),
        (
            ENDED,
            [Reply(trouble=Trouble.CUT)] * 17,
            Verdict.BROKEN,
            "a deleted session is answered with connection closed before the answer was whole; 404 is due",
        ),
    ],
)
def test_the_verdict(closing: Reply, after: list[Reply], verdict: Verdict, says: str) -> None:
    found = deleted_session.judge(closing, after, REACHED, str)
    assert (found.verdict, found.says) == (verdict, says)
    assert bool(found.changes) == (verdict in (Verdict.WARNING, Verdict.BROKEN))


def test_a_delete_is_not_blamed_where_no_call_is_answered() -> None:
    found = deleted_session.judge(HANG, [HANG] * 17, HANG, str)
    assert found.verdict is Verdict.UNKNOWN
    assert found.says == "calls fail in a session that is there, too: no answer in time"


async def test_the_last_session_is_ended_and_no_other() -> None:
    async with running_odd() as odd, examined(odd.url, sessions=4) as exam:
        others = [session.id for session in exam.sessions.opened[:-1]]
        last = exam.sessions.opened[-1].id
        found = await deleted_session.run(exam)
        assert odd.live == set(others)
        assert odd.deleted == {last}
    assert isinstance(found, Finding)
    assert found.verdict is Verdict.OK
    assert found.evidence["answers"] == {"POST": {"404": 17}}


async def test_a_single_session_is_left_alone() -> None:
    async with running_odd() as odd, examined(odd.url, sessions=2) as exam:
        await exam.sessions.close(exam.sessions.opened[-1])
        assert isinstance(await deleted_session.run(exam), NotRun)
        assert len(odd.live) == 1


async def test_a_server_that_keeps_what_it_has_deleted() -> None:
    asked = iter(range(10_000))

    def some_nodes_know(request: web.Request, odd: Odd) -> bool:
        session_id = request.headers[SESSION]
        return session_id in odd.live or (session_id in odd.deleted and next(asked) % 4 == 0)

    async with running_odd(knows=some_nodes_know) as odd:
        found = await found_at(odd.url)
    assert found.verdict is Verdict.BROKEN
    assert found.says == "a deleted session is still served by some nodes: 5 of 17 calls"


async def test_a_server_that_takes_any_id_takes_that_of_a_deleted_session() -> None:
    async with running_odd(knows=lambda request, odd: True) as odd:
        found = await found_at(odd.url)
    assert (found.verdict, found.says) == (
        Verdict.UNKNOWN,
        "any session id is served here, that of a deleted session as well",
    )


@pytest.mark.parametrize(("status", "verdict"), [(405, Verdict.OK), (501, Verdict.WARNING), (403, Verdict.WARNING)])
async def test_a_server_that_lets_nobody_delete(status: int, verdict: Verdict) -> None:
    async with running_odd(delete_status=status) as odd:
        found = await found_at(odd.url)
    assert found.verdict is verdict
    assert found.evidence["delete"] == str(status)
    assert "idle timeout" in found.why


async def test_where_nothing_leads_to_the_node_it_is_deleted_all_the_same() -> None:
    async with running_ledger(lost_share=3) as ledger:
        found = await found_at(ledger.url)
    assert found.verdict is Verdict.OK


@pytest.mark.real
async def test_without_affinity() -> None:
    async with replica_urls("stateful", 2) as urls, haproxy.round_robin(urls) as url:
        found = await found_at(url)
    assert (found.verdict, found.says) == (Verdict.OK, "a deleted session is answered with 404, 17 of 17 times")
