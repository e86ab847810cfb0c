"""How fast the doctor sends, and what it makes of what is refused."""

from __future__ import annotations

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from mooring.doctor.client import pace as module
from mooring.doctor.client.pace import Pace, is_limit, looks_limited
from mooring.doctor.client.reply import Reply, Trouble
from tests.doctor.examples import REACHED, THROTTLED, UNAVAILABLE

DOWN = Reply(status=503, body=b"no available server")
NGINX = Reply(status=503, body=b"<center>nginx/1.22</center>")


pytestmark = pytest.mark.usefixtures("quick_pace")


async def send(pace: Pace, reply: Reply, times: int = 1, *, is_opening: bool = False) -> list[bool]:
    """Whether each is to be sent again."""
    said = []
    for _ in range(times):
        async with pace.turn(is_opening=is_opening) as stage:
            pass
        said.append(pace.is_to_be_sent_again(reply, stage, is_opening=is_opening))
    return said


@pytest.mark.parametrize(
    ("reply", "looks", "certain"),
    [
        (THROTTLED, True, True),
        (DOWN, True, False),
        (NGINX, True, True),
        (UNAVAILABLE, False, False),
        (Reply(trouble=Trouble.HANG), False, False),
        (REACHED, False, False),
        (Reply(status=503, body=b"Too many open sessions"), False, False),
        (Reply(status=503, body=b"No server is available", seconds=3.0), False, False),
        (Reply(status=429, seconds=3.0), True, True),
    ],
)
def test_what_may_be_a_limit(reply: Reply, looks: bool, certain: bool) -> None:
    assert (looks_limited(reply), is_limit(reply)) == (looks, certain)


async def test_what_passes_is_not_slowed_down() -> None:
    pace = Pace()
    assert not any(await send(pace, REACHED, 50))
    assert (pace.is_slow, pace.interval_seconds, pace.is_limit) == (False, 0.0, False)


async def test_one_refusal_where_nobody_was_busy_says_nothing_of_a_rate() -> None:
    pace = Pace()
    assert await send(pace, DOWN) == [False]
    assert not pace.is_slow


@pytest.mark.parametrize("refused", [THROTTLED, DOWN, NGINX])
async def test_a_limit_is_one_that_a_slower_pace_keeps(refused: Reply) -> None:
    pace = Pace()
    await send(pace, REACHED, 10)
    assert await send(pace, refused) == [True]
    assert pace.is_slow
    await send(pace, REACHED, 5)
    assert pace.is_limit
    assert pace.rate_refused > 3


async def test_a_node_that_is_down_is_no_limit() -> None:
    pace = Pace()
    await send(pace, REACHED, 10)
    for _ in range(6):
        await send(pace, REACHED, 2)
        await send(pace, DOWN)
    assert pace.is_given_up
    assert not pace.is_limit
    assert pace.interval_seconds == 0.0
    assert await send(pace, DOWN) == [False]


async def test_openings_that_are_refused_slow_down_nothing_else() -> None:
    pace = Pace()
    await send(pace, REACHED, 10)
    await send(pace, DOWN, is_opening=True)
    assert (pace.opens_slowly, pace.is_slow, pace.is_in_doubt) == (True, False, True)
    await send(pace, REACHED, 20)
    assert not pace.is_limit, "calls that pass say nothing of openings"
    await send(pace, REACHED, 5, is_opening=True)
    assert pace.is_limit


async def test_what_is_always_refused_is_not_sent_again_for_ever() -> None:
    pace = Pace()
    await send(pace, REACHED, 5)
    assert sum(await send(pace, THROTTLED, 50)) <= 5


def test_how_long_a_server_wants_one_to_wait() -> None:
    def wait(text: str) -> float:
        return module._wait_seconds(Reply(status=429, headers=CIMultiDictProxy(CIMultiDict({"Retry-After": text}))))

    assert [wait(text) for text in ("2", "3600", "soon", "")] == [2.0, 5.0, 0.0, 0.0]


def test_what_is_kept_sends_nothing_again() -> None:
    pace = Pace()
    pace.keep()
    for _ in range(5):
        pace._note_sent()
    assert not pace.is_to_be_sent_again(Reply(status=503), 0)
    assert not pace.is_slow


async def test_what_refuses_openings_alone_does_not_slow_down_all_else() -> None:
    pace = Pace()
    await send(pace, REACHED, 10)
    for _ in range(6):
        await send(pace, THROTTLED, is_opening=True)
    assert (pace.opens_slowly, pace.is_slow, pace.refuses_openings_alone) == (True, False, True)
    await send(pace, REACHED, 10)
    await send(pace, THROTTLED)
    assert (pace.is_slow, pace.refuses_openings_alone) == (True, False)
