"""Whether event streams are compressed, and held back by it: judged, and behind real proxies that compress."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from mooring.doctor.checks.compression import Streams, judge, run
from mooring.doctor.client.reply import Reply, Trouble
from mooring.doctor.evidence import silent_streams
from mooring.doctor.evidence.heard import Heard
from mooring.doctor.evidence.silent_streams import COMPRESSED, SilentStreams
from mooring.doctor.findings import Finding, NotRun, Verdict
from mooring.doctor.proxies import Proxy
from tests.deployments import haproxy, nginx, traefik
from tests.doctor.examined import examined
from tests.doctor.heard import head, held, pings, refused
from tests.doctor.streams import stream_server

OK, WARNING, BROKEN, UNKNOWN = Verdict.OK, Verdict.WARNING, Verdict.BROKEN, Verdict.UNKNOWN
PLAIN, GZIP, JSON = head(), head(encoding="gzip"), head(media_type="application/json")
LATE = held(35.0, *pings(15, 30), head_seconds=15.0)
PASSES = "event streams are compressed, and events pass at once: 2 came while one was open"
LATE_GZIP = held(35.0, *pings(15, 30), head_seconds=15.0, encoding="gzip")
BACK = "compressed streams hold events back: nothing came for 35 s, then 2 at once"
UNTOLD = "event streams are compressed, and nothing shows whether events are held back"


@pytest.mark.parametrize(
    ("streams", "verdict", "says"),
    [
        (Streams(PLAIN), OK, "event streams are not compressed"),
        (Streams(head(encoding="identity")), OK, "event streams are not compressed"),
        (Streams(PLAIN, held(), held()), OK, "event streams are not compressed"),
        (Streams(JSON, held(), held()), OK, "event streams are not compressed"),
        (Streams(head(media_type="application/json", encoding="gzip"), held()), OK, "event streams are not compressed"),
        (Streams(GZIP), WARNING, "event streams are compressed (gzip)"),
        (Streams(GZIP, refused(405)), WARNING, "event streams are compressed (gzip)"),
        (Streams(GZIP, held(35.0, *pings(15, 30), encoding="gzip"), held()), OK, PASSES),
        (Streams(PLAIN, held(35.0, *pings(15, 30), encoding="gzip"), held()), OK, PASSES),
        (Streams(GZIP, held(35.0, *pings(35.01, 35.01), encoding="gzip"), held()), BROKEN, BACK),
        (Streams(GZIP, held(35.0, encoding="gzip"), held()), WARNING, UNTOLD),
        (
            Streams(GZIP, LATE_GZIP, held(35.0, *pings(15, 30))),
            WARNING,
            "compression holds the head of a stream back: it came after 15 s",
        ),
        # The head comes late in any case: that is the matter of another check.
        (Streams(GZIP, LATE_GZIP, LATE), OK, PASSES),
        (Streams(Reply(trouble=Trouble.HANG)), UNKNOWN, "no stream was answered: no answer in time"),
        (Streams(head(502, "text/html")), UNKNOWN, "no stream was answered: 502"),
    ],
)
def test_the_verdict(streams: Streams, verdict: Verdict, says: str) -> None:
    found = judge(streams, Proxy.NGINX, str)
    assert isinstance(found, Finding)
    assert (found.verdict, found.says) == (verdict, says)
    assert bool(found.changes) == (verdict in (WARNING, BROKEN))
    assert all("gzip_types" in change.config for change in found.changes[:1])


@pytest.mark.parametrize("held_stream", [None, refused(405)])
def test_where_nothing_is_streamed_there_is_nothing_to_look_at(held_stream: Heard | None) -> None:
    assert judge(Streams(JSON, held_stream), None, str) == NotRun("the server sends no event streams")


def test_the_numbers_are_told() -> None:
    found = judge(Streams(GZIP, held(35.0, *pings(15), encoding="gzip")), None, str)
    assert isinstance(found, Finding)
    assert found.evidence["post_encoding"] == "gzip"
    assert found.evidence["held_stream"]["encoding"] == "gzip"
    assert found.evidence["held_stream"]["comments"] == 1


async def found_at(url: str, idle_seconds: float = 1.5, *, holds: bool = True) -> Finding | NotRun:
    async with examined(url, sessions=6) as exam:
        exam.shared(SilentStreams).begin(idle_seconds, [silent_streams.PLAIN, COMPRESSED] if holds else [])
        return await run(exam)


@pytest.mark.parametrize("lost_share", [0, 3])
async def test_a_server_that_does_not_compress(lost_share: int) -> None:
    async with stream_server(lost_share=lost_share) as server:
        found = await found_at(server.url, 0.2)
    assert isinstance(found, Finding)
    assert found.verdict is OK


async def test_a_server_without_streams() -> None:
    async with stream_server(answers="json", get=405) as server:
        assert await found_at(server.url, 0.2) == NotRun("the server sends no event streams")


@pytest.mark.real
@pytest.mark.parametrize(
    ("deploy", "verdict"),
    [
        (nginx.round_robin, OK),
        (haproxy.round_robin, OK),
        (traefik.round_robin, OK),
        (nginx.compressed, BROKEN),
        (partial(nginx.compressed, buffer=False), OK),
    ],
)
async def test_proxies(deploy: Callable[..., Any], verdict: Verdict) -> None:
    async with stream_server(ping_seconds=0.3) as server, deploy([server.url]) as url:
        found = await found_at(url)
    assert isinstance(found, Finding)
    assert found.verdict is verdict, found


@pytest.mark.real
async def test_a_proxy_that_compresses_is_seen_without_a_held_stream() -> None:
    async with stream_server() as server, nginx.compressed([server.url]) as url:
        found = await found_at(url, holds=False)
    assert isinstance(found, Finding)
    assert (found.verdict, found.says) == (WARNING, "event streams are compressed (gzip)")
