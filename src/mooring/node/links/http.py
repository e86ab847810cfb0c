"""Passing a request on to the node that owns it: streamed both ways, signed, at most one hop.

The client's Host stays (apps check it), hop-by-hop headers go, no header is doubled, and connections are pooled. What
can go wrong before the answer starts is told by an exception, so that the caller can still answer. None of it says that
the peer is dead:

    seen                                          told as                    was the request carried out?
    no connection: refused, no route, in no time  PeerSilent                 no
    the peer refuses our signature                PeerSilent                 no
    the connection broke; the answer is not       PeerSilent, may_have_run   nobody knows
    signed, or not by the peer
    the peer's lease ended while we waited        PeerSilent, may_have_run   nobody knows
    the peer has had this very request before     PeerSilent, is_final       nobody knows
    the peer does not own the shard               PeerMoved                  no
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from mooring.asgi import HeaderList, Receive, Scope, Send, has_body, header, target_of
from mooring.core.model import NodeInfo, ShardOwner
from mooring.core.request import INTERNAL_HEADERS
from mooring.core.signing import (
    ACCEPTED,
    BODY_MAC_BYTES,
    NO_BODY,
    REFUSED,
    SEEN,
    SIGNED_BODY,
    BodyMac,
    PeerClaim,
    owner_in,
    sign_request,
    verify_reply,
)
from mooring.errors import PeerMoved, PeerSilent, SignatureError

logger = logging.getLogger("mooring.forwarding")

_HOP_BY_HOP: Final = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""RFC 9110, section 7.6.1, with those that older proxies still send."""

_NOT_ON_REQUESTS: Final = _HOP_BY_HOP | INTERNAL_HEADERS | {b"content-length", b"expect"}
_NOT_ON_ANSWERS: Final = _HOP_BY_HOP | INTERNAL_HEADERS | {b"date", b"server"}
"""Our own server writes Date and Server."""

_IDLE_SECONDS: Final = 4.0
"""Shorter than the 5 s after which uvicorn by default closes an idle connection: else a request meets the close."""


class Forwarder:
    """Passes requests on to the peers.

    Args:
        key: for signatures, derived from the cluster secret.
        is_alive: whether a node's lease is alive, asked while its answer is awaited.
        check_seconds: how often that is asked.
    """

    def __init__(
        self,
        key: bytes,
        node_id: str,
        connect_seconds: float,
        is_alive: Callable[[str], bool],
        check_seconds: float,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._key = key
        self._node_id = node_id
        self._connect_seconds = connect_seconds
        self._is_alive = is_alive
        self._check_seconds = check_seconds
        self._now = now
        # Opened by the first forward, since it belongs to the loop that runs then.
        self._client: aiohttp.ClientSession | None = None

    async def aclose(self) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def forward(
        self,
        peer: NodeInfo,
        nonce: str,
        session_id: str | None,
        principal: str,
        scope: Scope,
        receive: Receive,
        send: Send,
        last_words: Callable[[], bytes],
    ) -> None:
        """Pass the request to `peer` and its answer back, until it ends, the client leaves, or the peer's lease ends.

        Args:
            nonce: of this request; the same again where it may have reached this peer before.
            last_words: what ends an event stream whose owner died.

        Raises:
            PeerSilent, PeerMoved: nothing was sent to the client yet.
        """
        answer = await self._ask(peer, nonce, session_id, principal, scope, receive)
        try:
            self._verify(answer, peer, nonce)
            await self._pass_back(peer, answer, receive, send, last_words)
        finally:
            answer.close()

    async def _ask(
        self, peer: NodeInfo, nonce: str, session_id: str | None, principal: str, scope: Scope, receive: Receive
    ) -> aiohttp.ClientResponse:
        """The peer's answer as far as its headers."""
        given: HeaderList = scope["headers"]
        length = header(given, b"content-length")
        is_signed = has_body(given)
        dropped = _NOT_ON_REQUESTS | _named_in(given)
        headers = CIMultiDict((_text(name), _text(value)) for name, value in given if name not in dropped)
        claim = PeerClaim(
            self._node_id, peer.id, int(self._now() * 1000), nonce, principal, SIGNED_BODY if is_signed else NO_BODY
        )
        target = target_of(scope)
        headers["Mooring-Peer"] = sign_request(self._key, claim, scope["method"], target, session_id)
        if is_signed and length is not None and length.isdigit():
            headers["Content-Length"] = str(int(length) + BODY_MAC_BYTES)
        request = self._open_client().request(
            scope["method"],
            URL(peer.url + target.decode("latin-1"), encoded=True),
            headers=headers,
            data=_signed(receive, BodyMac(self._key, nonce)) if is_signed else None,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            allow_redirects=False,
        )
        asking = asyncio.ensure_future(_translated(request, peer))
        try:
            if not await self._is_done_while_alive(peer, asking):
                raise PeerSilent(f"node {peer.id} died before it answered", may_have_run=True)
            return asking.result()
        finally:
            asking.cancel()

    async def _is_done_while_alive(self, peer: NodeInfo, *tasks: asyncio.Future[Any]) -> bool:
        """Wait for one of these for as long as the peer lives: a tool may take its time, a dead node has none."""
        while True:
            done, _ = await asyncio.wait(tasks, timeout=self._check_seconds, return_when=asyncio.FIRST_COMPLETED)
            if done:
                return True
            if not self._is_alive(peer.id):
                return False

    def _verify(self, answer: aiohttp.ClientResponse, peer: NodeInfo, nonce: str) -> None:
        said = answer.headers.get("Mooring-Reply", "")
        try:
            verdict = verify_reply(self._key, said, nonce, peer.id, answer.status)
        except SignatureError as error:
            raise PeerSilent(f"at {peer.url} (HTTP {answer.status}): {error}", may_have_run=True) from error
        if verdict == REFUSED:
            raise PeerSilent(f"node {peer.id} refuses our signature: do the clocks agree?", may_have_run=False)
        if verdict == SEEN:
            raise PeerSilent(f"node {peer.id} has had this request before", may_have_run=True, is_final=True)
        if verdict != ACCEPTED:
            owner = owner_in(verdict) or ShardOwner("", 0)
            raise PeerMoved(f"node {peer.id} does not own the shard", owner.node_id, owner.epoch)

    async def _pass_back(
        self,
        peer: NodeInfo,
        answer: aiohttp.ClientResponse,
        receive: Receive,
        send: Send,
        last_words: Callable[[], bytes],
    ) -> None:
        raw = [(name.lower(), value) for name, value in answer.raw_headers]
        dropped = _NOT_ON_ANSWERS | _named_in(raw)
        headers = [(name, value) for name, value in raw if name not in dropped]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        leaving = asyncio.ensure_future(_until_disconnect(receive))
        pump = _Pump(answer, send)
        pumping = asyncio.ensure_future(pump.run())
        try:
            if not await self._is_done_while_alive(peer, leaving, pumping):
                pumping.cancel()
                await asyncio.wait({pumping})
                await pump.end_for_a_dead_owner(last_words())
            elif pumping.done():
                pumping.result()
        finally:
            leaving.cancel()
            pumping.cancel()

    def _open_client(self) -> aiohttp.ClientSession:
        if self._client is None:
            self._client = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE_SECONDS),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._connect_seconds),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
            )
        return self._client


async def _translated(request: aiohttp.client._RequestContextManager, peer: NodeInfo) -> aiohttp.ClientResponse:
    """The answer, with aiohttp's errors in our words."""
    try:
        return await request
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
        raise PeerSilent(
            f"node {peer.id} cannot be reached at {peer.url}: {_said(error)}", may_have_run=False
        ) from error
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise PeerSilent(f"node {peer.id} at {peer.url} did not answer: {_said(error)}", may_have_run=True) from error


def _said(error: Exception) -> str:
    return str(error) or type(error).__name__


async def _signed(receive: Receive, mac: BodyMac) -> AsyncIterator[bytes]:
    """The request's body as it comes, then its MAC."""
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionAbortedError("the client left before its request was complete")
        piece = message.get("body", b"")
        more = message.get("more_body", False)
        mac.update(piece)
        yield piece if more else piece + mac.digest()


class _Pump:
    """Passes an answer's body on as it comes."""

    def __init__(self, answer: aiohttp.ClientResponse, send: Send) -> None:
        self._answer = answer
        self._send = send
        # The last bytes that went out, as many as tell whether an event ended with them; empty while a piece goes out,
        # since nobody knows how much of it did.
        self._tail = b"\n\n"

    async def run(self) -> None:
        """To its end. One that breaks off is broken off: nobody may take a part for the whole."""
        try:
            async for piece in self._answer.content.iter_any():
                before, self._tail = self._tail, b""
                await self._send({"type": "http.response.body", "body": piece, "more_body": True})
                self._tail = (before + piece[-4:])[-4:]
        except (aiohttp.ClientError, OSError) as error:
            logger.warning("the owner's answer broke off: %s", _said(error))
            return
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def end_for_a_dead_owner(self, last_words: bytes) -> None:
        """End an event stream properly, between two events; anything else is broken off.

        So is one to which nothing can be added: it was compressed, or its length was announced.
        """
        headers = self._answer.headers
        is_stream = self._answer.content_type == "text/event-stream"
        is_open = "Content-Encoding" not in headers and "Content-Length" not in headers
        logger.warning("the owner of a forwarded request died while it answered")
        if is_stream and is_open and self._tail.replace(b"\r\n", b"\n").endswith((b"\n\n", b"\r\r")):
            await self._send({"type": "http.response.body", "body": last_words, "more_body": False})


async def _until_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _named_in(headers: HeaderList) -> frozenset[bytes]:
    """The headers that a Connection header names as its own."""
    named = (value for name, value in headers if name == b"connection")
    return frozenset(token.strip().lower() for value in named for token in value.split(b","))


def _text(value: bytes) -> str:
    """A header for aiohttp, which writes UTF-8; what is not UTF-8 is passed on as Latin-1 text."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
