"""Nodes lose Redis, each other, time, or all of them their lives, under load; and nobody notices."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp
import pytest
import pytest_asyncio

from tests.chaos.balancer import balancing
from tests.chaos.clients import Callers, calling, more_calls
from tests.e2e.linked import Nodes, nodes
from tests.node.rpc import RawClient
from tests.waiting import until

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="module")]

COUNT: Final = 12
CALLS: Final = 60
LEASE_SECONDS: Final = 3.0
_TIMES: Final = {"HEARTBEAT": 0.5, "LEASE": LEASE_SECONDS, "REDIS_TIMEOUT": 1, "CONNECT": 1, "HOLD": 15}
"""Short ones, which a machine that is busy with all the clients can keep."""


@dataclass
class Served:
    cluster: Nodes
    ledger: Path
    raw: RawClient

    @contextlib.asynccontextmanager
    async def calling(
        self, most_cut: float = 0.02, *, is_away: bool = False, loses_words: bool = False
    ) -> AsyncIterator[Callers]:
        """Clients at work before, during and after what befalls the nodes meanwhile."""
        async with (
            balancing([node.url for node in self.cluster.served]) as connection,
            calling(connection, self.ledger, COUNT, most_cut, is_away=is_away, loses_words=loses_words) as callers,
        ):
            await more_calls(callers, CALLS)
            yield callers
            await until(self._serve, what="all nodes to serve")
            await more_calls(callers, CALLS)

    async def _serve(self) -> bool:
        with contextlib.suppress(OSError):
            return await self.cluster.healths(self.raw) == [200] * len(self.cluster.served)
        return False


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    """Three nodes."""
    folder = tmp_path_factory.mktemp("nodes")
    ledger = folder / "ledger"
    ledger.touch()
    variables = {f"MOORING_{name}_SECONDS": str(value) for name, value in _TIMES.items()}
    variables["LEDGER"] = str(ledger)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as http:
        raw = RawClient(http)
        async with nodes(3, folder, raw, variables, "tests/servers/ledger_v2.py:server") as cluster:
            yield Served(cluster, ledger, raw)


async def test_one_stops_beyond_its_lease_and_goes_on(served: Served) -> None:
    async with served.calling():
        process = served.cluster.served[0].process
        process.send_signal(signal.SIGSTOP)
        # Who asked it last waits for it, and that may be all of them: nobody waits for more calls here.
        await asyncio.sleep(2 * LEASE_SECONDS)
        process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("of", ["redis", "its peers", "both"])
async def test_one_is_cut_off(served: Served, of: str) -> None:
    # With nobody to ask, it says of what it is asked for that it cannot know. And what it says by itself to whoever
    # listens by way of a peer is not heard, nor on record.
    is_alone = of == "both"
    async with served.calling(most_cut=0.1 if is_alone else 0.02, loses_words=is_alone):
        links = {"redis": served.cluster.to_redis[:1], "its peers": served.cluster.to_node[:1]}
        cut = links.get(of) or [*links["redis"], *links["its peers"]]
        for one in cut:
            one.cut()
        await asyncio.sleep(1.5 * LEASE_SECONDS)
        for one in cut:
            one.mend()


@pytest.mark.parametrize("how", ["started again, empty", "emptied"])
async def test_redis_forgets_everything(served: Served, how: str) -> None:
    async with served.calling() as callers:
        if how == "emptied":
            await served.cluster.redis.empty()
        else:
            await served.cluster.redis.stop()
            await more_calls(callers, CALLS)
            await served.cluster.redis.start()


async def test_all_die_at_once_and_start_again(served: Served) -> None:
    # What was asked for while there was nobody was answered by nobody.
    async with served.calling(most_cut=0.5, is_away=True):
        for node in served.cluster.served:
            node.process.kill()
        for node in served.cluster.served:
            node.process.wait()
            node.start()
        for node in served.cluster.served:
            await asyncio.to_thread(node.wait_until_ready)
