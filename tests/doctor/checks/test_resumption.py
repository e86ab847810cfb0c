"""Whether a stream that was cut can be taken up again: judged from the answers, and with real servers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from mooring.doctor.checks.resumption import judge, run
from mooring.doctor.client.event_stream import stream_facts
from mooring.doctor.client.reply import Reply, Trouble
from mooring.doctor.evidence.resumed_stream import Asked, Resumed
from mooring.doctor.findings import Finding, NotRun, Verdict
from tests.bare import ServerKind, bare_server
from tests.deployments import haproxy
from tests.deployments.servers import replica_urls
from tests.doctor.examined import examined
from tests.doctor.heard import head
from tests.doctor.streams import stream_server

OK, WARNING, BROKEN, UNKNOWN = Verdict.OK, Verdict.WARNING, Verdict.BROKEN, Verdict.UNKNOWN
ANSWER = b'data: {"jsonrpc":"2.0","id":7,"result":{}}\n\n'
PRIMED = b"id: 1\nretry: 200\ndata:\n\nid: 2\n" + ANSWER
UNHURRIED = b"id: 1\ndata:\n\nid: 2\n" + ANSWER
LAST = b"id: 2\n" + ANSWER


def asked(body: bytes = PRIMED, media_type: str = "text/event-stream", status: int = 200) -> Asked:
    reply = head(status, media_type, body=body)
    return Asked(7, "2025-11-25", reply, stream_facts(body if "event" in media_type else b""))


def resumed(*answers: int, status: int = 200, text: bytes = b"", media_type: str = "text/event-stream") -> Resumed:
    return Resumed(head(status, media_type, body=text), answers)


def lost(*, may_be_lost: bool) -> Resumed:
    return Resumed(head(404, "text/plain", body=b"Session not found"), (), may_be_lost)


@pytest.mark.parametrize(
    ("ping", "rest", "verdict", "says"),
    [
        (asked(ANSWER), None, OK, "not offered: streams carry no event ids"),
        (asked(), resumed(7), OK, "a stream is taken up on another connection; clients return after 200 ms"),
        (asked(UNHURRIED), resumed(7), OK, "a stream is taken up on another connection"),
        (asked(LAST), resumed(), OK, "event ids are given with the first message, and a GET with one is taken"),
        (asked(), resumed(), WARNING, "the answer does not come again: "),
        (asked(), resumed(7, 8), BROKEN, "a stream that is taken up brings 1 answers that were not asked for"),
        (asked(), resumed(8, 9), BROKEN, "a stream that is taken up brings 2 answers that were not asked for"),
        (asked(LAST), resumed(8), BROKEN, "a stream that is taken up brings 1 answers that were not asked for"),
        (asked(), resumed(7, 7), BROKEN, "a stream that is taken up brings the answer more than once"),
        (asked(), resumed(status=405), BROKEN, "event ids are given, and a GET with one is refused: 405"),
        (asked(LAST), resumed(status=500), BROKEN, "event ids are given, and a GET with one is refused: 500"),
        (
            asked(),
            resumed(status=400, text=b"bad id", media_type="text/plain"),
            BROKEN,
            "event ids are given, and a GET with one is refused: 400 bad id",
        ),
        (asked(), lost(may_be_lost=False), BROKEN, "event ids are given, and a GET with one is refused: 404 Session"),
        (asked(), lost(may_be_lost=True), UNKNOWN, "cannot tell: no node that was asked for the rest knew the"),
        (asked(), resumed(status=429), UNKNOWN, "the server limits the rate of requests (429)"),
        (
            asked(),
            resumed(media_type="application/json"),
            BROKEN,
            "event ids are given, and a GET with one brings no events but application/json",
        ),
        (
            asked(),
            Resumed(Reply(trouble=Trouble.CUT)),
            BROKEN,
            "event ids are given, and a GET with one fails: connection closed before the answer was whole",
        ),
        (asked(b"", status=502), None, UNKNOWN, "the ping was not answered: 502"),
    ],
)
def test_the_verdict(ping: Asked, rest: Resumed | None, verdict: Verdict, says: str) -> None:
    found = judge(ping, rest, None, str)
    assert isinstance(found, Finding)
    assert (found.verdict, found.says[: len(says)]) == (verdict, says)
    assert len(found.says) <= 100
    assert bool(found.changes) == (verdict in (WARNING, BROKEN))


def test_where_answers_are_no_streams_there_is_nothing_to_look_at() -> None:
    found = judge(asked(b"{}", "application/json"), None, None, str)
    assert found == NotRun("calls are answered without streams, so that none can be cut")


@pytest.mark.parametrize(
    ("body", "evidence"),
    [
        (PRIMED, {"event_ids": 2, "primed": True, "retry_milliseconds": 200}),
        (LAST, {"event_ids": 1, "primed": False, "retry_milliseconds": None}),
        (ANSWER, {"event_ids": 0, "primed": False, "retry_milliseconds": None}),
    ],
)
def test_the_numbers_are_told(body: bytes, evidence: dict[str, Any]) -> None:
    found = judge(asked(body), resumed(7) if body is PRIMED else None if body is ANSWER else resumed(), None, str)
    assert isinstance(found, Finding)
    assert evidence.items() <= found.evidence.items()


@pytest.mark.parametrize(
    ("options", "verdict", "asked_with"),
    [
        ({"ids": ""}, OK, []),
        ({"ids": "primed"}, OK, ["1"]),
        ({"ids": "primed", "lost_share": 2}, OK, ["1"]),
        ({"ids": "last", "resumes": "nothing"}, OK, ["2"]),
        ({"ids": "primed", "resumes": "nothing"}, WARNING, ["1"]),
        ({"ids": "primed", "resumes": "others"}, BROKEN, ["1"]),
        ({"ids": "primed", "resumes": "twice"}, BROKEN, ["1"]),
        ({"ids": "primed", "resumes": "json"}, BROKEN, ["1"]),
        ({"ids": "primed", "resumes": 500}, BROKEN, ["1"]),
        ({"ids": "primed", "resumes": 405}, BROKEN, ["1"]),
    ],
)
async def test_servers(options: dict[str, Any], verdict: Verdict, asked_with: list[str]) -> None:
    async with stream_server(**options) as server, examined(server.url, sessions=2) as exam:
        found = await run(exam)
        assert isinstance(found, Finding)
        assert found.verdict is verdict, found
        assert server.resumed == asked_with


@pytest.fixture(params=["v1", "v2", "fastmcp"])
async def everything(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """A real server with an event store."""
    kind: ServerKind = request.param
    async with bare_server(kind) as url:
        yield url


@pytest.mark.real
async def test_a_real_server_with_an_event_store(everything: str) -> None:
    async with examined(everything, sessions=2) as exam:
        found = await run(exam)
    assert isinstance(found, Finding)
    assert (found.verdict, found.says) == (
        OK,
        "a stream is taken up on another connection; clients return after 200 ms",
    )


@pytest.mark.real
async def test_real_servers_without_an_event_store() -> None:
    async with replica_urls("stateful", 1) as python, replica_urls("typescript", 1) as typescript:
        for url in (*python, *typescript):
            async with examined(url, sessions=2) as exam:
                found = await run(exam)
            assert isinstance(found, Finding)
            assert (found.verdict, found.says) == (OK, "not offered: streams carry no event ids")


@pytest.mark.real
async def test_replicas_without_affinity_are_asked_until_one_knows_the_session() -> None:
    async with (
        replica_urls("everything", 3) as urls,
        haproxy.round_robin(urls) as url,
        examined(url, sessions=2) as exam,
    ):
        found = await run(exam)
    assert isinstance(found, Finding)
    assert found.verdict is OK, found
