"""Streams that are held in silence: what is heard on them, and what they leave behind."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from yarl import URL

from mooring.doctor.client.held_stream import End
from mooring.doctor.diagnosis import diagnose
from mooring.doctor.evidence.silent_streams import COMPRESSED, PLAIN, SilentStreams
from mooring.doctor.plan import Plan
from tests.doctor.examined import examined
from tests.doctor.ledger import running_ledger
from tests.doctor.runs import Notes
from tests.doctor.streams import stream_server
from tests.waiting import until

STREAMS = frozenset({"idle", "buffering", "compression"})


async def test_the_session_is_ended_only_for_who_asks_and_the_stream_with_it() -> None:
    async with stream_server(ping_seconds=0.1) as server, examined(server.url, sessions=4) as exam:
        silence = exam.shared(SilentStreams).hold(0.35)
        assert silence is not None

        async def is_held() -> bool:
            return silence.stream is not None and silence.stream.age_seconds > 0.6

        await until(is_held, what="a stream that is held for longer than it has to be")
        assert server.deleted == []
        heard = await silence.heard(lambda _: None)
        assert server.deleted == [silence.session.id]
        assert heard.is_session_ended
        assert heard.end is End.CLEAN
        assert not heard.ended_early
        assert heard.early.comments >= 4
        assert heard.flushed.sendings <= 1  # one may be on its way just then


async def test_what_is_kept_back_comes_with_the_end_of_the_session() -> None:
    async with (
        stream_server(ping_seconds=0.05, keeps_back=True) as server,
        examined(server.url, sessions=4) as exam,
    ):
        silence = exam.shared(SilentStreams).hold(0.5)
        assert silence is not None
        heard = await silence.heard(lambda _: None)
    assert heard.is_held_back
    assert heard.is_head_late is False
    assert heard.head_seconds is not None
    assert heard.head_seconds > 0.5
    assert heard.flushed.comments > 4


async def test_several_checks_hear_the_same() -> None:
    async with stream_server() as server, examined(server.url, sessions=4) as exam:
        exam.shared(SilentStreams).begin(0.2, [PLAIN])
        silence = exam.shared(SilentStreams).held.get(PLAIN)
        assert silence is not None
        one, other = await asyncio.gather(silence.heard(lambda _: None), silence.heard(lambda _: None))
        assert one is other
        assert server.streams == 1


async def test_nobody_elses_session_is_used_where_there_are_enough() -> None:
    async with stream_server() as server, examined(server.url, sessions=6) as exam:
        opened = list(exam.sessions.opened)
        exam.shared(SilentStreams).begin(0.1, [PLAIN, COMPRESSED])
        more = [exam.shared(SilentStreams).hold(0.1) for _ in range(4)]
        begun = [exam.shared(SilentStreams).held.get(PLAIN), exam.shared(SilentStreams).held.get(COMPRESSED), *more]
        used = [silence.session for silence in begun if silence is not None]
        assert used == opened[1:-1]
        assert begun[4:] == [None, None]
        await asyncio.gather(*(silence.heard(lambda _: None) for silence in begun if silence is not None))
        assert exam.sessions.opened == [opened[0], opened[-1]]


async def test_the_only_session_to_look_at_is_not_ended() -> None:
    async with stream_server() as server, examined(server.url, sessions=2) as exam:
        exam.shared(SilentStreams).begin(0.1, [PLAIN, COMPRESSED])
        assert set(exam.shared(SilentStreams).held) == {PLAIN}
        heard = await exam.shared(SilentStreams).held[PLAIN].heard(lambda _: None)
        assert server.deleted == []
        assert (heard.is_session_ended, heard.end) == (False, None)


async def test_who_waits_says_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mooring.doctor.evidence.silent_streams._STEP_SECONDS", 0.1)
    steps = list[str]()
    async with stream_server() as server, examined(server.url, sessions=4) as exam:
        silence = exam.shared(SilentStreams).hold(0.55)
        assert silence is not None
        await silence.heard(steps.append)
    assert 2 <= len(steps) <= 5
    assert all(step.startswith("holding a silent stream, ") for step in steps)


async def test_an_examination_that_is_closed_lets_go_of_its_streams() -> None:
    async with stream_server() as server, examined(server.url, sessions=5) as exam:
        exam.shared(SilentStreams).begin(60.0, [PLAIN, COMPRESSED])

        async def both() -> bool:
            return server.streams == 2

        await until(both, what="two streams")
    assert len(server.deleted) == 5
    assert exam.sessions.left == 0


async def test_an_interrupted_run_leaves_nothing_open() -> None:
    async with stream_server() as server:
        task = asyncio.create_task(diagnose(Plan(URL(server.url), sessions=6, calls=1), Notes()))

        async def waits() -> bool:
            return server.streams == 2

        await until(waits, what="the streams to be held")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert len(server.deleted) == 6


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"only": STREAMS - {"idle"}, "idle_seconds": 0.0}, 0),
        ({"only": frozenset({"idle"}), "idle_seconds": 0.0}, 1),
        ({"only": STREAMS, "idle_seconds": 1.0, "read_only": True}, 0),
        ({"only": frozenset({"eras"}), "idle_seconds": 1.0}, 0),
        ({"only": frozenset({"idle"}), "idle_seconds": 0.1}, 1),
        ({"only": frozenset({"buffering"}), "idle_seconds": 0.1}, 1),
        ({"only": frozenset({"compression"}), "idle_seconds": 0.1}, 1),
        ({"only": STREAMS, "idle_seconds": 0.1}, 2),
    ],
)
async def test_no_stream_is_held_that_nobody_asks_about(fields: dict[str, Any], expected: int) -> None:
    async with running_ledger() as ledger:
        plan = Plan(URL(ledger.url), sessions=6, calls=1, **fields)
        await diagnose(plan, Notes())
    assert ledger.methods.count("GET") == expected
