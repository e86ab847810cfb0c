"""The doctor as an operator uses it, on a whole cluster of ours: it finds nothing wrong, and sees a node go."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator

import pytest

from tests.cli.doctor.process import running_doctor
from tests.deployments import haproxy
from tests.e2e.clusters import Cluster, running_cluster
from tests.waiting import until

pytestmark = [pytest.mark.real]

TOKEN = "a-status-token-for-tests"


@pytest.fixture(scope="module")
def watched() -> Iterator[Cluster]:
    """Three nodes with a status page, whose sessions end with their node: a watch is to see them go."""
    with running_cluster(
        "v2", variables={"MOORING_STATUS_TOKEN": TOKEN, "MOORING_ON_NODE_LOSS": "reinitialize"}
    ) as cluster:
        yield cluster


def status_of(cluster: Cluster) -> list[str]:
    return ["--status", f"{cluster.base}/mooring/status"]


async def test_a_whole_cluster_is_healthy(watched: Cluster) -> None:
    arguments = [watched.url, *status_of(watched), "--other-path", "/where", "--idle", "17", "--json"]
    async with running_doctor(*arguments, environment={"MOORING_STATUS_TOKEN": TOKEN}) as run:
        ended = await run.end()
    report = json.loads(ended.out)
    assert {one["check"]: one["says"] for one in report["findings"] if one["verdict"] != "ok"} == {}
    assert (ended.code, report["outlook"], report["proxy"]) == (0, "healthy", "Traefik")
    assert set(report["not_run"]) == {"principals", "old-transport", "state"}
    assert report["sessions"] == {"opened": 20, "closed": 20, "left": 0, "why_left": ""}
    found = {one["check"]: one["evidence"] for one in report["findings"]}
    assert found["affinity"]["reached"] == 800
    assert {node["name"] for node in found["spread"]["nodes"]} == {"node-1", "node-2", "node-3"}


async def test_a_node_that_the_load_balancer_forgot_is_starved(watched: Cluster) -> None:
    urls = [node["url"] for node in watched.nodes()[:2]]
    async with haproxy.learned_session_id(urls) as url:
        arguments = [url, *status_of(watched), "--only", "eras,affinity,spread", "--json"]
        async with running_doctor(*arguments, environment={"MOORING_STATUS_TOKEN": TOKEN}) as run:
            ended = await run.end()
    report = json.loads(ended.out)
    assert ended.code == 1
    [problem] = [one for one in report["findings"] if one["verdict"] != "ok"]
    assert problem["check"] == "spread"
    assert "node-3" in problem["says"]


async def test_a_node_is_killed_in_a_watch(watched: Cluster) -> None:
    victim = watched.nodes()[0]
    async with running_doctor(watched.url, "--watch", "--calls", "2", "--json") as run:

        async def in_use() -> bool:
            """The watch has begun: it listens in each of its sessions."""
            return sum(int(node["streams_open"]) for node in watched.nodes()) >= 15

        await until(in_use, what="the sessions of the watch")
        kept = sum(int(node["sessions"]) for node in watched.nodes() if node["id"] != victim["id"])
        os.kill(victim["pid"], signal.SIGKILL)

        async def refused() -> bool:
            counts = [node["refused"] for node in watched.nodes()]
            return sum(int(one.get("owner_lost", 0)) + int(one.get("expired", 0)) for one in counts) > 3

        async def opened() -> bool:
            return sum(int(node["sessions"]) for node in watched.nodes() if node["id"] != victim["id"]) > kept

        await until(refused, what="sessions of the dead node to be missed")
        await until(opened, what="a new session after that")
        run.process.send_signal(signal.SIGINT)
        ended = await run.end()
    report = json.loads(ended.out)
    assert ended.code == 2
    [found] = report["findings"]
    assert found["check"] == "node-loss"
    # Traefik answers for calls that were under way, with or without words, or cuts an answer that has begun; who asks
    # for a lost session a second time hears that it is no longer on record.
    errors = found["evidence"]["errors"].keys()
    gone = {"404 owner_lost", "404 expired"}
    assert errors & gone
    assert errors <= gone | {"502", "502 Bad Gateway", "connection closed before the answer was whole"}
    assert found["evidence"]["fates"].keys() == {"lost", "untouched"}
    assert found["evidence"]["new_sessions_after_loss"]["opened"] > 0
    await watched.until_nodes(3)
