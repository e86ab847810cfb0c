"""Nodes are killed at any moment: what a call changed in its session's state is there once, or its client was told.

With KILLS=1000 in the environment so many are killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import random
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest
from mcp.client import Client
from mcp.shared.exceptions import MCPError

from tests.chaos.balancer import balancing
from tests.chaos.clients import through
from tests.chaos.diary import Diary
from tests.chaos.mortal import mortals
from tests.e2e.clusters import running_cluster
from tests.waiting import until

pytestmark = pytest.mark.real

NODES: Final = 4
SESSIONS: Final = 6
CALLS: Final = 12
"""Answered between two deaths."""
KILLS: Final = int(os.environ.get("KILLS", "16"))
ANSWER_SECONDS: Final = 45.0
_NAMES: Final = itertools.count()


async def write_on(client: Client, diary: Diary, is_over: asyncio.Event) -> None:
    while not is_over.is_set():
        entry = f"e{next(_NAMES)}"
        tool = random.choice(("add", "add_in_thread"))
        diary.calls += 1
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                result = await client.call_tool(tool, {"entry": entry, "seconds": random.choice((0.0, 0.05, 0.2))})
        except TimeoutError:
            diary.wrong.append(f"{entry}: no answer")
        except MCPError as error:
            data: Any = error.error.data or {}
            (diary.unknown if data.get("reason") == "outcome_unknown" else diary.cut).append(entry)
        else:
            if result.is_error:
                diary.wrong.append(f"{entry}: {result.content}")
            diary.entries.append(entry)


@contextlib.asynccontextmanager
async def writing(urls: list[str]) -> AsyncIterator[list[Diary]]:
    """Clients at work while this lasts; then each looks at what its session keeps."""
    is_over, are_open, diaries = asyncio.Event(), asyncio.Barrier(SESSIONS + 1), [Diary() for _ in range(SESSIONS)]

    async def one(diary: Diary) -> None:
        async with Client(connection(), mode="legacy") as client:
            await are_open.wait()
            await write_on(client, diary, is_over)
            state = await client.call_tool("look", {})
            diary.wrong = diary.verdict(json.loads(state.content[0].text))  # type: ignore[union-attr]

    async with balancing(urls) as connection, asyncio.TaskGroup() as group:
        for diary in diaries:
            group.create_task(one(diary))
        await are_open.wait()
        try:
            yield diaries
        finally:
            is_over.set()


async def more_answers(diaries: list[Diary], count: int) -> None:
    def answered() -> int:
        return sum(len(diary.entries) for diary in diaries)

    wanted = answered() + count

    async def are_there() -> bool:
        return answered() >= wanted

    await until(are_there, what="more answers")


@pytest.mark.timeout(300 + 3 * KILLS)
async def test_a_call_is_kept_with_its_answer_or_carried_out_again() -> None:
    async with mortals(NODES, retry_seconds=0.1) as nodes:
        async with writing(nodes.urls) as diaries:
            while nodes.killed < KILLS:
                await nodes.kill_one()
                await more_answers(diaries, CALLS)
            await nodes.until_ready(NODES)
        calls, unknown, cut = (sum(diary) for diary in zip(*(diary.counts for diary in diaries), strict=True))
        print(f"{KILLS} nodes killed in {calls} calls: {unknown} unknown, {cut} cut")
        assert [wrong for diary in diaries for wrong in diary.wrong] == []
        assert unknown + cut <= calls * 0.1


@pytest.mark.parametrize(("kind", "tool"), [("v1", "add_in_thread"), ("fastmcp", "add")])
async def test_in_every_sdk_a_call_that_is_cut_off_in_the_middle_counts_once(
    kind: str, tool: str, tmp_path: Path
) -> None:
    """An ordinary function runs in the event loop in SDK v1."""
    ledger = tmp_path / "ledger"
    ledger.touch()
    target = f"tests/servers/state_{kind}.py:server"
    with running_cluster(kind, target=target, nodes=2, variables={"LEDGER": str(ledger)}) as cluster:
        async with Client(through(cluster.url), mode="legacy") as client:
            first = await client.call_tool("add", {"entry": "e1"})
            assert first.content[0].text == "1"  # type: ignore[union-attr]

            async def owners() -> list[dict[str, Any]]:
                return [node for node in await asyncio.to_thread(cluster.nodes) if int(node["sessions"]) > 0]

            [owner] = await until(owners, what="a node to say that it has the session")
            calling = asyncio.create_task(client.call_tool(tool, {"entry": "e2", "seconds": 2.0}))

            async def has_begun() -> bool:
                return "begins e2" in ledger.read_text()

            await until(has_begun, what="the call to begin")
            os.kill(owner["pid"], signal.SIGKILL)
            again = await asyncio.wait_for(calling, ANSWER_SECONDS)
            assert again.content[0].text == "2"  # type: ignore[union-attr]
            await cluster.until_nodes(2)  # the ingress may still send to the one that is gone
            kept = await client.call_tool("look", {})
            assert json.loads(kept.content[0].text)["kept"]["entries"] == ["e1", "e2"]  # type: ignore[union-attr]
            if kind == "fastmcp":
                counted = [await client.call_tool("count", {}) for _ in range(2)]
                assert [one.content[0].text for one in counted] == ["1", "2"]  # type: ignore[union-attr]
    assert ledger.read_text().split().count("e2") in (2, 3), "begun twice, and ended at least once"
