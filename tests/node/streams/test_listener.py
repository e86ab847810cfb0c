"""A client that is sent a stream: it may leave, stall, or make way, and whoever speaks goes on."""

from __future__ import annotations

import asyncio

import pytest

from mooring.asgi import Message
from mooring.node.passing import PassingAnswer
from mooring.node.streams import listener as listening
from mooring.node.streams.listener import Listener


class Client:
    """Takes what it is sent, until it stalls; a server raises for one that has left."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.stalls = False
        self.has_left = False
        self.is_waited_for = asyncio.Event()

    async def send(self, message: Message) -> None:
        if self.has_left:
            raise OSError("the client has left")
        if self.stalls:
            self.is_waited_for.set()
            await asyncio.Event().wait()
        self.taken.append(message.get("body", b""))


@pytest.fixture
def client() -> Client:
    return Client()


@pytest.fixture
def listener(client: Client) -> Listener:
    return Listener(PassingAnswer(), client.send)


async def stalled(listener: Listener, client: Client) -> asyncio.Task[None]:
    """A task that waits for the client to take something."""
    client.stalls = True
    taking = asyncio.create_task(listener.take(b"1"))
    await client.is_waited_for.wait()
    return taking


async def test_it_is_sent_all_in_order_and_then_nothing(listener: Listener, client: Client) -> None:
    await listener.begin({"type": "http.response.start", "status": 200, "headers": []})
    await listener.take(b"1")
    await listener.end()
    await listener.take(b"2")
    assert client.taken == [b"", b"1", b""]
    assert listener.gone.is_set()


async def test_a_client_that_has_left_is_gone_and_whoever_speaks_goes_on(listener: Listener, client: Client) -> None:
    client.has_left = True
    await listener.take(b"1")
    assert listener.is_gone
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()


async def test_one_that_stalls_is_gone_after_a_while(
    listener: Listener, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "STALL_SECONDS", 0.05)
    await listener.take(b"0")
    taking = await stalled(listener, client)
    await asyncio.wait_for(taking, 5)
    assert listener.is_gone
    assert client.taken == [b"0"]


async def test_one_that_takes_all_may_be_idle_for_as_long_as_it_likes(
    listener: Listener, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "STALL_SECONDS", 0.01)
    await listener.take(b"1")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(listener.gone.wait(), 0.1)
    await listener.take(b"2")
    assert client.taken == [b"1", b"2"]


async def test_nobody_waits_for_one_that_leaves(listener: Listener, client: Client) -> None:
    taking = await stalled(listener, client)
    listener.leave()
    listener.leave()
    await asyncio.wait_for(taking, 5)
    assert not taking.cancelling()


async def test_whoever_is_cancelled_meanwhile_ends(listener: Listener, client: Client) -> None:
    taking = await stalled(listener, client)
    taking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await taking
    assert not listener.is_gone


@pytest.mark.parametrize("leaves_first", [True, False])
async def test_so_does_whoever_is_cancelled_when_it_leaves(
    listener: Listener, client: Client, leaves_first: bool
) -> None:
    taking = await stalled(listener, client)
    for end in (listener.leave, taking.cancel) if leaves_first else (taking.cancel, listener.leave):
        end()
    with pytest.raises(asyncio.CancelledError):
        await taking


async def test_one_that_stalls_makes_way_at_once(listener: Listener, client: Client) -> None:
    taking = await stalled(listener, client)
    await asyncio.wait_for(listener.make_way(), 5)
    await asyncio.wait_for(taking, 5)
    assert client.taken == []


async def test_another_is_ended_well_when_it_makes_way(listener: Listener, client: Client) -> None:
    await listener.take(b"1")
    await listener.make_way()
    assert client.taken == [b"1", b""]
