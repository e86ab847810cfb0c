"""A peer that is read byte by byte and answers whatever a test wants, and a client that talks to nobody but us."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace

from mooring.asgi import HeaderList, Message, Scope
from mooring.core.ids import derive_key
from mooring.core.model import NodeInfo
from mooring.core.signing import ACCEPTED, sign_reply, verify_request
from mooring.errors import PeerSilent
from mooring.node.links.http import Forwarder
from mooring.node.links.peer_link import PassedRequest
from tests.cluster_in_process import SECRET
from tests.core.views import a_node

KEY = derive_key(SECRET, "peer request")
ME = "node-1-aaaaa"
PEER = a_node("node-2-aaaaa")


@dataclass
class Head:
    """A request's method, target and headers, as they came over the wire."""

    method: str
    target: bytes
    headers: HeaderList

    def signed(self, status: int = 200, verdict: str = ACCEPTED, *, as_node: str = PEER.id, key: bytes = KEY) -> bytes:
        """The status line of the answer to this request, and the header that proves who gave it."""
        session = next((value.decode() for name, value in self.headers if name == b"mcp-session-id"), None)
        peer = next(value.decode() for name, value in self.headers if name == b"mooring-peer")
        claim = verify_request(KEY, peer, self.method, self.target, session, recipient=PEER.id)
        reply = sign_reply(key, claim.nonce, as_node, verdict, status)
        return f"HTTP/1.1 {status} Whatever\r\nMooring-Reply: {reply}\r\n".encode()


Answer = Callable[[Head, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def answer_in_short(head: Head, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(head.signed() + b"content-length: 2\r\n\r\n{}")


@dataclass
class OddPeer:
    """
    Attributes:
        heads: what it was asked.
        answer: what it does about it; the connection is closed afterwards.
    """

    info: NodeInfo
    heads: list[Head] = field(default_factory=list)
    answer: Answer = answer_in_short

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError), contextlib.closing(writer):
            first, *rest = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
            method, target, _ = first.split(b" ")
            headers = [line.partition(b": ") for line in rest if line]
            head = Head(method.decode(), target, [(name.lower(), value) for name, _, value in headers])
            self.heads.append(head)
            await self.answer(head, reader, writer)
            await writer.drain()


@contextlib.asynccontextmanager
async def odd_peer() -> AsyncIterator[OddPeer]:
    peer = OddPeer(PEER)
    server = await asyncio.start_server(peer.serve, "127.0.0.1", 0)
    peer.info = replace(PEER, url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    try:
        yield peer
    finally:
        server.close()


class Caller:
    """One client's request on its way through a forwarder, and all that the client gets to see.

    Attributes:
        stays: whether the client waits for its answer after the last of `body`; else it is gone by then.
        sent: the messages to the client.
    """

    def __init__(self, method: str = "GET", headers: HeaderList | None = None, body: Iterable[Message] = ()) -> None:
        self.scope: Scope = {"type": "http", "method": method, "path": "/mcp", "headers": headers or []}
        self.stays = True
        self.sent: list[Message] = []
        self._body = iter(body)

    async def receive(self) -> Message:
        message = next(self._body, None)
        if message is None and self.stays:
            await asyncio.Event().wait()
        return message or {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    async def through(
        self,
        forwarder: Forwarder,
        peer: NodeInfo,
        *,
        session: str | None = None,
        last_words: Callable[[], bytes] = bytes,
    ) -> None:
        nonce = secrets.token_urlsafe(16)
        request = PassedRequest(nonce, session, self.scope, self.receive, self.send, last_words)
        await forwarder.forward(peer, request)

    async def failing(self, forwarder: Forwarder, peer: NodeInfo) -> PeerSilent:
        """The silence that the forwarder tells of; nothing was sent to the client then."""
        try:
            await self.through(forwarder, peer)
        except PeerSilent as error:
            assert self.sent == []
            return error
        raise AssertionError("it did not fail")
