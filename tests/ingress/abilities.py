"""What a load balancer can do for a cluster, each as a question to a running one.

An ability is a function that fails an assertion where the load balancer does not have it. The table in
`docs/behind-a-proxy.md` has a row for each, called as its first line, and `test_real_proxies.py` holds it to them.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from http.cookies import SimpleCookie
from itertools import pairwise
from pathlib import Path
from typing import Final, TypeAlias

import aiohttp

from mooring.ingress import caddy, nginx
from mooring.ingress.topology import Topology
from tests.ingress.real_nodes import RealBackend
from tests.ingress.real_proxies import RealProxy
from tests.ingress.topologies import SHARDS, backend, three_nodes
from tests.waiting import until

REST: Final = "AAAAAAAAAAAAAAAAAAAAAA.AAAAAAAAAAA"
MANY: Final = 40
"""Requests after which each of three nodes has had one, drawn by lot, but for once in 3 million."""


TRIES: Final = 3
"""A health check that a busy machine answers late takes a node out as well, but not each time."""
ENDED: Final = "connection ended"


@dataclass(frozen=True, slots=True)
class Stage:
    """A load balancer in front of three nodes; `ledger` has the requests that nodes hold."""

    proxy: RealProxy
    nodes: dict[str, RealBackend]
    ledger: Path

    @property
    def urls(self) -> dict[str, str]:
        return {name: node.url for name, node in self.nodes.items()}

    async def restore(self) -> None:
        """As it was in the beginning: all nodes live, take new sessions, and hold their shards."""
        self.ledger.unlink(missing_ok=True)
        for node in self.nodes.values():
            await node.start()
            async with self.proxy.session.get(f"{node.url}/empty"):
                pass
        await self.proxy.apply(three_nodes(self.urls))

        async def is_whole() -> bool:
            owners = [await _answer_again(self, f"{shards[0]}.{REST}") for shards in SHARDS.values()]
            placed = {await _answer_again(self, None) for _ in range(MANY)}
            others = {await _answer_again(self, None, "/other") for _ in range(6)}
            return owners == list(SHARDS) and placed == others == set(SHARDS)

        await until(is_whole, what="everything to be as before")

    async def answers(self, path: str, session_id: str | None = None, count: int = MANY) -> set[str]:
        return {await self.proxy.answer(path, session_id) for _ in range(count)}


Ability: TypeAlias = Callable[[Stage], Awaitable[None]]

UNHARMED: Final[dict[str, Ability]] = {}
"""Those that leave the load balancer and its nodes as they were."""

DESTRUCTIVE: Final[dict[str, Ability]] = {}
"""Those that kill or fill a node, or change where things are."""


def unharmed(ability: Ability) -> Ability:
    return _noted(ability, UNHARMED)


def destructive(ability: Ability) -> Ability:
    return _noted(ability, DESTRUCTIVE)


def _noted(ability: Ability, abilities: dict[str, Ability]) -> Ability:
    abilities[(ability.__doc__ or "").partition("\n")[0].removesuffix(".")] = ability
    return ability


@unharmed
async def by_session_id(stage: Stage) -> None:
    """Without a cookie, a session id leads to the node that holds it."""
    for path in ("/mcp", "/mcp/x", "/mcp?x=1"):
        for name, shards in SHARDS.items():
            for shard in shards:
                for method in ("POST", "GET", "DELETE"):
                    assert await stage.proxy.answer(path, f"{shard}.{REST}", method) == name


@unharmed
async def strange_ids(stage: Stage) -> None:
    """A session id that names no shard goes to any node."""
    for session_id in (f"aaaaab.{REST}", f"xaaaaa.{REST}", "aaaaa", "", f"a|bbbbb.{REST}", f"eeeee.{REST}"):
        assert await stage.answers("/mcp", session_id) == set(SHARDS), session_id


@unharmed
async def no_alias(stage: Stage) -> None:
    """`Mcp_Session_Id` is not taken for the header."""
    answers = {await stage.proxy.answer("/mcp", Mcp_Session_Id=f"ccccc.{REST}") for _ in range(MANY)}
    assert answers == set(SHARDS)


@unharmed
async def cookie_leads_back(stage: Stage) -> None:
    """The cookie brings a client without a session back to its node."""
    cookie, first = await _cookie(stage.proxy)
    for path in ("/mcp", "/mcp/x"):
        for _ in range(10):
            async with stage.proxy.request(path, Cookie=f"other=1; {cookie}; another=2") as response:
                assert (await response.json())["name"] == first
                assert "Set-Cookie" not in response.headers


@unharmed
async def every_node_gets_new_sessions(stage: Stage) -> None:
    """Requests without session and cookie are spread over all nodes."""
    answers = Counter([await stage.proxy.answer("/mcp") for _ in range(90)])
    assert set(answers) == set(SHARDS)
    assert min(answers.values()) > 8, answers


@unharmed
async def cookie_is_kept_close(stage: Stage) -> None:
    """The cookie is for the endpoint alone, HttpOnly, Secure and SameSite=Strict."""
    async with stage.proxy.request("/mcp") as response:
        assert len(response.headers.getall("Set-Cookie")) == 1
        cookie = SimpleCookie(response.headers["Set-Cookie"])["_mcp_backend"]
    assert cookie["path"] == "/mcp"
    assert cookie["httponly"]
    assert cookie["secure"]
    assert cookie["samesite"] == "Strict"
    assert {cookie[lifetime] for lifetime in ("domain", "max-age", "expires")} == {""}
    for path in ("/", "/mcpfoo", "/other", "/mc", "/MCP", "/healthz", "/other/mcp"):
        for _ in range(3):
            async with stage.proxy.request(path, method="GET") as response:
                assert response.status == 200
                assert "Set-Cookie" not in response.headers


@unharmed
async def other_traffic_in_turn(stage: Stage) -> None:
    """Other paths go to all nodes in turn, whatever session or cookie comes along."""
    cookie, _ = await _cookie(stage.proxy)
    for path in ("/other", "/mcpfoo"):
        answers = Counter([await stage.proxy.answer(path, f"aaaaa.{REST}", Cookie=cookie) for _ in range(30)])
        assert set(answers) == set(SHARDS)
        assert max(answers.values()) - min(answers.values()) <= 6, answers


@unharmed
async def host_is_kept(stage: Stage) -> None:
    """The node sees the host that the client asked for."""
    async with stage.proxy.request("/mcp", Host="mcp.example.com") as response:
        assert (await response.json())["host"] == "mcp.example.com"


@unharmed
async def large_bodies(stage: Stage) -> None:
    """A body of 8 MiB arrives whole."""
    url, headers = stage.proxy.url + "/mcp", {"Mcp-Session-Id": f"ccccc.{REST}"}
    async with stage.proxy.session.post(url, data=b"x" * 2**23, headers=headers) as response:
        assert response.status == 200
        told = await response.json()
    assert (told["name"], told["bytes"]) == ("node-2", 2**23)


@unharmed
async def events_at_once(stage: Stage) -> None:
    """Events reach the client as they are sent."""
    async with stage.proxy.request("/mcp", f"aaaaa.{REST}", "GET", Accept="text/event-stream") as stream:
        assert await next_event(stream) == "node-1 0"
        times = []
        for _ in range(20):
            await next_event(stream)
            times.append(time.monotonic())
    gaps = [later - earlier for earlier, later in pairwise(times)]
    # The node sends one each 50 ms. Held back, several would arrive together.
    assert sum(gap < 0.01 for gap in gaps) <= 3, gaps


@unharmed
async def silent_streams(stage: Stage) -> None:
    """A stream that says nothing lives on."""
    headers = {"Accept": "text/event-stream", "Mcp-Session-Id": f"aaaaa.{REST}"}
    async with stage.proxy.session.get(stage.proxy.url + "/mcp/silent", headers=headers) as stream:
        assert await next_event(stream) == "node-1 0"
        assert await stream.content.readline() == b"\n"
        reading = asyncio.create_task(stream.content.read(1))
        # Longer than connections, checks and idle connections may take. Its limit is the configuration's to say.
        done, _ = await asyncio.wait([reading], timeout=4.5)
        assert not done
        reading.cancel()


@destructive
async def dead_node(stage: Stage) -> None:
    """A dead node's requests go to another one at once, and none fails."""
    await stage.nodes["node-3"].kill()
    answers = await asyncio.gather(*(stage.proxy.answer("/mcp", f"ddddd.{REST}") for _ in range(20)))
    assert set(answers) <= {"node-1", "node-2"}, answers
    assert await stage.answers("/mcp") == {"node-1", "node-2"}
    assert await stage.answers("/other") == {"node-1", "node-2"}


@destructive
async def no_post_twice(stage: Stage) -> None:
    """A POST that was under way on a dying node is carried out nowhere else."""
    assert await _times_carried_out(stage, "POST") == 1


@destructive
async def nothing_twice(stage: Stage) -> None:
    """Nor is any other request that was under way."""
    assert [await _times_carried_out(stage, method) for method in ("GET", "DELETE")] == [1, 1]


@destructive
async def follows(stage: Stage) -> None:
    """A change is served within two seconds, cuts no stream and fails no request."""
    async with stage.proxy.request("/mcp", f"aaaaa.{REST}", "GET", Accept="text/event-stream") as stream:
        assert await next_event(stream) == "node-1 0"
        done = asyncio.Event()
        load = asyncio.create_task(_load(stage, done))
        started = time.monotonic()
        await stage.proxy.apply(Topology((backend("node-2", stage.nodes["node-2"].url, ("aaaaa",)),)))
        await until(lambda: _has_moved(stage, "aaaaa", "node-2"), what="the shard to move")
        assert time.monotonic() - started < 5  # a machine that is busy with other tests
        await asyncio.sleep(0.5)
        done.set()
        _none_failed(stage, await load)
        assert await stage.answers("/other", count=6) == {"node-2"}
        for _ in range(40):
            assert (await next_event(stream)).startswith("node-1 ")


@destructive
async def keeps_idle_connections(stage: Stage) -> None:
    """A change ends no idle connection of a client."""
    connector = aiohttp.TCPConnector(limit=1)
    async with aiohttp.ClientSession(connector=connector) as client:
        url, headers = stage.proxy.url + "/mcp", {"Mcp-Session-Id": f"aaaaa.{REST}"}
        async with client.get(url, headers=headers) as response:
            await response.read()
            assert response.connection is None
        [[connection]] = [[protocol for protocol, _ in kept] for kept in connector._conns.values()]
        await stage.proxy.apply(Topology((backend("node-2", stage.nodes["node-2"].url, ("aaaaa",)),)))
        await until(lambda: _has_moved(stage, "aaaaa", "node-2"), what="the shard to move")
        await asyncio.sleep(0.5)  # it would be ended now
        assert connection.is_connected()
        async with client.get(url, headers=headers) as response:
            assert response.status == 200


@destructive
async def drains(stage: Stage) -> None:
    """A node that drains keeps its sessions and gets no new ones, and a roll of all nodes fails no request."""
    done = asyncio.Event()
    load = asyncio.create_task(_load(stage, done))
    at_home = three_nodes(stage.urls)
    for leaving in at_home.backends:
        others = [one for one in at_home.backends if one != leaving]
        draining = backend(leaving.name, leaving.url, leaving.shards, ready=False)
        await stage.proxy.apply(Topology((draining, *others)))
        await until(partial(_gets_no_new, stage, leaving.name), what="new sessions to stay away")
        assert await stage.proxy.answer("/mcp", f"{leaving.shards[0]}.{REST}") == leaving.name
        heir = backend(others[0].name, others[0].url, (*others[0].shards, *leaving.shards))
        await stage.proxy.apply(Topology((heir, *others[1:])))
        await until(partial(_has_moved, stage, leaving.shards[0], heir.name), what="the move")
        await stage.proxy.apply(at_home)
        await until(partial(_has_moved, stage, leaving.shards[0], leaving.name), what="its return")
    done.set()
    _none_failed(stage, await load)


@destructive
async def asks_nodes(stage: Stage) -> None:
    """It finds out by itself that a node takes no new sessions."""
    await _fill(stage, "node-1")
    await until(lambda: _gets_no_new(stage, "node-1"), what="the health check to find out", seconds=4)
    assert await stage.proxy.answer("/mcp", f"aaaaa.{REST}") == "node-1"
    assert await stage.answers("/other") == set(SHARDS)


@destructive
async def all_full(stage: Stage) -> None:
    """Where no node takes new sessions, requests still reach one, which knows what to say."""
    for name in SHARDS:
        await _fill(stage, name)
    deadline = time.monotonic() + 3  # the health checks find out within it, where there are any
    while time.monotonic() < deadline:
        assert await stage.proxy.answer("/mcp") in SHARDS
    assert await stage.proxy.answer("/mcp", f"aaaaa.{REST}") == "node-1"


@destructive
async def nobody_is_told_404(stage: Stage) -> None:
    """Without a living node, nobody is told 404."""
    for node in stage.nodes.values():
        await node.kill()
    await stage.proxy.apply(Topology(()))
    ids = (f"aaaaa.{REST}", f"ddddd.{REST}", f"eeeee.{REST}", None)
    answers = await asyncio.gather(*(stage.proxy.answer("/mcp", session_id) for session_id in ids))
    assert set(answers) <= {"502", "503", "504"}


@destructive
async def failures_are_the_apps(stage: Stage) -> None:
    """Answers of 500 take no node out."""
    seen: list[set[str]] = []
    for _ in range(TRIES):
        for path in ("/fail", "/mcp/fail"):
            assert await stage.answers(path, f"aaaaa.{REST}", count=12) == {"500"}
        asked = (("/mcp", f"aaaaa.{REST}", 12), ("/mcp", None, MANY), ("/other", None, MANY))
        seen = [await stage.answers(*one) for one in asked]
        if seen == [{"node-1"}, set(SHARDS), set(SHARDS)]:
            return
        await stage.restore()
    raise AssertionError(f"after answers of 500: {seen}")


async def next_event(stream: aiohttp.ClientResponse) -> str:
    """The data of the next one."""
    async with asyncio.timeout(5):
        while not (line := await stream.content.readline()).startswith(b"data: "):
            assert line, "the stream was cut"
    return line.decode().removeprefix("data: ").strip()


async def _cookie(proxy: RealProxy) -> tuple[str, str]:
    """A cookie, and the node that came with it."""
    async with proxy.request("/mcp") as response:
        return response.headers["Set-Cookie"].partition(";")[0], str((await response.json())["name"])


async def _fill(stage: Stage, name: str) -> None:
    async with stage.proxy.session.get(f"{stage.nodes[name].url}/fill") as response:
        assert response.status == 200


async def _gets_no_new(stage: Stage, name: str) -> bool:
    """Of three nodes by chance alone each is missed by so many once in a hundred thousand million times."""
    return name not in {await _answer_again(stage, None) for _ in range(60)}


async def _has_moved(stage: Stage, shard: str, name: str) -> bool:
    return await _answer_again(stage, f"{shard}.{REST}") == name


async def _answer_again(stage: Stage, session_id: str | None, path: str = "/mcp") -> str:
    """Asked once more where the connection ended just then."""
    try:
        return await stage.proxy.answer(path, session_id)
    except aiohttp.ClientConnectionError:
        return await stage.proxy.answer(path, session_id)


def _none_failed(stage: Stage, answers: Counter[str]) -> None:
    """Where a change ends idle connections, a request that is sent at that moment is lost unread."""
    assert set(answers) <= {*SHARDS, *((ENDED,) if stage.proxy.kind in (nginx, caddy) else ())}, answers
    assert answers[ENDED] <= 3 * 12, answers  # three clients, at most once for each change


async def _load(stage: Stage, done: asyncio.Event) -> Counter[str]:
    """Requests of three clients until it is done: one in a session, one with a cookie, one with neither."""
    cookie, _ = await _cookie(stage.proxy)
    answers: Counter[str] = Counter()

    async def client(session_id: str | None, **headers: str) -> None:
        while not done.is_set():
            try:
                answers[await stage.proxy.answer("/mcp", session_id, **headers)] += 1
            except aiohttp.ClientConnectionError:  # ended, or reset
                answers[ENDED] += 1

    async with asyncio.TaskGroup() as clients:
        clients.create_task(client(f"bbbbb.{REST}"))
        clients.create_task(client(None, Cookie=cookie))
        clients.create_task(client(None))
    return answers


async def _times_carried_out(stage: Stage, method: str) -> int:
    """How often a request is that was under way at its node when that was killed.

    The client has a connection of its own: on one that it had used before it would send a GET again by itself.
    """
    victim = {"POST": "node-1", "GET": "node-1", "DELETE": "node-3"}[method]
    headers = {"Mcp-Session-Id": f"{SHARDS[victim][0]}.{REST}", "Hold": f"{method}-held"}

    async def ask() -> int:
        async with (
            aiohttp.ClientSession() as client,
            client.request(method, stage.proxy.url + "/mcp", headers=headers) as response,
        ):
            return response.status

    async def entries() -> int:
        return stage.ledger.read_text().count(f"{method} {method}-held") if stage.ledger.exists() else 0

    asking = asyncio.create_task(ask())
    await until(entries, what="the node to carry it out")
    await stage.nodes[victim].kill()
    done, _ = await asyncio.wait([asking], timeout=3)  # where it is carried out again, nobody answers
    asking.cancel()
    if done:
        assert asking.exception() is not None or asking.result() in (502, 503, 504)
    return await entries()
