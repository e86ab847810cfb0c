"""Whether events come when they are sent: judged from what came when, and behind real proxies that gather them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Any

import pytest
import pytest_asyncio

from mooring.doctor.checks.buffering import is_delayed, judge, run
from mooring.doctor.client.held_stream import Arrival
from mooring.doctor.client.reply import Reply
from mooring.doctor.evidence.heard import Heard
from mooring.doctor.evidence.silent_streams import PLAIN, SilentStreams
from mooring.doctor.evidence.timed_call import TimedCall
from mooring.doctor.findings import Finding, NotRun, Verdict
from mooring.doctor.proxies import Proxy
from tests.deployments import haproxy, nginx, traefik
from tests.deployments.servers import replica_urls
from tests.doctor.examined import examined
from tests.doctor.heard import cut, head, held, pings, refused
from tests.doctor.runs import finding
from tests.doctor.runs import run as doctor
from tests.doctor.streams import stream_server

OK, WARNING, BROKEN, UNKNOWN = Verdict.OK, Verdict.WARNING, Verdict.BROKEN, Verdict.UNKNOWN
WORK = {"tool": "work", "arguments": {"steps": 4, "seconds": 0.4}}


def called(*seconds: float, media_type: str = "text/event-stream", is_answered: bool = True) -> TimedCall:
    """A call whose events came at these times, the last one being its answer."""
    pieces = tuple(Arrival(one, b"data: {}\n\n") for one in seconds)
    return TimedCall(head(media_type=media_type), is_answered, pieces)


PING = called(0.002)
JSON = TimedCall(head(media_type="application/json"), True, (Arrival(0.002, b"{}"),))
UNANSWERED = TimedCall(Reply(), is_answered=False)


@pytest.mark.parametrize(
    ("heard", "tool", "verdict", "says"),
    [
        (held(35.0, *pings(15, 30)), None, OK, "events pass at once: 2 comments came while a stream was open"),
        (cut(20.0, *pings(15)), None, OK, "events pass at once: 1 comment came while a stream was open"),
        (
            held(35.0, *pings(35.01, 35.01)),
            None,
            BROKEN,
            "events are held back until a stream ends: nothing came for 35 s, then 2 at once",
        ),
        (
            held(35.0, *pings(35.01, 35.01)),
            called(0.1, 1.0, 2.0),
            BROKEN,
            "events are held back until a stream ends: nothing came for 35 s, then 2 at once",
        ),
        (
            held(35.0, *pings(15, 30), head_seconds=15.0),
            None,
            WARNING,
            "the head of a silent stream is held back: it came after 15 s",
        ),
        (
            held(35.0, head_seconds=35.01),
            None,
            WARNING,
            "the head of a silent stream is held back: it came after 35 s",
        ),
        (
            held(3.0),
            called(0.01, 1.0, 2.0),
            OK,
            "events pass at once: the first of a call came after 10 ms, its last after 2 s",
        ),
        # It was not answered in time, but what it sent came.
        (
            None,
            TimedCall(head(), False, called(1.0, 5.0, 9.0).arrivals),
            OK,
            "events pass at once: the first of a call came after 1 s, its last after 9 s",
        ),
        (held(3.0), called(2.0, 2.0, 2.01), BROKEN, "all 3 events of a call of 2 s came at its end"),
        (None, called(2.0, 2.0, 2.0), BROKEN, "all 3 events of a call of 2 s came at its end"),
        # The way is open: it is the server that gathers them.
        (held(35.0, *pings(15, 30)), called(2.0, 2.0, 2.0), WARNING, "all 3 events of a call of 2 s came at its end"),
        # A tool may report once, when it is done, and a short one may do so often.
        (held(3.0), called(2.0, 2.0), UNKNOWN, "cannot tell: the call was too short, or sent nothing before its"),
        (held(3.0), called(0.5, 0.5, 0.5, 0.5), UNKNOWN, "cannot tell: the call was too short, or sent nothing"),
        (held(3.0), UNANSWERED, UNKNOWN, "cannot tell: the tool did not answer in time"),
        (held(3.0), None, UNKNOWN, "cannot tell: the server sent nothing on a stream for 3 s"),
        (held(35.0, *pings(35.01)), None, UNKNOWN, "cannot tell: the server sent nothing on a stream for 35 s"),
        (cut(5.0), None, UNKNOWN, "cannot tell: the stream ended before anything was sent on it"),
        (cut(5.0, *pings(5.0)), None, UNKNOWN, "cannot tell: the stream ended before anything was sent on it"),
        (None, None, UNKNOWN, "cannot tell: no stream was held open, and no tool is named"),
        (refused(405), None, UNKNOWN, "cannot tell: no stream was held open, and no tool is named"),
    ],
)
def test_the_verdict(heard: Heard | None, tool: TimedCall | None, verdict: Verdict, says: str) -> None:
    found = judge(heard, tool, [PING], None)
    assert isinstance(found, Finding)
    assert (found.verdict, found.says[: len(says)]) == (verdict, says)
    assert len(found.says) <= 90
    assert bool(found.changes) == (verdict is not OK)


@pytest.mark.parametrize(
    ("heard", "tool", "ping", "is_looked_at"),
    [
        (None, None, JSON, False),
        (refused(405), None, JSON, False),
        (refused(405), called(media_type="application/json"), JSON, False),
        (refused(405), called(0.1, 2.0), JSON, True),
        (held(), None, JSON, True),
        (None, None, PING, True),
    ],
)
def test_where_nothing_is_streamed_there_is_nothing_to_look_at(
    heard: Heard | None, tool: TimedCall | None, ping: TimedCall, is_looked_at: bool
) -> None:
    found = judge(heard, tool, [ping], None)
    assert isinstance(found, Finding) is is_looked_at
    if not is_looked_at:
        assert found == NotRun("the server sends no event streams")


@pytest.mark.parametrize(
    ("heads", "ping_seconds", "delayed"),
    [
        ([0.204, 0.206, 0.211], 0.002, True),
        ([0.204, 0.002, 0.211], 0.002, False),
        ([0.204, 0.206, 0.211], 0.2, False),
        ([0.5, 0.5, 0.5], 0.002, False),
        ([0.002], 0.002, False),
    ],
)
def test_a_proxy_that_waits_for_more(heads: Sequence[float], ping_seconds: float, delayed: bool) -> None:
    assert is_delayed(heads, [called(ping_seconds)]) is delayed


def test_it_waits_in_haproxy_only_where_several_streams_show_it() -> None:
    heard = held(35.0, *pings(15, 30), head_seconds=0.21)
    once = judge(heard, None, [PING], Proxy.HAPROXY, [0.21])
    often = judge(heard, None, [PING], Proxy.HAPROXY, [0.21, 0.22, 0.2])
    assert isinstance(once, Finding)
    assert isinstance(often, Finding)
    assert once.verdict is OK
    assert (often.verdict, often.says) == (WARNING, "what a stream brings waits for 210 ms in HAProxy")
    assert "option http-no-delay" in often.changes[0].config


def test_the_numbers_are_told() -> None:
    found = judge(held(35.0, *pings(15)), called(0.01, 2.0), [PING, PING], Proxy.NGINX)
    assert isinstance(found, Finding)
    assert found.evidence["held_stream"]["comments"] == 1
    assert found.evidence["tool"]["event_seconds"] == [0.01, 2.0]
    assert found.evidence["ping_seconds"] == 0.002


@contextlib.asynccontextmanager
async def checked(url: str, idle_seconds: float = 1.0, **fields: Any) -> AsyncIterator[Finding | NotRun]:
    async with examined(url, sessions=4, **fields) as exam:
        exam.shared(SilentStreams).begin(idle_seconds, [PLAIN])
        yield await run(exam)


async def found_at(url: str, **options: Any) -> Finding:
    async with checked(url, **options) as found:
        assert isinstance(found, Finding)
        return found


@pytest.mark.parametrize(
    ("options", "verdict"),
    [
        ({"ping_seconds": 0.2}, OK),
        ({"ping_seconds": 0.2, "lost_share": 3}, OK),
        ({"ping_seconds": 0.2, "keeps_back": True}, BROKEN),
        ({}, UNKNOWN),
        ({"get": 405}, UNKNOWN),
    ],
)
async def test_servers(options: dict[str, Any], verdict: Verdict) -> None:
    async with stream_server(**options) as server:
        found = await found_at(server.url)
    assert found.verdict is verdict, found


async def test_a_server_without_streams() -> None:
    async with stream_server(answers="json", get=405) as server, checked(server.url) as found:
        assert found == NotRun("the server sends no event streams")


@pytest.mark.real
@pytest.mark.parametrize(
    ("deploy", "verdict"),
    [
        (nginx.round_robin, OK),
        (haproxy.round_robin, OK),
        (traefik.round_robin, OK),
        (nginx.buffered, BROKEN),
        # Chunks are passed on one by one, but the head waits for the first of them.
        (partial(nginx.buffered, http_version="1.1"), WARNING),
    ],
)
async def test_comments_on_a_held_stream_behind_proxies(deploy: Callable[..., Any], verdict: Verdict) -> None:
    async with stream_server(ping_seconds=1.2) as server, deploy([server.url]) as url:
        found = await found_at(url, idle_seconds=3.0)
    assert found.verdict is verdict, found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def replica() -> AsyncIterator[str]:
    """A real server whose tool `work` reports its progress."""
    async with replica_urls("stateful", 1) as urls:
        yield urls[0]


@pytest.mark.real
@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("deploy", "verdict"),
    [(nginx.round_robin, OK), (haproxy.round_robin, OK), (traefik.round_robin, OK), (nginx.buffered, BROKEN)],
)
async def test_the_progress_of_a_tool_behind_proxies(
    replica: str, deploy: Callable[..., Any], verdict: Verdict
) -> None:
    async with deploy([replica]) as url:
        found = await found_at(url, **WORK)
    assert found.verdict is verdict, found
    assert len(found.evidence["tool"]["event_seconds"]) == 5


@pytest.mark.real
async def test_a_tool_of_a_server_without_sessions() -> None:
    async with replica_urls("stateless", 1) as urls, nginx.buffered(urls) as url:
        assert (await found_at(urls[0], **WORK)).verdict is OK
        assert (await found_at(url, **WORK)).verdict is BROKEN


@pytest.mark.real
@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"tool": "nope"}, "nope"),
        ({"tool": "work", "arguments": {"steps": "x"}}, "steps"),
    ],
)
async def test_a_tool_that_fails_is_told(replica: str, fields: dict[str, Any], said: str) -> None:
    report = await doctor(replica, sessions=2, calls=1, only=frozenset({"affinity", "buffering"}), **fields)
    buffering, affinity = finding(report, "buffering"), finding(report, "affinity")
    assert (buffering.verdict, affinity.verdict) == (UNKNOWN, OK)
    assert buffering.says.startswith("cannot tell: the tool failed: ")
    assert said in buffering.says
    assert affinity.why.startswith("Each time the tool answered with an error: ")
    assert said in affinity.why


@pytest.mark.real
@pytest.mark.asyncio(loop_scope="module")
async def test_the_comments_of_a_real_server_are_held_back(replica: str) -> None:
    """The SDK sends one each 15 s, and two are needed."""
    async with nginx.buffered([replica]) as url:
        found = await found_at(url, idle_seconds=31.0)
    assert (found.verdict, found.says) == (
        BROKEN,
        "events are held back until a stream ends: nothing came for 31 s, then 2 at once",
    )
