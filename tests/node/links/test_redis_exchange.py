"""One request and its answer between two nodes: said in order, heard once, held back by who does not read."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from mooring.core.frames import WINDOW_BYTES, Kind, Part, encode_credit, encode_start
from mooring.node.links.redis_exchange import BrokenOff
from tests.fakes import Clock
from tests.node.links.mailboxes import ANSWERS, ASKS, two_ends


async def test_what_is_said_is_heard_in_its_order() -> None:
    async with two_ends() as ends:
        mine, theirs = await ends.begun()
        await mine.say_body(b"a")
        await mine.say_body(b"b")
        mine.say(Part(Kind.END))
        theirs.say(encode_start(200, []))
        await theirs.say_body(b"c")
        assert [(await theirs.hear()).data for _ in range(3)] == [b"a", b"b", b""]
        assert (await mine.hear()).kind is Kind.START
        assert (await mine.hear()).data == b"c"


async def test_a_body_waits_for_who_reads_it() -> None:
    async with two_ends() as ends:
        mine, theirs = await ends.begun()
        body = bytes(range(256)) * 4096
        sending = asyncio.ensure_future(mine.say_body(body))
        await ends.turns(200)
        assert not sending.done()
        assert sum(len(part.data) for part in theirs._heard) == WINDOW_BYTES
        got = b""
        while len(got) < len(body):
            got += (await theirs.hear()).data
        await sending
        assert got == body


async def test_who_sends_more_than_it_may_is_left() -> None:
    async with two_ends() as ends:
        mine, theirs = await ends.begun()
        for _ in range(WINDOW_BYTES // 1024 + 1):
            mine.say(Part(Kind.BODY, bytes(1024)))
        await ends.turns()
        assert theirs.is_broken
        assert theirs.is_over
        await ends.turns()
        assert mine.is_broken


async def test_a_credit_that_does_not_read_breaks_it_off() -> None:
    async with two_ends() as ends:
        mine, theirs = await ends.begun()
        mine.say(Part(Kind.CREDIT, b"x"))
        await ends.turns()
        assert theirs.is_broken
        mine, theirs = await ends.begun()
        mine.say(encode_credit(2**32 - 1))  # no more than the window, whatever it says
        await ends.turns()
        assert theirs._credit.left == WINDOW_BYTES


async def test_who_leaves_is_heard_and_what_came_before_it_as_well() -> None:
    async with two_ends() as ends:
        mine, theirs = await ends.begun()
        await mine.say_body(b"a")
        mine.close(Part(Kind.LEAVE))
        await theirs.breaks()
        assert (await theirs.hear()).data == b"a"
        with pytest.raises(BrokenOff):
            await theirs.hear()
        with pytest.raises(BrokenOff):
            await mine.say_body(b"b")


async def test_a_frame_that_was_lost_breaks_it_off_on_both_sides() -> None:
    async with two_ends() as ends:
        mine, theirs = await ends.begun()
        ends.office.loses = lambda frame: True
        await mine.say_body(b"lost")
        await ends.turns()
        ends.office.loses = lambda frame: False
        await mine.say_body(b"later")
        await ends.turns()
        assert theirs.is_broken
        assert mine.is_broken


async def test_a_frame_that_comes_twice_is_heard_once() -> None:
    async with two_ends() as ends:
        mine, theirs = await ends.begun()
        ends.office.is_away = ends.office.takes_though_away = True
        await mine.say_body(b"a")
        await asyncio.sleep(0.05)  # written, and written again
        ends.office.is_away = ends.office.takes_though_away = False
        await mine.say_body(b"b")
        assert [(await theirs.hear()).data for _ in range(2)] == [b"a", b"b"]
        assert ends.office.posted > 3


async def test_a_silence_is_asked_after_and_a_loss_shows() -> None:
    clock = Clock()
    async with two_ends(clock) as ends:
        mine, theirs = await ends.begun()
        ends.office.loses = lambda frame: True
        theirs.say(encode_start(200, []))
        await ends.turns()
        ends.office.loses = lambda frame: False
        clock.now += 5.0
        ends.asking.tick()
        await ends.turns()
        assert mine.is_broken  # the answer to SYNC has a number that is not due


async def test_what_was_not_written_to_a_peer_that_was_dead_for_a_moment_shows() -> None:
    clock = Clock()
    async with two_ends(clock) as ends:
        mine, theirs = await ends.begun()
        ends.dead.add(ASKS)
        theirs.say(encode_start(200, []))
        await ends.turns()
        ends.dead.clear()  # it renewed its lease after all, before anybody noticed
        clock.now += 5.0
        ends.asking.tick()
        await ends.turns()
        assert mine.is_broken


async def test_a_stream_that_stays_silent_is_asked_after_less_and_less() -> None:
    clock = Clock()
    async with two_ends(clock) as ends:
        mine, _ = await ends.begun()
        asked_after = []
        for second in range(400):
            before = ends.office.posted
            clock.now += 1.0
            ends.asking.tick()
            await ends.turns()
            ends.answering.tick()
            if ends.office.posted > before:
                asked_after.append(second)
        assert not mine.is_broken
        assert [later - one for one, later in itertools.pairwise(asked_after)] == [10, 20, 40, 60, 60, 60, 60, 60]


async def test_a_stream_that_says_little_at_a_time_goes_on_for_as_long_as_it_likes() -> None:
    clock = Clock()
    async with two_ends(clock) as ends:
        mine, theirs = await ends.begun()
        for _ in range(400):
            await theirs.say_body(b"data: 1\n\n")
            await ends.turns()
            assert (await mine.hear()).data
            clock.now += 1.0
            ends.asking.tick()
            await ends.turns()
            ends.answering.tick()
        assert not theirs.is_broken


async def test_the_side_that_forgot_it_says_so() -> None:
    clock = Clock()
    async with two_ends(clock) as ends:
        mine, theirs = await ends.begun()
        ends.answering._exchanges.clear()
        clock.now += 5.0
        ends.asking.tick()
        await ends.turns()
        with pytest.raises(BrokenOff, match="does not know it"):
            await mine.hear()
        assert not theirs.is_broken


async def test_what_is_done_for_a_node_ends_with_its_lease() -> None:
    async with two_ends() as ends:
        mine, theirs = await ends.begun()
        ends.dead |= {ASKS, ANSWERS}
        ends.asking.tick()
        ends.answering.tick()
        assert theirs.is_broken
        assert not mine.is_broken  # who asked has last words for its client, and sees to it


async def test_one_whose_asker_says_nothing_any_more_is_given_up() -> None:
    clock = Clock()
    async with two_ends(clock) as ends:
        mine, theirs = await ends.begun()
        ends.asking._exchanges.clear()
        clock.now += 181.0
        ends.answering.tick()
        assert theirs.is_broken
        assert not mine.is_broken
