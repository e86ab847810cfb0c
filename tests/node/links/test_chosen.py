"""Which way a request goes: see the table in the module."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from mooring.core.model import NodeInfo
from mooring.errors import PeerSilent, SignatureError
from mooring.node.links.chosen import AGAIN_SECONDS, ChosenLink
from mooring.node.links.peer_link import PassedRequest
from tests.core.views import a_node
from tests.fakes import Clock
from tests.waiting import until

PEER = a_node("node-2-aaaaa")


@dataclass
class Way:
    """A link that writes down whom it was used for."""

    used: list[str] = field(default_factory=list)
    error: PeerSilent | None = None
    is_closed: bool = False

    async def forward(self, peer: NodeInfo, request: PassedRequest) -> None:
        self.used.append(peer.id)
        if self.error is not None:
            raise self.error

    async def goes_past(self, peer: NodeInfo) -> bool:
        return self.error is None

    async def get(self, peer: NodeInfo, target: str, headers: Any) -> tuple[int, Any, bytes]:
        return 200, [], target.encode()

    async def aclose(self) -> None:
        self.is_closed = True


@dataclass
class Ways:
    link: ChosenLink
    direct: Way
    relayed: Way
    calls: list[str]
    clock: Clock

    async def went(self, peer: NodeInfo = PEER) -> str:
        """Which way the next request goes."""
        before = len(self.direct.used)
        await self.link.forward(peer, PassedRequest("nonce", None, {}, None, None, bytes))  # type: ignore[arg-type]
        return "direct" if len(self.direct.used) > before else "relayed"


async def answers(peer: NodeInfo) -> None: ...


async def is_silent(peer: NodeInfo) -> None:
    raise PeerSilent("no route", may_have_run=False)


async def is_another(peer: NodeInfo) -> None:
    raise SignatureError("somebody else")


def ways(mode: str, call: Callable[[NodeInfo], Awaitable[None]] = answers) -> Ways:
    direct, relayed, clock, calls = Way(), Way(), Clock(), list[str]()

    async def counted(peer: NodeInfo) -> None:
        calls.append(peer.url)
        await call(peer)

    return Ways(ChosenLink(mode, direct, relayed, counted, lambda _: True, clock), direct, relayed, calls, clock)


@pytest.mark.parametrize(
    ("mode", "peer_link", "url", "call", "way"),
    [
        ("redis", "redis", "http://a", answers, "relayed"),
        ("redis", "auto", "http://a", answers, "relayed"),
        ("redis", "direct", "http://a", answers, "direct"),
        ("auto", "direct", "http://a", is_silent, "direct"),
        ("auto", "redis", "http://a", answers, "relayed"),
        ("auto", "auto", "http://a", answers, "direct"),
        ("auto", "auto", "http://a", is_silent, "relayed"),
        ("auto", "auto", "http://a", is_another, "relayed"),
        ("auto", "auto", "", answers, "relayed"),
    ],
)
async def test_each_row_of_the_table(
    mode: str, peer_link: str, url: str, call: Callable[[NodeInfo], Awaitable[None]], way: str
) -> None:
    tried = ways(mode, call)
    peer = replace(PEER, peer_link=peer_link, url=url)
    assert await tried.went(peer) == way
    assert tried.link.leads_to(peer) is (way == "relayed")
    assert tried.link.relayed_to == ((PEER.id,) if way == "relayed" and tried.calls else ())


AUTO = replace(PEER, peer_link="auto")


async def test_a_peer_is_called_once_for_all_who_wait_and_again_after_a_while() -> None:
    tried = ways("auto", is_silent)
    await asyncio.gather(*(tried.went(AUTO) for _ in range(5)))
    assert len(tried.calls) == 1
    tried.clock.now += AGAIN_SECONDS + 1
    assert await tried.went(AUTO) == "relayed"  # nobody waits for that call

    async def called() -> bool:
        return len(tried.calls) == 2

    await until(called, what="the second call")


async def test_a_peer_at_another_address_is_called_anew() -> None:
    tried = ways("auto")
    await tried.went(AUTO)
    await tried.went(replace(AUTO, url="http://elsewhere"))
    assert tried.calls == [AUTO.url, "http://elsewhere"]


async def test_a_peer_that_cannot_be_reached_any_more_is_called_for_the_next_request() -> None:
    tried = ways("auto")
    tried.direct.error = PeerSilent("refused", may_have_run=False)
    with pytest.raises(PeerSilent):
        await tried.went(AUTO)
    tried.direct.error = None
    await tried.went(AUTO)
    assert len(tried.calls) == 2
    tried.direct.error = PeerSilent("it broke", may_have_run=True)
    with pytest.raises(PeerSilent):
        await tried.went(AUTO)
    tried.direct.error = None
    await tried.went(AUTO)
    assert len(tried.calls) == 2


async def test_it_says_what_its_ways_say_and_closes_them() -> None:
    tried = ways("auto", is_silent)
    tried.direct.error = PeerSilent("", may_have_run=False)
    assert await tried.link.goes_past(AUTO)
    assert await tried.link.get(AUTO, "/x", []) == (200, [], b"/x")
    await tried.link.aclose()
    assert tried.direct.is_closed
    assert tried.relayed.is_closed
