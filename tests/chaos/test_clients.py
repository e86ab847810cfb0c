"""What each official client sees of a node's death, unchanged and left to itself: the table in `docs/survival.md`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.clients.driving import PATIENCE_SECONDS, Driven, driven_client
from tests.clients.programs import CLIENTS, EARLIER_CLIENT
from tests.clients.wire import post_in_session
from tests.e2e.clusters import Cluster, running_cluster
from tests.e2e.conftest import raw
from tests.e2e.load import VERSION, open_session
from tests.node.rpc import RawClient, Reply
from tests.waiting import until

__all__ = ["raw"]

pytestmark = pytest.mark.real

NODES = 3
SOME, LONG, NEVER = 10, 60, 10_000
"""Steps of a call that ends, but not before its node is killed; and of one that ends with its node."""


@dataclass
class Served:
    cluster: Cluster
    ledger: Path

    def lines(self, begins: str) -> list[str]:
        """What stands behind that word, in each of the ledger's lines that begin with it."""
        return [line.split()[1] for line in self.ledger.read_text().splitlines() if line.split()[0] == begins]

    @contextlib.asynccontextmanager
    async def held(self, count: int) -> AsyncIterator[None]:
        """What opens and ends sessions is held; in the end, once so many requests are, their nodes are killed."""
        held, before = self.ledger.with_suffix(".held"), len(self.lines("held"))
        held.touch()
        yield

        async def are_held() -> bool:
            return len(self.lines("held")) == before + count

        await until(are_held, what=f"{count} requests to be held", seconds=PATIENCE_SECONDS)
        held.unlink()
        for pid in set(self.lines("held")[before:]):

            async def is_not_alone() -> bool:
                return len(await asyncio.to_thread(self.cluster.nodes)) > 1

            await until(is_not_alone, what="another node", seconds=PATIENCE_SECONDS)
            os.kill(int(pid), signal.SIGKILL)

    async def begun(self, entry: str) -> None:
        async def has_begun() -> bool:
            return entry in self.lines("begins")

        await until(has_begun, what=f"{entry} to begin", seconds=PATIENCE_SECONDS)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    ledger = tmp_path_factory.mktemp("ledger") / "ledger"
    ledger.touch()
    target = "tests/servers/ledger_v2.py:app"
    with running_cluster("v2", target=target, variables={"LEDGER": str(ledger)}, nodes=NODES) as cluster:
        yield Served(cluster, ledger)
        print(cluster.log[-20_000:])


async def until_it_heard(client: Driven, uri: str) -> None:
    async def heard() -> bool:
        return uri in [one["uri"] for one in client.all("updated")]

    await until(heard, what=f"the client to hear of {uri}; it saw {client.saw}", seconds=PATIENCE_SECONDS)


@contextlib.asynccontextmanager
async def working(name: str, served: Served) -> AsyncIterator[Driven]:
    """A client that hears what the server says by itself."""
    async with driven_client(name, served.cluster.url) as client:
        await client.first("open")

        async def hears() -> bool:
            await client.asked("announce", uri="test://before")
            return client.all("updated") != []

        await until(hears, what="the client to listen", seconds=PATIENCE_SECONDS)
        yield client


@dataclass
class Work:
    """What a client is at while its node is killed: a tool that may not be carried out twice, and one that may; in
    another session one that waits for the user."""

    name: str
    client: Driven
    asked: Driven
    calls: dict[str, int] = field(default_factory=dict)

    async def nodes(self) -> set[int]:
        return {int(await one.asked("where")) for one in (self.client, self.asked)}

    async def begin(self, served: Served) -> None:
        self.asked.order({"user": "leaves"})
        self.calls = {
            "work": self.client.call("work", entry=f"work-{self.name}", steps=NEVER),
            "look": self.client.call("look", entry=f"look-{self.name}", steps=LONG),
            "ask": self.asked.call("ask", entry=f"ask-{self.name}"),
        }
        for tool in self.calls:
            await served.begun(f"{tool}-{self.name}")
        for tool in ("work", "look"):  # by then it is on record that they run
            await self.has_progressed(self.calls[tool])

    async def has_progressed(self, number: int) -> None:
        async def has() -> bool:
            return len(self.client.progress(number)) >= SOME

        await until(has, what=f"progress of call {number}", seconds=PATIENCE_SECONDS)

    async def outcomes(self, served: Served) -> None:
        """Each call has one outcome, and each event was heard once."""
        changing, reading, asking = self.calls.values()
        outcome = await self.client.outcome(changing)
        assert (outcome["saw"], outcome.get("reason")) == ("error", "outcome_unknown"), outcome
        outcome = await self.client.outcome(reading)
        assert (outcome["saw"], outcome.get("text")) == ("answer", f"look-{self.name}"), outcome
        for number in (changing, reading):
            seen = self.client.progress(number)
            assert seen == sorted(set(seen)), seen
        assert self.client.progress(reading)[-1] == LONG
        await self._late_answer(asking, served)

    async def _late_answer(self, asking: int, served: Served) -> None:
        """The one to the question of the node that is gone is taken for no other question's."""
        again = self.asked.call("ask", entry=f"again-{self.name}")
        await served.begun(f"again-{self.name}")
        self.asked.order({"user": "comes"})
        outcome = await self.asked.outcome(asking)
        assert (outcome["saw"], outcome.get("reason")) == ("error", "outcome_unknown"), outcome
        assert (await self.asked.outcome(again))["text"] == f"again-{self.name}"

    async def go_on(self) -> None:
        """The session is usable, and hears once what the server says by itself."""
        await self.client.asked("announce", uri="test://after")
        await until_it_heard(self.client, "test://after")
        for one in (self.client, self.asked):
            assert {number: len(one.outcomes(number)) for number in one.called} == dict.fromkeys(one.called, 1)
        assert Counter(one["uri"] for one in self.client.all("updated"))["test://after"] == 1


async def test_in_the_middle_of_calls(served: Served) -> None:
    async with contextlib.AsyncExitStack() as stack:
        started = [working(name, served) for name in CLIENTS for _ in range(2)]
        clients = await asyncio.gather(*(stack.enter_async_context(one) for one in started))
        todo = [Work(*of_one) for of_one in zip(CLIENTS, clients[::2], clients[1::2], strict=True)]
        while todo:
            await served.cluster.until_nodes(NODES, seconds=PATIENCE_SECONDS)
            where = [(work, await work.nodes()) for work in todo]
            victims = where[0][1]
            now = [work for work, pids in where if pids <= victims]
            await asyncio.gather(*(work.begin(served) for work in now))
            for pid in victims:
                os.kill(pid, signal.SIGKILL)
            await asyncio.gather(*(work.outcomes(served) for work in now))
            await asyncio.gather(*(work.go_on() for work in now))
            todo = [work for work in todo if work not in now]
    begun = Counter(served.lines("begins"))
    assert {entry: n for entry, n in begun.items() if entry.startswith(("work-", "ask-", "again-")) and n > 1} == {}
    await served.cluster.until_nodes(NODES, seconds=PATIENCE_SECONDS)


async def test_a_client_of_an_earlier_revision_in_the_middle_of_a_call(served: Served) -> None:
    """It has heard of nothing but the id that each stream begins with."""
    async with driven_client(EARLIER_CLIENT, served.cluster.url) as client:
        await client.first("open")
        pid = int(await client.asked("where"))
        number = client.call("sleep", entry="sleep-earlier")
        await served.begun("sleep-earlier")
        os.kill(pid, signal.SIGKILL)
        outcome = await client.outcome(number)
        assert (outcome["saw"], outcome.get("reason")) == ("error", "outcome_unknown"), outcome
        assert int(await client.asked("where")) != pid
        assert client.outcomes(number) == [outcome]
    await served.cluster.until_nodes(NODES, seconds=PATIENCE_SECONDS)


async def test_while_sessions_are_opened_and_closed(served: Served) -> None:
    """A session opens all the same, where the node that dies had it from another one. Else nobody has one, and nobody
    knows whether it was opened: the client hears so, and tries again.

    Of one that is closed nobody says whether it was, and its client has left in any case: it stays on record.
    """
    url = served.cluster.url
    async with contextlib.AsyncExitStack() as stack:
        leaving = [await stack.enter_async_context(driven_client(name, url)) for name in CLIENTS]
        sessions = [(await client.first("open"))["session"] for client in leaving]
        async with served.held(2 * len(CLIENTS)):
            coming = [await stack.enter_async_context(driven_client(name, url)) for name in CLIENTS]
            for client in leaving:
                client.order({"close": True})
        for client in leaving:
            assert (await client.first("closed", "died"))["saw"] == "closed"
        seen = [await client.first("open", "no session", "died") for client in coming]
        assert {one["saw"] for one in seen} <= {"open", "no session"}
        failed = [name for name, one in zip(CLIENTS, seen, strict=True) if one["saw"] != "open"]
        coming += [await stack.enter_async_context(driven_client(name, url)) for name in failed]
        working = [client for client in coming if not client.all("no session")]
        assert len(working) == len(CLIENTS)
        for client in working:
            await client.first("open")
            assert await client.asked("where")
        for session in sessions:

            async def is_answered(session: str = session) -> bool:
                return await post_in_session(url, session) in (200, 404)

            await until(is_answered, what="the session to be there, or not", seconds=PATIENCE_SECONDS)


@pytest.mark.parametrize("streamed_before", [False, True])
async def test_a_call_that_the_ingress_answered_by_itself_is_known_to_whoever_sends_it_again(
    served: Served, raw: RawClient, streamed_before: bool
) -> None:
    """Its node died before it had answered a byte, with all of the call in the app's hands: nobody knows."""
    base = served.cluster.url.removesuffix("/mcp")
    session = await open_session(raw, base)
    entry = f"again-{streamed_before}"

    async def send(number: int, tool: str, arguments: dict[str, Any], **headers: str) -> Reply:
        params = {"name": tool, "arguments": arguments}
        body = {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}
        return await raw.call(base, session, body=body, headers=VERSION | headers)

    if streamed_before:
        assert (await send(1, "where", {})).status == 200
    before = len(served.lines("held"))
    work = {"entry": entry, "steps": 1}
    call = asyncio.create_task(send(2, "work", work, **{"x-held": "yes"}))

    async def is_held() -> bool:
        return len(served.lines("held")) > before

    await until(is_held, what="the call to be held", seconds=PATIENCE_SECONDS)
    await asyncio.sleep(0.4)  # more than it takes to be on record
    os.kill(int(served.lines("held")[-1]), signal.SIGKILL)
    assert (await call).status == 502

    async def goes_on() -> bool:
        """The next request tells nothing of it. One that meets a connection to the dead node fails as well."""
        return (await send(3, "where", {})).status == 200

    await until(goes_on, what="the session to go on", seconds=PATIENCE_SECONDS)
    assert {(await send(2, "work", work)).reason for _ in range(2)} == {"outcome_unknown"}
    assert entry not in served.lines("begins")
