"""What every link does with a request and its answer, whatever carries them: sign, check, wait, pass back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

import aiohttp

from mooring.asgi import HeaderList, target_of, written
from mooring.core.model import NodeInfo, ShardOwner
from mooring.core.passed_on import PassedOn, encode, parted, routed_in, wire_method, within_delimiters
from mooring.core.request import CLIENT_HEADER, INTERNAL_HEADERS, PEER_HEADER, SESSION_HEADER
from mooring.core.signing import (
    ACCEPTED,
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
from mooring.node.links.peer_link import PassedRequest
from mooring.processes.tasks import end

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
_FRAMING: Final = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding"})
_NOT_ON_ANSWERS: Final = _FRAMING | INTERNAL_HEADERS
_NOT_ON_MIXED_ANSWERS: Final = _HOP_BY_HOP | INTERNAL_HEADERS | {b"date", b"server"}
"""Where nobody knows which headers are the app's. Our own server writes Date and Server."""


_CONNECTION_BYTES: Final = 4 * 1024
"""As far as a Connection is read: a server may let in one of megabytes, which takes a second."""


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """What goes out.

    Attributes:
        body: with its MAC; None where there is none.
    """

    method: str
    target: bytes
    headers: HeaderList
    body: AsyncGenerator[bytes, None] | None


async def signed_request(
    key: bytes, sender: str, peer: NodeInfo, request: PassedRequest, time_ms: int
) -> SignedRequest:
    """The request as it goes out: its headers that the wire carries, and beside them those that it does not."""
    scope = request.scope
    has_body, receive = await look_for_body(scope, request.receive)
    claim = PeerClaim(sender, peer.id, time_ms, request.nonce, principal="", body=SIGNED_BODY if has_body else NO_BODY)
    given: HeaderList = scope["headers"]
    wire, beside = parted(given, _NOT_ON_REQUESTS | _named_in(given))
    client, server, target = scope.get("client"), scope.get("server"), target_of(scope)
    on_wire = _origin_form(written(target))
    passed_on = PassedOn(
        method=scope["method"],
        scheme=scope.get("scheme", "http"),
        http_version=scope.get("http_version", "1.1"),
        client=None if client is None else (client[0], client[1]),
        server=None if server is None else (server[0], server[1]),
        root_path=scope.get("root_path") or "",
        target=None if on_wire == target else target,
        beside=beside,
        path=None if _path_in(on_wire) == scope["path"] else scope["path"],
        routed=routed_in(scope),
    )
    method = wire_method(scope["method"])
    signature = sign_request(key, claim, method, on_wire, _session_on(wire, beside, request.session_id))
    own = [(CLIENT_HEADER, encode(key, claim.nonce, passed_on).encode()), (PEER_HEADER, signature.encode())]
    body = signed(receive, BodyMac(key, request.nonce)) if has_body else None
    return SignedRequest(method, on_wire, [*wire, *own], body)


def check_reply(key: bytes, said: str, nonce: str, peer: NodeInfo, status: int, where: str) -> None:
    """
    Args:
        said: what the answer has in `Mooring-Reply`.

    Raises:
        PeerSilent: the answer is not the peer's, or it refuses the request.
        PeerMoved: it says that the shard is another node's.
    """
    try:
        verdict = verify_reply(key, said, nonce, peer.id, status)
    except SignatureError as error:
        raise PeerSilent(f"{where} (HTTP {status}): {error}", may_have_run=True) from error
    if verdict == REFUSED:
        raise PeerSilent(
            f"node {peer.id} refuses our signature: do the secrets agree, and the clocks of the Redis that each uses?",
            may_have_run=False,
        )
    if verdict == SEEN:
        raise PeerSilent(f"node {peer.id} has had this request before", may_have_run=True, is_final=True)
    if verdict != ACCEPTED:
        owner = owner_in(verdict) or ShardOwner("", 0)
        raise PeerMoved(f"node {peer.id} does not own the shard", owner.node_id, owner.epoch)


class Lives:
    """Waits for as long as a peer lives: a tool may take its time, a dead node has none.

    Args:
        is_alive: whether a node's lease is alive.
        check_seconds: how often that is asked.
    """

    def __init__(self, is_alive: Callable[[str], bool], check_seconds: float) -> None:
        self.is_alive = is_alive
        self._check_seconds = check_seconds

    async def is_done(self, peer: NodeInfo, *tasks: asyncio.Future[Any]) -> bool:
        """Whether one of these was done before the peer died."""
        while True:
            done, _ = await asyncio.wait(tasks, timeout=self._check_seconds, return_when=asyncio.FIRST_COMPLETED)
            if done:
                return True
            if not self.is_alive(peer.id):
                return False


async def pass_back(
    peer: NodeInfo,
    lives: Lives,
    start: tuple[int, HeaderList],
    pieces: AsyncIterator[bytes],
    request: PassedRequest,
) -> None:
    """Pass an answer on to the client as it comes.

    Args:
        start: the status and the headers, their names in lower case.
        pieces: of the body; OSError and aiohttp's errors mean that it broke off.
    """
    status, raw = start
    own = within_delimiters(raw)
    dropped = (_NOT_ON_MIXED_ANSWERS if own is None else _NOT_ON_ANSWERS) | _named_in(raw)
    headers = [(name, value) for name, value in (raw if own is None else own) if name not in dropped]
    passing, send = request.answer, request.send
    await passing.pass_on({"type": "http.response.start", "status": status, "headers": headers}, send)
    pumping = asyncio.ensure_future(_pump(pieces, peer, request))
    try:
        if await lives.is_done(peer, pumping):
            pumping.result()
            return
        await end(pumping)
        logger.warning("node %s died while it answered a forwarded request; its own log may say why", peer.id)
        await passing.end(send, request.last_words())
    finally:
        if not pumping.done():  # whoever closes what it reads finds nobody reading
            await end(pumping)


async def _pump(pieces: AsyncIterator[bytes], peer: NodeInfo, request: PassedRequest) -> None:
    """Pass an answer's body on as it comes. One that breaks off is broken off: nobody may take a part for the whole.

    An event stream ends as it does when its owner dies in silence: the connection to one that is killed breaks first.
    """
    passing, send = request.answer, request.send
    try:
        async for piece in pieces:
            await passing.pass_on({"type": "http.response.body", "body": piece, "more_body": True}, send)
    except (aiohttp.ClientError, OSError) as error:
        logger.warning(
            "the answer of node %s broke off: %s; if that node lives, something between the nodes cuts long answers "
            "(its address in `mooring status`)",
            peer.id,
            said(error),
        )
        await passing.end(send, request.last_words())  # where it has ids, its client comes back for the rest
        return
    await passing.pass_on({"type": "http.response.body", "body": b"", "more_body": False}, send)


def said(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _session_on(wire: HeaderList, beside: Sequence[tuple[int, bytes, bytes]], session_id: str | None) -> str | None:
    """The session id as the wire names it: not where its header travels beside."""
    is_beside = any(name == SESSION_HEADER for _, name, _ in beside)
    return None if is_beside and all(name != SESSION_HEADER for name, _ in wire) else session_id


def _origin_form(target: bytes) -> bytes:
    """A client may name its server in the target (RFC 9112, section 3.2.2), and some servers leave it there."""
    if target.startswith(b"/"):
        return target
    behind = target.partition(b"://")[2]
    return behind[behind.find(b"/") :] if b"/" in behind else b"/"


def _path_in(target: bytes) -> str:
    """The path as a server reads it."""
    return unquote(target.partition(b"?")[0])


def _named_in(headers: HeaderList) -> frozenset[bytes]:
    """The headers that a Connection header names as its own."""
    named = (value[:_CONNECTION_BYTES] for name, value in headers if name == b"connection")
    return frozenset(token.strip().lower() for value in named for token in value.split(b","))
