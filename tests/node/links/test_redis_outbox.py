"""What waits for a place in a peer's mailbox: see the table in the module."""

from __future__ import annotations

import asyncio

import pytest

from mooring.node.links.redis_outbox import ROOM_BYTES, Outbox
from tests.node.links.mailboxes import ANSWERS, ASKS, PostOffice
from tests.waiting import until


async def brief(seconds: float) -> None:
    await asyncio.sleep(min(seconds, 0.001))


def outbox(office: PostOffice, *, is_dead: bool = False) -> Outbox:
    return Outbox(ANSWERS, office.of(ASKS), lambda _: is_dead, brief)


def lies(office: PostOffice) -> list[bytes]:
    return [frame for _, frame in office.boxes[ANSWERS]]


async def test_frames_go_out_in_their_order_however_little_room_there_is() -> None:
    office, read = PostOffice({ANSWERS: []}, room=3), []
    out = outbox(office)
    letters = [out.put(b"%d" % number) for number in range(200)]

    async def all_read() -> bool:
        read.extend(lies(office))
        office.boxes[ANSWERS].clear()
        return len(read) == 200

    await until(all_read, what="all frames")
    assert read == [b"%d" % number for number in range(200)]
    assert all(letter.is_posted.is_set() for letter in letters)


async def test_a_peer_without_a_mailbox_is_told_of_once_and_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    office = PostOffice()
    out = outbox(office)
    letter = out.put(b"x")
    await asyncio.sleep(0.02)
    assert not letter.is_posted.is_set()
    assert not letter.is_doubtful
    office.boxes[ANSWERS] = []
    await letter.is_posted.wait()
    assert lies(office) == [b"x"]
    assert caplog.text.count("peer_link") == 1


async def test_where_redis_does_not_say_what_became_of_it_it_is_written_again() -> None:
    office = PostOffice({ANSWERS: []}, is_away=True, takes_though_away=True)
    out = outbox(office)
    letter = out.put(b"x")
    await asyncio.sleep(0.01)
    office.is_away = False
    await letter.is_posted.wait()
    assert set(lies(office)) == {b"x"}
    assert len(lies(office)) > 1
    assert letter.may_be_there
    assert not await out.take_back(letter)


async def test_what_redis_is_about_to_take_while_this_node_stops_may_be_there() -> None:
    office = PostOffice({ANSWERS: []})
    office.takes.clear()
    out = outbox(office)
    letter = out.put(b"x")
    await asyncio.sleep(0.01)
    assert letter.may_be_there
    out.close()
    await letter.until_known()
    assert letter.may_be_there
    assert not await out.take_back(letter)


async def test_what_was_withdrawn_is_not_written() -> None:
    office = PostOffice(is_away=True)
    out = outbox(office)
    first, second = out.put(b"1"), out.put(b"2")
    first.is_withdrawn = True
    office.boxes[ANSWERS] = []
    office.is_away = False
    await second.is_posted.wait()
    assert lies(office) == [b"2"]


async def test_nothing_is_written_to_the_dead() -> None:
    office = PostOffice({ANSWERS: []})
    out = outbox(office, is_dead=True)
    letter = out.put(b"x")
    await until_empty(out)
    assert lies(office) == []
    assert not letter.is_posted.is_set()
    assert await out.take_back(letter)


async def test_what_lies_there_is_taken_back_and_nothing_else() -> None:
    office = PostOffice({ANSWERS: []})
    out = outbox(office)
    first, second = out.put(b"1"), out.put(b"2")
    await second.is_posted.wait()
    office.boxes[ANSWERS].pop(0)
    assert not await out.take_back(first)
    assert await out.take_back(second)
    office.is_away = True
    assert not await out.take_back(second)


async def test_bodies_wait_while_too_much_waits_here() -> None:
    office = PostOffice()
    out = outbox(office)
    out.put(bytes(ROOM_BYTES))
    waiting = asyncio.ensure_future(out.room())
    await asyncio.sleep(0.01)
    assert not waiting.done()
    office.boxes[ANSWERS] = []
    await waiting


async def until_empty(out: Outbox) -> None:
    async def empty() -> bool:
        return out.is_empty

    await until(empty, what="nothing to wait there")
