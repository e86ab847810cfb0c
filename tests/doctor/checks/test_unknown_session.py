from __future__ import annotations

import pytest
from aiohttp import web

from mooring.doctor.checks import unknown_session
from mooring.doctor.client.protocol import SESSION
from mooring.doctor.client.reply import Reply
from mooring.doctor.findings import Finding, Verdict
from tests.deployments import haproxy
from tests.deployments.servers import Build, mixture, replica_urls
from tests.doctor.examined import examined
from tests.doctor.examples import LOST, REACHED
from tests.doctor.odd import Odd, refusal, running_odd


async def found_at(url: str, **fields: object) -> Finding:
    async with examined(url, **{"sessions": 3, **fields}) as exam:
        found = await unknown_session.run(exam)
    assert isinstance(found, Finding)
    return found


@pytest.mark.parametrize(
    ("posts", "verdict"),
    [
        ([REACHED] * 6, Verdict.WARNING),
        ([REACHED] * 5 + [LOST], Verdict.BROKEN),
        ([LOST] * 6, Verdict.OK),
        ([Reply(status=400)] * 6, Verdict.BROKEN),
    ],
)
def test_an_id_that_is_served_by_all_is_a_warning(posts: list[Reply], verdict: Verdict) -> None:
    found = unknown_session.judge({"POST": posts, "GET": [LOST], "DELETE": [LOST]}, REACHED, str)
    assert (found.check, found.verdict) == ("unknown-session", verdict)
    assert bool(found.changes) == (verdict is not Verdict.OK)


async def test_six_times_over_a_connection_each_by_each_method() -> None:
    async with running_odd() as odd:
        found = await found_at(odd.url)
        strange = [request for request in odd.seen if request.headers.get(SESSION, "") not in odd.live | odd.deleted]
    assert found.verdict is Verdict.OK
    assert found.evidence["answers"] == {"POST": {"404": 6}, "GET": {"404": 6}, "DELETE": {"404": 6}}
    ids = [request.headers[SESSION] for request in strange if SESSION in request.headers]
    assert len(set(ids)) == len(ids) == 18
    assert {len(one) for one in ids} == {32}


async def test_a_get_that_goes_nowhere_tells_nothing_of_sessions() -> None:
    async with running_odd(guard=lambda request: web.Response() if request.method == "GET" else None) as odd:
        found = await found_at(odd.url)
    assert (found.verdict, found.says) == (Verdict.OK, "an unknown session is answered with 404, 6 of 6 times")


async def test_a_server_that_takes_any_id() -> None:
    async with running_odd(knows=lambda request, odd: True) as odd:
        found = await found_at(odd.url)
    assert (found.verdict, found.says) == (Verdict.WARNING, "a session id that nobody gave out is served")
    assert found.changes


@pytest.mark.parametrize("status", [400, 401, 500])
async def test_a_server_that_answers_otherwise(status: int) -> None:
    async with running_odd(refuse=lambda request: refusal(status, "no")) as odd:
        found = await found_at(odd.url)
    assert (found.verdict, found.says) == (
        Verdict.BROKEN,
        f"an unknown session is answered with {status}; 404 is due",
    )
    assert found.why


async def test_a_server_that_opens_another_session_for_it_keeps_none_of_them() -> None:
    """Such a session was not asked for, and is closed in the end all the same."""

    def open_another(request: web.Request) -> web.Response:
        if request.method != "POST":
            return refusal(404)
        session_id = odd.mint()
        odd.live.add(session_id)
        return web.json_response({"jsonrpc": "2.0", "id": None, "result": {}}, headers={SESSION: session_id})

    odd: Odd
    async with running_odd(refuse=open_another) as odd:
        await found_at(odd.url)
        assert len(odd.deleted) == 3 + 6
        assert odd.live == set()


async def test_no_session_of_somebody_else_is_met_where_ids_are_counted() -> None:
    numbers = iter(range(1, 1000))
    async with running_odd(mint=lambda: str(next(numbers))) as odd, examined(odd.url, sessions=9) as exam:
        found = await unknown_session.run(exam)
        assert len(odd.live) == 9
    assert isinstance(found, Finding)
    assert found.verdict is Verdict.OK


@pytest.mark.real
async def test_without_affinity_the_nodes_of_one_server_agree() -> None:
    async with replica_urls("stateful", 2) as urls, haproxy.round_robin(urls) as url:
        found = await found_at(url)
    assert (found.verdict, found.says) == (Verdict.OK, "an unknown session is answered with 404, 6 of 6 times")


@pytest.mark.real
async def test_nodes_that_differ() -> None:
    async with (
        mixture(Build("stateful"), Build("typescript")) as replicas,
        haproxy.learned_session_id([replica.url for replica in replicas]) as url,
    ):
        found = await found_at(url)
    assert found.verdict is Verdict.BROKEN
    assert found.says in {
        f"an unknown session is answered in different ways: {shares}"
        for shares in ("404 (3), 400 (3)", "400 (3), 404 (3)")
    }


@pytest.mark.real
async def test_the_typescript_sdks_example() -> None:
    async with replica_urls("typescript", 1) as urls:
        found = await found_at(urls[0])
    assert (found.verdict, found.says) == (Verdict.BROKEN, "an unknown session is answered with 400; 404 is due")
    assert "res.status(404)" in found.changes[0].config
