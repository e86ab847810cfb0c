"""What an event stream says of itself, and when what came on it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest

from mooring.doctor.client.event_stream import stream_facts
from mooring.doctor.client.held_stream import End, HeldStream, reach_stream
from mooring.doctor.client.protocol import EVENT_STREAM, request
from mooring.doctor.client.reply import Trouble
from mooring.doctor.examination import Examination
from tests.doctor.examined import examined
from tests.doctor.streams import PRIMING, stream_server
from tests.ports import free_port

SECONDS = 5.0


def headers(exam: Examination) -> Callable[[int], dict[str, str]]:
    session = exam.first
    assert session is not None
    return lambda _: {"Mcp-Session-Id": session.id, "Accept": EVENT_STREAM}


@contextlib.asynccontextmanager
async def reached(tries: int = 1, seconds: float = SECONDS, **options: Any) -> AsyncIterator[HeldStream]:
    """The standalone stream of a server with these options."""
    async with stream_server(**options) as server, examined(server.url, sessions=2) as exam:
        stream = await reach_stream(exam.wire, headers(exam), tries=tries, seconds=seconds)
        try:
            yield stream
        finally:
            await stream.close()


async def test_pieces_come_with_their_times() -> None:
    async with reached(ping_seconds=0.5, first_words=PRIMING) as stream:
        assert stream.is_stream
        assert await stream.until(lambda: len(stream.arrivals) == 3, SECONDS)
        first, second, third = (arrival.seconds for arrival in stream.arrivals)
        assert stream.head_seconds is not None
        assert stream.head_seconds <= first < 0.5 <= second < third
        assert stream.end is None


@pytest.mark.parametrize(("option", "end"), [("end_seconds", End.CLEAN), ("cut_seconds", End.CUT)])
async def test_how_it_ends_is_told(option: str, end: End) -> None:
    options: dict[str, Any] = {option: 0.2}
    async with reached(**options) as stream:
        assert await stream.wait(SECONDS)
        assert stream.end is end
        assert stream.ended_seconds == pytest.approx(0.2, abs=0.15)
        assert stream.trouble is (Trouble.CUT if end is End.CUT else None)


async def test_waiting_for_what_does_not_come_is_over_with_the_stream_or_the_time() -> None:
    async with reached(end_seconds=0.2) as stream:
        assert not await stream.until(lambda: bool(stream.arrivals), 0.05)
        assert stream.end is None
        assert not await stream.until(lambda: bool(stream.arrivals), SECONDS)
        assert stream.end is End.CLEAN


async def test_whoever_waits_is_told_when_it_is_closed() -> None:
    async with reached() as stream:
        await stream.close()
        assert not await stream.wait(SECONDS)
        assert stream.end is None


async def test_a_refusal_is_no_stream_and_has_a_body() -> None:
    async with reached(get=403) as stream:
        assert stream.is_refused
        assert stream.reply.label == "403 no stream"


async def test_a_head_that_does_not_come_is_still_waited_for() -> None:
    async with reached(seconds=0.05, get_pause_seconds=0.3) as stream:
        assert (stream.is_stream, stream.is_refused) == (False, False)
        assert await stream.head(SECONDS)
        assert stream.is_stream
        assert stream.head_seconds == pytest.approx(0.3, abs=0.15)


@pytest.mark.parametrize(("tries", "is_stream"), [(2, False), (3, True), (12, True)])
async def test_it_is_asked_for_until_a_node_knows_the_session(tries: int, is_stream: bool) -> None:
    async with reached(tries, lost_share=3) as stream:
        assert stream.is_stream is is_stream
        assert stream.is_refused is not is_stream


async def test_a_stream_that_the_server_still_holds_for_us_is_asked_for_again() -> None:
    async with reached(taken=2) as stream:
        assert stream.is_stream


async def test_a_stream_that_is_never_let_go_of_is_a_refusal() -> None:
    async with reached(taken=1_000) as stream:
        assert stream.is_refused
        assert stream.reply.label == "409 Conflict: Only one SSE stream is allowed per session"


async def test_nothing_raises_where_nobody_listens() -> None:
    async with stream_server() as server, examined(server.url, sessions=2) as exam:
        exam.wire.url = exam.wire.url.with_port(free_port())
        stream = await reach_stream(exam.wire, headers(exam), tries=3, seconds=SECONDS)
        assert (stream.status, stream.trouble, stream.is_refused) == (0, Trouble.REFUSED, True)


async def test_an_answer_that_began_can_be_read_on() -> None:
    async with stream_server(end_seconds=0.1) as server, examined(server.url, sessions=2) as exam:
        response: aiohttp.ClientResponse = await exam.wire.open("GET", headers=headers(exam)(0))
        stream = HeldStream(response)
        assert await stream.wait(float("inf"))
        assert stream.end is End.CLEAN


async def test_a_post_is_read_in_the_same_way() -> None:
    async with stream_server(ids="primed") as server, examined(server.url, sessions=2) as exam:
        stream = await reach_stream(exam.wire, headers(exam), request(77, "ping"), tries=1, seconds=SECONDS)
        assert await stream.wait(SECONDS)
        assert stream_facts(stream.body).is_primed
