"""Sessions watched while a node is killed: a real one, behind a real load balancer."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest
from yarl import URL

from mooring.doctor.diagnosis import diagnose
from mooring.doctor.findings import Verdict
from mooring.doctor.plan import Plan
from mooring.doctor.report import Outlook, Report
from tests.deployments import haproxy
from tests.deployments.servers import replica_urls, replicas
from tests.doctor.ledger import running_ledger
from tests.doctor.runs import Notes, finding
from tests.waiting import until

pytestmark = [pytest.mark.real]


async def ended(task: asyncio.Task[Report]) -> Report:
    """The operator's Ctrl-C: the watch ends with its report."""
    task.cancel()
    return await task


def watching(url: str, **fields: Any) -> tuple[asyncio.Task[Report], Notes]:
    notes = Notes()
    plan = Plan(URL(url), **{"sessions": 8, "calls": 2, "watch_seconds": math.inf, "timeout_seconds": 2.0, **fields})
    return asyncio.create_task(diagnose(plan, notes)), notes


async def heard(notes: Notes, *words: str) -> None:
    async def said() -> bool:
        return any(all(word in step for word in words) for step in notes.steps)

    await until(said, what=" ".join(words))


async def test_a_killed_node_takes_its_sessions_along() -> None:
    async with replicas("stateful", 2) as nodes, haproxy.learned_session_id([node.url for node in nodes]) as url:
        task, notes = watching(url)
        await heard(notes, "watching for 2 s", "6 sessions answer", "0 do not")
        nodes[0].process.kill()

        async def missed() -> bool:
            return notes.steps[-1].startswith("watching") and " 0 do not" not in notes.steps[-1]

        await until(missed, what="sessions that do not answer")
        report = await ended(task)
    found = finding(report, "node-loss")
    assert found.verdict is Verdict.BROKEN
    assert "of 6 sessions" in found.says
    assert 0 < found.evidence["fates"]["untouched"] < 6
    assert {one["streams_ended"][0]["how"] for one in found.evidence["sessions"] if one["fate"] != "untouched"} == {
        "cut"
    }
    assert report.outlook is Outlook.BROKEN


async def test_a_watch_in_which_nothing_happens() -> None:
    async with replica_urls("stateful", 1) as [url]:
        task, _ = watching(url, watch_seconds=2.5)
        report = await task
    found = finding(report, "node-loss")
    assert found.verdict is Verdict.OK
    assert 12 <= found.evidence["calls"] <= 20
    assert report.left == 0


async def test_nothing_is_watched_where_calls_fail_anyway() -> None:
    async with replica_urls("stateful", 2) as urls, haproxy.round_robin(urls) as url:
        task, _ = watching(url)
        report = await task
    assert finding(report, "affinity").verdict is Verdict.BROKEN
    assert report.not_run == {"node-loss": "calls fail already while no node is lost: see affinity"}


async def test_a_server_without_sessions_has_none_to_watch() -> None:
    async with replica_urls("stateless", 1) as [url]:
        task, _ = watching(url)
        report = await task
    assert report.not_run == {"node-loss": "the server gives out no sessions"}
    assert report.outlook is Outlook.HEALTHY


async def test_an_ended_watch_leaves_no_session_behind() -> None:
    async with running_ledger() as ledger:
        task, notes = watching(ledger.url)
        await heard(notes, "watching", "6 sessions answer")
        report = await ended(task)
    assert ledger.live == set()
    assert len(ledger.opened) == report.sessions <= 8


async def test_a_read_only_watch_opens_no_stream() -> None:
    async with running_ledger() as ledger:
        task, _ = watching(ledger.url, watch_seconds=1.5, read_only=True)
        await task
        assert "GET" not in ledger.methods
