"""How long a silent stream lives, and what ends it: judged from what was heard, and against real proxies."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from mooring.doctor.checks.idle import judge, run
from mooring.doctor.client.held_stream import Arrival, End
from mooring.doctor.client.reply import Reply, Trouble
from mooring.doctor.evidence.heard import Heard
from mooring.doctor.evidence.silent_streams import PLAIN, SilentStreams
from mooring.doctor.evidence.stream_probes import Probes
from mooring.doctor.findings import Finding, NotRun, Verdict
from mooring.doctor.proxies import Proxy
from tests.deployments import haproxy, nginx, traefik
from tests.doctor.examined import examined
from tests.doctor.examples import UNAVAILABLE
from tests.doctor.heard import cut, held, pings, refused
from tests.doctor.streams import stream_server

OK, WARNING, BROKEN, UNKNOWN = Verdict.OK, Verdict.WARNING, Verdict.BROKEN, Verdict.UNKNOWN
NO_PROBES = Probes()
RETRY = Arrival(0.01, b"id: 1\nretry: 500\ndata:\n\n")


def judged(heard: Heard, probes: Probes = NO_PROBES, proxy: Proxy | None = None) -> Finding:
    found = judge(heard, probes, proxy, str)
    assert isinstance(found, Finding)
    assert len(found.says) <= 90
    return found


@pytest.mark.parametrize(
    ("heard", "probes", "verdict", "says"),
    [
        (held(35.0), NO_PROBES, OK, "35 s of silence did not end a stream"),
        (held(35.0, *pings(15, 30)), NO_PROBES, OK, "a comment every 15 s kept a stream alive for 35 s"),
        (held(35.0, RETRY), NO_PROBES, OK, "35 s of silence did not end a stream"),
        (held(2.0, Arrival(1.0, b"data: {}\n\n")), NO_PROBES, OK, "an event every 1 s kept a stream alive for 2 s"),
        (held(35.0, *pings(35.01, 35.01), head_seconds=35.01), NO_PROBES, OK, "35 s of silence did not end a stream"),
        # A server may cut a stream whose session is gone: the first one that does is no reason to doubt.
        (held(35.0, end=End.CUT), Probes(fresh=held(0.3, end=End.CUT)), OK, "35 s of silence did not end a stream"),
        (held(35.0, end=End.CUT), NO_PROBES, OK, "35 s of silence did not end a stream"),
        (
            held(35.0, end=End.CUT),
            Probes(fresh=held(0.3)),
            WARNING,
            "a stream looks alive, and 35 s after its request nothing comes through",
        ),
        (
            held(8.0, end=End.CUT),
            Probes(sooner=held(6.0, end=End.CUT), fresh=held(0.3)),
            BROKEN,
            "a stream looks alive, and 6 s after its request nothing comes through",
        ),
        (cut(5.0), NO_PROBES, WARNING, "a silent stream is cut after 5 s, as seen once"),
        (cut(60.02), NO_PROBES, BROKEN, "a silent stream is cut after 60 s"),
        (cut(5.0), Probes(repeat=cut(5.3)), BROKEN, "a silent stream is cut after 5 s"),
        (cut(5.0), Probes(repeat=cut(5.1), sooner=held(3.8)), BROKEN, "a silent stream is cut after 5 s"),
        (cut(5.0), Probes(repeat=held(6.5)), WARNING, "a stream was cut after 5 s; the second one lived longer"),
        (cut(5.0), Probes(repeat=cut(2.0)), WARNING, "a stream was cut after 5 s; the second one was cut after 2 s"),
        (
            cut(15.0),
            Probes(repeat=cut(15.0), sooner=held(11.3, end=End.CUT)),
            BROKEN,
            "streams are cut by their age: 11 s old, one brings nothing any more",
        ),
        (
            cut(29.0, *pings(15.0)),
            Probes(repeat=cut(29.0, *pings(15.0))),
            BROKEN,
            "streams are cut at an age of 29 s, whatever is sent on them",
        ),
        # It had said something a moment before: that this was too little shows in nothing.
        (cut(8.0, *pings(3.0)), Probes(repeat=cut(8.0, *pings(3.0))), BROKEN, "a silent stream is cut after 5 s"),
        (
            cut(4.0, RETRY, end=End.CLEAN),
            NO_PROBES,
            OK,
            "the server ends its stream after 4 s and has clients return 500 ms later",
        ),
        (cut(0.02, end=End.CLEAN), NO_PROBES, WARNING, "the standalone stream is ended as soon as it is opened"),
        (cut(30.0, end=End.CLEAN), NO_PROBES, WARNING, "a silent stream is ended after 30 s, cleanly"),
        (refused(403, b"no"), NO_PROBES, WARNING, "the standalone stream cannot be opened: 403 no"),
        (refused(502), NO_PROBES, WARNING, "the standalone stream cannot be opened: 502"),
        (
            refused(200, b"<html>", media_type="text/html"),
            NO_PROBES,
            WARNING,
            "the standalone stream cannot be opened: 200 (text/html)",
        ),
        (
            refused(504, b"<html>", seconds=60.1),
            NO_PROBES,
            BROKEN,
            "a stream on which nothing is sent is given up after 60 s: 504",
        ),
        (
            refused(404, b"Session not found"),
            NO_PROBES,
            UNKNOWN,
            "no node that was asked for a stream knew its session: 404 Session not found",
        ),
        (refused(429), NO_PROBES, UNKNOWN, "the server limits the rate of requests (429)"),
        (
            Heard(Reply(trouble=Trouble.REFUSED), None, 0.1, (), End.CUT, 0.01),
            NO_PROBES,
            WARNING,
            "the standalone stream cannot be opened: connection refused",
        ),
        (
            Heard(Reply(), None, 35.0),
            NO_PROBES,
            UNKNOWN,
            "a stream was asked for, and no answer began in 35 s",
        ),
        # Its head was kept back, and then it was cut all the same.
        (
            Heard(Reply(trouble=Trouble.CUT), None, 35.0, (), End.CUT, 5.0),
            Probes(repeat=Heard(Reply(trouble=Trouble.CUT), None, 6.5, (), End.CUT, 5.0)),
            BROKEN,
            "a silent stream is cut after 5 s",
        ),
    ],
)
def test_the_verdict(heard: Heard, probes: Probes, verdict: Verdict, says: str) -> None:
    found = judged(heard, probes)
    assert (found.verdict, found.says) == (verdict, says)
    assert bool(found.changes) == (verdict in (WARNING, BROKEN))


def test_where_no_stream_is_offered_there_is_nothing_to_look_at() -> None:
    assert judge(refused(405), NO_PROBES, None, str) == NotRun("the server offers no standalone stream (405)")


def test_the_numbers_are_told() -> None:
    evidence = judged(cut(30.2, *pings(15.0)), Probes(repeat=cut(30.3), sooner=held(22.0))).evidence
    assert (evidence["age_seconds"], evidence["end"], evidence["comments"]) == (30.2, "cut", 1)
    assert evidence["silences_seconds"] == [15.0, 15.2]
    assert (evidence["repeat_seconds"], evidence["repeat_end"], evidence["sooner_end"]) == (30.3, "cut", "clean")
    assert evidence["known_limits"] == ["Google Cloud's backend service timeout", "CloudFront's response timeout"]


async def found_at(url: str, idle_seconds: float, *, sessions: int = 6, **fields: Any) -> Finding | NotRun:
    async with examined(url, sessions=sessions, **fields) as exam:
        exam.shared(SilentStreams).begin(idle_seconds, [PLAIN])
        return await run(exam)


async def test_it_is_not_asked_where_calls_hang_or_no_time_is_given() -> None:
    async with stream_server() as server, examined(server.url, sessions=2) as exam:
        assert await run(exam) == NotRun("no time to hold a silent stream is given (--idle)")
        exam.no_calls = "calls hang here"
        found = await run(exam)
    assert isinstance(found, Finding)
    assert found.verdict is UNKNOWN


@pytest.mark.parametrize(
    ("options", "verdict", "says"),
    [
        ({}, OK, "1 s of silence did not end a stream"),
        ({"lost_share": 3}, OK, "1 s of silence did not end a stream"),
        ({"cut_seconds": 0.6}, BROKEN, "a silent stream is cut after"),
        ({"cut_seconds": 0.6, "cuts": 1}, WARNING, "a stream was cut after"),
        ({"cut_seconds": 0.62, "ping_seconds": 0.2}, BROKEN, "streams are cut at an age of"),
        ({"aborts": 0.65}, BROKEN, "a stream looks alive, and"),
        ({"aborts": 0.0}, OK, "1 s of silence did not end a stream"),
        ({"end_seconds": 0.6}, WARNING, "the standalone stream is ended as soon as"),
        ({"end_seconds": 0.6, "first_words": "id: 1\nretry: 500\ndata:\n\n"}, OK, "the server ends its stream"),
        ({"get": 403}, WARNING, "the standalone stream cannot be opened: 403 no stream"),
    ],
)
async def test_servers_that_end_streams(options: dict[str, Any], verdict: Verdict, says: str) -> None:
    # A stream of less than a second is one that is cut right away: these are seconds in the small.
    async with stream_server(**options) as server:
        found = await found_at(server.url, 1.0)
    assert isinstance(found, Finding)
    assert (found.verdict, found.says[: len(says)]) == (verdict, says), found


async def test_a_stream_that_went_with_its_session_tells_no_limit() -> None:
    async with stream_server(cut_seconds=0.6, ends=True) as server:
        found = await found_at(server.url, 1.0)
    assert isinstance(found, Finding)
    assert found.verdict is UNKNOWN
    assert found.says.endswith("and its session is gone as well")


async def test_a_node_that_is_down_is_no_limit_on_silence() -> None:
    async with stream_server(get=503) as server, examined(server.url, sessions=4) as exam:
        exam.shared(SilentStreams).begin(1.0, [PLAIN])
        exam.sessions.refused += [UNAVAILABLE] * 2
        found = await run(exam)
    assert isinstance(found, Finding)
    assert (found.verdict, found.says) == (UNKNOWN, "cannot tell: calls that nothing is odd about fail, too: 502")


async def test_a_server_without_a_standalone_stream() -> None:
    async with stream_server(get=405) as server:
        assert await found_at(server.url, 1.0) == NotRun("the server offers no standalone stream (405)")


@pytest.mark.real
@pytest.mark.parametrize("deploy", [haproxy.idle_timeout, nginx.idle_timeout])
async def test_an_idle_timeout_of_a_proxy(deploy: Callable[..., Any]) -> None:
    async with stream_server() as server, deploy([server.url], 1.5) as url:
        found = await found_at(url, 4.0)
    assert isinstance(found, Finding)
    assert (found.verdict, found.says) == (BROKEN, "a silent stream is cut after 1.5 s"), found
    assert found.evidence["sooner_end"] == "clean"


@pytest.mark.real
@pytest.mark.parametrize("deploy", [haproxy.idle_timeout, nginx.idle_timeout])
async def test_comments_keep_a_stream_alive_behind_an_idle_timeout(deploy: Callable[..., Any]) -> None:
    async with stream_server(ping_seconds=0.5) as server, deploy([server.url], 1.5) as url:
        found = await found_at(url, 3.0)
    assert isinstance(found, Finding)
    assert (found.verdict, found.says[:15]) == (OK, "a comment every"), found


@pytest.mark.real
@pytest.mark.parametrize(
    ("ping_seconds", "says"),
    [
        (0.4, "streams are cut at an age of"),
        (2.6, "streams are cut by their age: "),
        (0.0, "a stream looks alive, and "),
    ],
)
async def test_a_limit_on_the_age_of_streams_in_traefik(ping_seconds: float, says: str) -> None:
    """It shows when something is written: often, once after the limit, or only at the end."""
    async with stream_server(ping_seconds=ping_seconds) as server, traefik.lifetime_limit([server.url], 1.5) as url:
        found = await found_at(url, 4.0)
    assert isinstance(found, Finding)
    assert (found.verdict, found.says[: len(says)]) == (BROKEN, says), found
    assert found.evidence["by"] == "age"


@pytest.mark.real
async def test_a_head_that_is_kept_back_until_time_is_up() -> None:
    async with (
        stream_server(get_pause_seconds=10.0) as server,
        nginx.idle_timeout([server.url], 2) as url,
    ):
        found = await found_at(url, 4.0)
    assert isinstance(found, Finding)
    assert (found.verdict, found.says) == (
        BROKEN,
        "a stream on which nothing is sent is given up after 2 s: 504",
    ), found


@pytest.mark.real
@pytest.mark.parametrize(
    "deploy", [nginx.round_robin, haproxy.round_robin, traefik.round_robin, partial(nginx.buffered)]
)
async def test_proxies_that_let_a_silent_stream_live(deploy: Callable[..., Any]) -> None:
    async with stream_server() as server, deploy([server.url]) as url:
        found = await found_at(url, 2.0)
    assert isinstance(found, Finding)
    assert found.verdict is OK, found
    assert found.says.endswith(" s of silence did not end a stream")
