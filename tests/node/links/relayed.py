"""Nodes in this process that have no address for each other: all that goes between them goes through a real Redis."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Final

from mooring.asgi import Receive, Scope, Send, header
from mooring.node.links.redis_relay import Relay
from tests.cluster_in_process import RunningNode, running_node
from tests.node.apps import answer, lifespan
from tests.node.rpc import RawClient
from tests.waiting import until

ONE_NODE: Final = "/one"
"""What is asked here goes to one node of the cluster, whoever is asked."""
PIECE: Final = bytes(range(256)) * 256


@dataclass
class TalkingApp:
    """Does what `x-do` says, and writes down what becomes of it.

    Attributes:
        read, sent: bytes of bodies.
        left: how often a client left before its answer was whole.
        carried_out: what `x-entry` said of each request, as it began.
        go_on: until it is set, `wait`, `unread` and `say` stand still.
    """

    read: int = 0
    sent: int = 0
    left: int = 0
    carried_out: list[str] = field(default_factory=list)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await lifespan(receive, send)
            return
        self.carried_out.append((header(scope["headers"], b"x-entry") or b"").decode())
        what = (header(scope["headers"], b"x-do") or b"digest").decode()
        await getattr(self, f"_{what}")(scope, receive, send)

    async def _digest(self, scope: Scope, receive: Receive, send: Send) -> None:
        digest, has_more = hashlib.sha256(), True
        while has_more:
            message = await receive()
            assert message["type"] == "http.request", message
            digest.update(message.get("body", b""))
            self.read += len(message.get("body", b""))
            has_more = message.get("more_body", False)
        await answer(send, 200, digest.hexdigest().encode())

    async def _unread(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.go_on.wait()
        await self._digest(scope, receive, send)

    async def _flood(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(int(header(scope["headers"], b"x-pieces") or b"1")):
            await send({"type": "http.response.body", "body": PIECE, "more_body": True})
            self.sent += len(PIECE)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _wait(self, scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body", False):
            pass
        leaving = asyncio.ensure_future(receive())
        going_on = asyncio.ensure_future(self.go_on.wait())
        await asyncio.wait({leaving, going_on}, return_when=asyncio.FIRST_COMPLETED)
        self.left += leaving.done()
        leaving.cancel()
        going_on.cancel()
        await answer(send, 200, b"waited")

    async def _say(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
        await self.go_on.wait()
        await send({"type": "http.response.body", "body": b"data: 2\n\n", "more_body": False})

    async def _fail(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise RuntimeError("it fails in the middle")


@dataclass
class Relayed:
    """
    Attributes:
        asked: the node that clients ask here; its app is never called.
        app: the other node's.
    """

    asked: RunningNode
    owner: RunningNode
    app: TalkingApp
    raw: RawClient

    @property
    def url(self) -> str:
        return f"{self.asked.url}{ONE_NODE}"

    async def ask(self, what: str = "digest", **options: Any) -> Any:
        headers = {"x-do": what, **options.pop("headers", {})}
        return await self.raw.send(options.pop("method", "POST"), self.url, headers=headers, **options)


def relay_of(node: RunningNode) -> Relay:
    relay = node.mooring._node.ways._relay
    assert relay is not None
    return relay


async def die(node: RunningNode) -> None:
    """What SIGKILL does, as its peers see it: it reads its mailbox no more, and renews no lease."""
    await node.vanish()
    relay = relay_of(node)
    for task in (*relay._tasks, *relay._answering):
        task.cancel()
    if (pulse := node.mooring._node._pulse) is not None:
        await asyncio.to_thread(pulse.stop)


@contextlib.asynccontextmanager
async def relayed(redis_url: str, raw: RawClient, **settings: Any) -> AsyncIterator[Relayed]:
    """Two nodes: one is asked, and the other one owns what is bound to one node."""
    app, idle = TalkingApp(), TalkingApp()
    told = {
        "redis_url": redis_url,
        "peer_link": "redis",
        "advertise_url": None,
        "one_node_paths": f"{ONE_NODE},{ONE_NODE}/*",
        "redis_timeout_seconds": 0.5,
        **settings,
    }
    async with (
        running_node(app, None, "owner", **told) as owner,
        running_node(idle, None, "asked", **told) as asked,
    ):
        for node in (owner, asked):
            await node.mooring._node.keeper.beat()
        assert [peer.url for peer in asked.mooring._node.membership.view.alive()] == ["", ""]
        yield Relayed(asked, owner, app, raw)
        assert idle.carried_out == []


async def until_equal(value: Any, expected: Any, what: str, seconds: float = 15.0) -> None:
    async def equal() -> bool:
        return bool(value() == expected)

    await until(equal, what=f"{what} to be {expected}", seconds=seconds)
