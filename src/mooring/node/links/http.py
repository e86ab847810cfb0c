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
from collections.abc import AsyncIterator, Callable
from typing import Final

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from mooring.asgi import Scope, request_header
from mooring.core.model import NodeInfo
from mooring.core.signing import BODY_MAC_BYTES
from mooring.errors import PeerSilent
from mooring.node.links.hop import Lives, check_reply, pass_back, said, signed_request
from mooring.node.links.peer_link import PassedRequest

_IDLE_SECONDS: Final = 4.0
"""Shorter than the 5 s after which uvicorn by default closes an idle connection: else a request meets the close."""

_HEADER_BYTES: Final = 1024 * 1024
_HEADERS: Final = 10_000
"""An app's answer may have any headers that its server lets out."""
_ANOTHER_LENGTH: Final = frozenset({b"upgrade", b"content-encoding"})
"""With these a body may be shorter or longer than is said."""


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
        now: Callable[[], float],
    ) -> None:
        self._key = key
        self._node_id = node_id
        self._connect_seconds = connect_seconds
        self._lives = Lives(is_alive, check_seconds)
        self._now = now
        # Opened by the first forward, since it belongs to the loop that runs then.
        self._client: aiohttp.ClientSession | None = None

    async def aclose(self) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def goes_past(self, peer: NodeInfo) -> bool:
        """Whether it has a port for peers alone, where nothing runs that is around Mooring."""
        return peer.client_url is not None

    async def forward(self, peer: NodeInfo, request: PassedRequest) -> None:
        """As in `PeerLink`."""
        if not peer.url:
            raise PeerSilent(
                f"node {peer.id} has no address: peers reach it through Redis; set peer_link here as it is there",
                may_have_run=False,
            )
        answer = await self._ask(peer, request)
        try:
            reply = answer.headers.get("Mooring-Reply", "")
            check_reply(self._key, reply, request.nonce, peer, answer.status, f"at {peer.url}")
            headers = [(name.lower(), value) for name, value in answer.raw_headers]
            pieces: AsyncIterator[bytes] = answer.content.iter_any()
            await pass_back(peer, self._lives, (answer.status, headers), pieces, request)
        finally:
            answer.close()

    async def _ask(self, peer: NodeInfo, passed: PassedRequest) -> aiohttp.ClientResponse:
        """The peer's answer as far as its headers."""
        signed = await signed_request(self._key, self._node_id, peer, passed, int(self._now() * 1000))
        headers = CIMultiDict((name.decode(), value.decode()) for name, value in signed.headers)
        length = _length_of(passed.scope)
        if signed.body is not None and length is not None:
            headers["Content-Length"] = str(length + BODY_MAC_BYTES)
        request = self._open_client().request(
            signed.method,
            URL(peer.url + signed.target.decode(), encoded=True),
            headers=headers,
            data=signed.body,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            allow_redirects=False,
        )
        asking = asyncio.ensure_future(_translated(request, peer))
        try:
            if not await self._lives.is_done(peer, asking):
                raise PeerSilent(f"node {peer.id} died before it answered", may_have_run=True)
            return asking.result()
        finally:
            asking.cancel()

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


def _length_of(scope: Scope) -> int | None:
    """How long the request's body is; None where what is said may be wrong.

    uvicorn brings none where an upgrade is asked for, as Java's client does; and something around Mooring may have
    read one that was compressed.
    """
    length = request_header(scope["headers"], b"content-length")
    if length is None or not length.isdigit() or any(name in _ANOTHER_LENGTH for name, _ in scope["headers"]):
        return None
    return int(length)


async def _translated(request: aiohttp.client._RequestContextManager, peer: NodeInfo) -> aiohttp.ClientResponse:
    """The answer, with aiohttp's errors in our words."""
    try:
        return await request
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
        raise PeerSilent(
            f"node {peer.id} cannot be reached at {peer.url}: {said(error)}", may_have_run=False
        ) from error
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise PeerSilent(f"node {peer.id} at {peer.url} did not answer: {said(error)}", may_have_run=True) from error
