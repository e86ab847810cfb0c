"""How long a session is away when its node is killed, and how fast a node's sessions come back.

A local cluster of three nodes as `mooring up` runs it, behind Traefik. One node, which holds many sessions, is killed
(SIGKILL), and its sessions are asked for at once, through the ingress: one of them, as by a client that happens to
call; then, with the next node, all of them at the same time.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import statistics
import time
from typing import Any, Final

import aiohttp
from tests.e2e.clusters import Cluster, running_cluster
from tests.e2e.load import VERSION, open_session
from tests.node.rpc import RawClient

from benchmarks.result import Figure, Result, Spread

_SERVER: Final = "tests/servers/everything_v2.py:app"
_REVIVED: Final = re.compile(r"revived session \S+ of node \S+ in (\d+) ms")
_AT_ONCE: Final = 50
_AGAIN_SECONDS: Final = 0.02
_PING: Final = {"jsonrpc": "2.0", "id": 5, "method": "ping"}


def run(*, quick: bool = False) -> Result:
    sessions, rounds = (60, 2) if quick else (300, 5)
    return asyncio.run(_run(sessions, rounds))


async def _run(sessions: int, rounds: int) -> Result:
    result = Result(
        f"survival: a node with {sessions} sessions is killed, seconds until they answer again",
        ("asked for", "fastest", "median", "99 of 100", "all"),
        caption="SDK v2; `mooring up` sees the node end; through Traefik, from the kill to the answer",
    )
    alone: list[float] = []
    together: list[float] = []
    with running_cluster("v2", target=_SERVER) as cluster:
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:
            raw = RawClient(http)
            for _ in range(rounds):
                alone += await _kill_and_ask(cluster, raw, sessions, 1)
            together += await _kill_and_ask(cluster, raw, sessions, sessions)
        revived = [int(found) for found in _REVIVED.findall(cluster.log)]
    for name, times in (("one session", alone), ("all at once", together)):
        ordered = sorted(times)
        shown = (ordered[0], statistics.median(ordered), ordered[int(0.99 * (len(ordered) - 1))], ordered[-1])
        result.rows.append((name, *(f"{seconds:.2f}" for seconds in shown)))
    result.figures += [
        Figure("kill to the first answer", Spread.of(alone), "s", "ceiling", 0.5),
        Figure("kill until all answer", _single(max(together)), "s", "ceiling", 5.0),
        Figure("one revival", Spread.of(revived[:rounds]), "ms", "ceiling", 20.0),
    ]
    return result


async def _kill_and_ask(cluster: Cluster, raw: RawClient, sessions: int, asked: int) -> list[float]:
    """Kill a node that holds that many sessions; seconds until each of those that are asked for answers."""
    nodes = await cluster.until_nodes(3, seconds=60)
    victim = nodes[0]
    mine = await _fill(raw, victim, sessions)
    os.kill(victim["pid"], signal.SIGKILL)
    killed = time.monotonic()
    room = asyncio.Semaphore(_AT_ONCE)

    async def one(session: str) -> float:
        async with room:
            while not await _answers(raw, cluster.base, session):  # noqa: ASYNC110 - another process is waited for
                await asyncio.sleep(_AGAIN_SECONDS)
            return time.monotonic() - killed

    return await asyncio.gather(*(one(session) for session in mine[:asked]))


async def _fill(raw: RawClient, node: dict[str, Any], sessions: int) -> list[str]:
    room = asyncio.Semaphore(10)

    async def one() -> str:
        async with room:
            return await open_session(raw, node["url"])

    return await asyncio.gather(*(one() for _ in range(sessions)))


async def _answers(raw: RawClient, base: str, session: str) -> bool:
    try:
        reply = await raw.call(base, session, body=_PING, headers=VERSION)
    except aiohttp.ClientError:
        return False
    return reply.status == 200 and "result" in reply.json


def _single(value: float) -> Spread:
    return Spread(value, value, value)
