"""A client is heard to leave even where nobody reads what it sends."""

from __future__ import annotations

import asyncio

import pytest

from mooring.asgi import Message
from mooring.node.requests.attending import AttendedClient
from tests.node.direct import Request
from tests.waiting import until

GONE = {"type": "http.disconnect"}


async def test_what_was_read_ahead_comes_in_its_order_and_then_that_the_client_has_left() -> None:
    request = Request(pieces=[b"one", b"two", b"three"])
    async with AttendedClient(request.receive) as client:
        assert not await client.leaves_within(0.01)
        pieces = [await client.receive() for _ in range(3)]
        assert [(piece["body"], piece["more_body"]) for piece in pieces] == [
            (b"one", True),
            (b"two", True),
            (b"three", False),
        ]
        reading = asyncio.ensure_future(client.receive())
        request.leave()
        assert await reading == GONE
        assert await client.receive() == GONE


async def test_a_client_is_heard_to_leave_though_nobody_reads() -> None:
    request = Request(pieces=[b"one", b"two"])
    async with AttendedClient(request.receive) as client:
        assert not await client.leaves_within(0.01)
        request.leave()
        assert await client.leaves_within(5)
        assert (await client.receive())["body"] == b"one"


async def test_no_more_is_read_ahead_than_a_limit() -> None:
    sent = 0

    async def receive() -> Message:
        nonlocal sent
        sent += 1
        return {"type": "http.request", "body": bytes(1024), "more_body": True}

    async with AttendedClient(receive) as client:
        await client.leaves_within(0.01)
        assert sent == 65
        await client.receive()
        await client.leaves_within(0.01)
        assert sent == 66


async def test_a_client_that_sends_each_byte_by_itself_is_read_no_further_ahead() -> None:
    """Each takes a message of hundreds of bytes; and some servers pass on pieces in which there is nothing."""
    for piece in (b"x", b""):
        request = Request(pieces=[piece] * 10_000)
        async with AttendedClient(request.receive) as client:
            assert not await client.leaves_within(0.05)
            assert len(client._ahead) < 300


async def test_a_client_that_cannot_be_heard_has_left() -> None:
    async def receive() -> Message:
        raise ConnectionResetError

    async with AttendedClient(receive) as client:
        assert await client.leaves_within(5)
        assert await client.receive() == GONE


async def test_work_ends_with_the_client_and_has_let_go_of_what_it_held() -> None:
    request, held = Request(), ["a connection"]

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            held.clear()

    async with AttendedClient(request.receive) as client:
        asyncio.get_running_loop().call_soon(request.leave)
        await client.attend(work())
        assert client.has_left
        assert held == []


async def test_work_that_fails_says_so_while_the_client_is_there() -> None:
    request = Request()

    async def work() -> None:
        raise ZeroDivisionError

    async with AttendedClient(request.receive) as client:
        with pytest.raises(ZeroDivisionError):
            await client.attend(work())
        request.leave()
        assert await client.leaves_within(5)
        await client.attend(work())


async def test_whoever_is_stopped_stops_the_work_and_listens_no_longer() -> None:
    request, ended = Request(), asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def serve() -> None:
        async with AttendedClient(request.receive) as client:
            await client.attend(work())

    before = asyncio.all_tasks()
    serving = asyncio.ensure_future(serve())

    async def works() -> bool:
        return len(asyncio.all_tasks() - before) == 3

    await until(works, what="the work to begin")
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert ended.is_set()
    assert asyncio.all_tasks() == before
