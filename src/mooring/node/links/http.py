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
from collections.abc import Callable
from typing import Any, Final

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from mooring.asgi import HeaderList, Receive, Scope, Send, header, target_of, written
from mooring.core.model import NodeInfo, ShardOwner
from mooring.core.passed_on import PassedOn, encode, parted, wire_method
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
from mooring.node.links.outgoing_body import look_for_body, signed
from mooring.node.passing import PassingAnswer

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

_HEADER_BYTES: Final = 1024 * 1024
_HEADERS: Final = 10_000
"""An app's answer may have any headers that its server lets out."""


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
        """Pass the request to `peer` and its answer back, until it ends or the peer's lease does.

        Where the client leaves, whoever called this cancels it (`mooring.node.requests.attending`).

        Args:
            nonce: of this request; the same again where it may have reached this peer before.
            last_words: what ends an event stream whose owner died.

        Raises:
            PeerSilent, PeerMoved: nothing was sent to the client yet.
        """
        answer = await self._ask(peer, nonce, session_id, principal, scope, receive)
        try:
            self._verify(answer, peer, nonce)
            await self._pass_back(peer, answer, send, last_words)
        finally:
            answer.close()

    async def _ask(
        self, peer: NodeInfo, nonce: str, session_id: str | None, principal: str, scope: Scope, receive: Receive
    ) -> aiohttp.ClientResponse:
        """The peer's answer as far as its headers."""
        given: HeaderList = scope["headers"]
        is_signed, receive = await look_for_body(scope, receive)
        dropped = _NOT_ON_REQUESTS | _named_in(given)
        headers = self._headers(scope, dropped, nonce)
        claim = PeerClaim(
            self._node_id, peer.id, int(self._now() * 1000), nonce, principal, SIGNED_BODY if is_signed else NO_BODY
        )
        target = written(target_of(scope))
        method = wire_method(scope["method"])
        headers["Mooring-Peer"] = sign_request(self._key, claim, method, target, session_id)
        length = header(given, b"content-length")
        if is_signed and length is not None and length.isdigit():
            headers["Content-Length"] = str(int(length) + BODY_MAC_BYTES)
        request = self._open_client().request(
            method,
            URL(peer.url + target.decode(), encoded=True),
            headers=headers,
            data=signed(receive, BodyMac(self._key, nonce)) if is_signed else None,
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

    def _headers(self, scope: Scope, dropped: frozenset[bytes], nonce: str) -> CIMultiDict[str]:
        """What goes over the wire, and beside it what does not."""
        wire, beside = parted(scope["headers"], dropped)
        headers = CIMultiDict((name.decode(), value.decode()) for name, value in wire)
        client, target = scope.get("client"), target_of(scope)
        passed_on = PassedOn(
            method=scope["method"],
            scheme=scope.get("scheme", "http"),
            http_version=scope.get("http_version", "1.1"),
            client=None if client is None else (client[0], client[1]),
            root_path=scope.get("root_path") or "",
            target=None if written(target) == target else target,
            beside=beside,
        )
        headers["Mooring-Client"] = encode(self._key, nonce, passed_on)
        return headers

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
        send: Send,
        last_words: Callable[[], bytes],
    ) -> None:
        raw = [(name.lower(), value) for name, value in answer.raw_headers]
        dropped = _NOT_ON_ANSWERS | _named_in(raw)
        headers = [(name, value) for name, value in raw if name not in dropped]
        passing = PassingAnswer()
        await passing.pass_on({"type": "http.response.start", "status": answer.status, "headers": headers}, send)
        pumping = asyncio.ensure_future(_pump(answer, passing, send))
        try:
            if await self._is_done_while_alive(peer, pumping):
                pumping.result()
                return
            pumping.cancel()
            await asyncio.wait({pumping})
            logger.warning("the owner of a forwarded request died while it answered")
            await passing.end(send, last_words())
        finally:
            pumping.cancel()

    def _open_client(self) -> aiohttp.ClientSession:
        if self._client is None:
            self._client = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE_SECONDS),
                max_line_size=_HEADER_BYTES,
                max_field_size=_HEADER_BYTES,
                max_headers=_HEADERS,
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


async def _pump(answer: aiohttp.ClientResponse, passing: PassingAnswer, send: Send) -> None:
    """Pass an answer's body on as it comes. One that breaks off is broken off: nobody may take a part for the whole."""
    try:
        async for piece in answer.content.iter_any():
            await passing.pass_on({"type": "http.response.body", "body": piece, "more_body": True}, send)
    except (aiohttp.ClientError, OSError) as error:
        logger.warning("the owner's answer broke off: %s", _said(error))
        return
    await passing.pass_on({"type": "http.response.body", "body": b"", "more_body": False}, send)


def _named_in(headers: HeaderList) -> frozenset[bytes]:
    """The headers that a Connection header names as its own."""
    named = (value for name, value in headers if name == b"connection")
    return frozenset(token.strip().lower() for value in named for token in value.split(b","))
