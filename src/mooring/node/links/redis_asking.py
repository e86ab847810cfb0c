"""Passing a request on to its owner through Redis, where no other way leads there: signed as ever, sealed, streamed.

What can go wrong before the answer starts is told as by `mooring.node.links.http`:

    seen                                          told as                    was the request carried out?
    it did not get into the peer's mailbox        PeerSilent                 no
    Redis did not say whether it did              PeerSilent, may_have_run   nobody knows
    the peer stops, and takes nothing             PeerSilent                 no
    the peer's lease ended, and the request is    PeerSilent                 no
    in its mailbox as yet
    it broke off, or the peer's lease ended       PeerSilent, may_have_run   nobody knows
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Final

from mooring.asgi import HeaderList
from mooring.core.frames import Kind, Part, decode_start, encode_open
from mooring.core.model import NodeInfo
from mooring.core.request import REPLY_HEADER
from mooring.errors import PeerSilent, SealBroken
from mooring.node.links.hop import Lives, check_reply, pass_back, signed_request
from mooring.node.links.peer_link import PassedRequest
from mooring.node.links.redis_exchange import BrokenOff, Exchange
from mooring.node.links.redis_relay import Relay

_THROUGH: Final = "through Redis"


class RedisForwarder:
    """
    Args:
        key: for signatures, derived from the cluster secret.
        post_seconds: how long a request may take to get into the peer's mailbox.
        hold_seconds: how long in all where Redis does not say whether it is there: it may just be slow.
    """

    def __init__(
        self,
        relay: Relay,
        key: bytes,
        node_id: str,
        post_seconds: float,
        hold_seconds: float,
        lives: Lives,
        now: Callable[[], float],
    ) -> None:
        self._relay = relay
        self._key = key
        self._node_id = node_id
        self._post_seconds = post_seconds
        self._hold_seconds = hold_seconds
        self._lives = lives
        self._now = now

    async def aclose(self) -> None:
        """The relay is its node's to stop."""

    async def goes_past(self, peer: NodeInfo) -> bool:
        """Always: it comes to no server of the peer's."""
        return True

    async def forward(self, peer: NodeInfo, request: PassedRequest) -> None:
        """As in `PeerLink`."""
        signed = await signed_request(self._key, self._node_id, peer, request, int(self._now() * 1000))
        exchange = self._relay.begin(peer.id)
        exchange.say(encode_open(signed.method, signed.target, signed.headers))
        sending = asyncio.ensure_future(_send_body(exchange, signed.body))
        try:
            await self._post(peer, exchange)
            status, headers = await self._start(peer, exchange, sending)
            said = dict(headers).get(REPLY_HEADER, b"").decode("latin-1")
            check_reply(self._key, said, request.nonce, peer, status, f"of node {peer.id} {_THROUGH}")
            async with aclosing(_pieces(exchange)) as pieces:
                await pass_back(peer, self._lives, (status, headers), pieces, request)
        finally:
            sending.cancel()
            exchange.withdraw()

    async def get(self, peer: NodeInfo, target: str, headers: HeaderList) -> tuple[int, HeaderList, bytes]:
        """As in `PeerRelay`."""
        exchange = self._relay.begin(peer.id)
        exchange.say(encode_open("GET", target.encode(), headers))
        exchange.say(Part(Kind.END))
        nothing: asyncio.Future[None] = asyncio.ensure_future(asyncio.sleep(0))
        try:
            await self._post(peer, exchange)
            status, answered = await self._start(peer, exchange, nothing)
            async with aclosing(_pieces(exchange)) as pieces:
                return status, answered, b"".join([piece async for piece in pieces])
        except BrokenOff as error:
            raise PeerSilent(f"node {peer.id} broke off: {error}", may_have_run=True) from error
        finally:
            exchange.withdraw()

    async def _post(self, peer: NodeInfo, exchange: Exchange) -> None:
        """Wait until the request is in the peer's mailbox.

        Raises:
            PeerSilent: it did not get there, as far as is known.
        """
        await asyncio.sleep(0)  # it goes out with the first piece of its body
        await asyncio.sleep(0)
        first = exchange.first
        if first is None:
            raise PeerSilent(f"node {peer.id} was not written to", may_have_run=False)
        if await first.is_there_within(self._post_seconds):
            return
        await first.until_known()  # it may be taken yet, and must not go out a second time then
        if first.is_posted.is_set():
            return
        if first.may_be_there and await first.is_there_within(self._hold_seconds - self._post_seconds):
            return
        may_have_run = exchange.withdraw()
        raise PeerSilent(f"node {peer.id} cannot be written to {_THROUGH}", may_have_run=may_have_run)

    async def _start(self, peer: NodeInfo, exchange: Exchange, sending: asyncio.Future[None]) -> tuple[int, HeaderList]:
        """The status and the headers of the answer."""
        hearing = asyncio.ensure_future(exchange.hear())
        sending.add_done_callback(lambda done: _leave_if_failed(exchange, done))
        try:
            if not await self._lives.is_done(peer, hearing):
                raise BrokenOff(f"node {peer.id} died")
            part = hearing.result()
            if part.kind is Kind.REFUSE:
                raise PeerSilent(f"node {peer.id} takes no more requests", may_have_run=False)
            return decode_start(part)
        except (BrokenOff, SealBroken) as error:
            is_unread = not self._lives.is_alive(peer.id) and await exchange.was_never_read()
            raise PeerSilent(
                f"node {peer.id} did not answer {_THROUGH}: {error}", may_have_run=not is_unread
            ) from error
        finally:
            hearing.cancel()


async def _send_body(exchange: Exchange, body: AsyncGenerator[bytes, None] | None) -> None:
    if body is not None:
        async with aclosing(body):
            async for piece in body:
                await exchange.say_body(piece)
    exchange.say(Part(Kind.END))


def _leave_if_failed(exchange: Exchange, sending: asyncio.Future[None]) -> None:
    """The client left in the middle of its request."""
    if not sending.cancelled() and sending.exception() is not None:
        exchange.break_off("the request's own body broke off")


async def _pieces(exchange: Exchange) -> AsyncGenerator[bytes, None]:
    while (part := await exchange.hear()).kind is not Kind.END:
        yield part.data
