"""Sessions opened a few at a time: how many, and what it shows."""

from __future__ import annotations

import pytest
from aiohttp import web

from mooring.doctor.evidence.openings import Openings, open_sessions
from tests.doctor.examined import examined
from tests.doctor.odd import refusal, running_odd


@pytest.mark.parametrize("sessions", [2, 5, 20])
async def test_as_many_as_asked_and_no_more(sessions: int) -> None:
    async with running_odd() as odd, examined(odd.url, sessions=sessions) as exam:
        assert len(exam.sessions.opened) == len(odd.live) == sessions
        assert len({one.version for one in exam.sessions.opened}) == (4 if sessions == 20 else 1)
        await open_sessions(exam)
        assert len(odd.live) == sessions


@pytest.mark.parametrize("limit", [2, 3, 7])
async def test_a_limit_on_their_number_shows_where_one_is_closed(limit: int, quick_pace: None) -> None:
    async with running_odd() as odd:
        odd.guard = lambda request: (
            refusal(503, "Too many sessions")
            if len(odd.live) >= limit and "Mcp-Session-Id" not in request.headers
            else None
        )
        async with examined(odd.url, sessions=12) as exam:
            facts = exam.shared(Openings)
            assert (facts.held, facts.reopened) == (limit, True)
            assert len(exam.sessions.opened) == limit


async def test_where_the_first_one_alone_is_taken_it_is_kept() -> None:
    async with running_odd() as odd:
        odd.guard = lambda request: (
            web.Response(status=400) if odd.live and "Mcp-Session-Id" not in request.headers else None
        )
        async with examined(odd.url, sessions=12) as exam:
            assert len(exam.sessions.opened) == 1
            assert exam.shared(Openings).reopened is None
            assert len(exam.sessions.attempts) < 12, "refusals in a row are enough to tell"
