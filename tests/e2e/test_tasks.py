"""FastMCP's tasks on three nodes, behind a load balancer that sends each request to a node by chance, and by Traefik.

The tasks of a process are found there by their wrapped ids; those in a docket of Redis by every node.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import ClassVar

import pytest
from fastmcp_tasks import call_tool_task
from fastmcp_tasks.client_models import ClientGetTaskResult, GetTaskRequest, GetTaskRequestParams
from mcp.shared.exceptions import MCPError

from tests.bare import python_for, serve
from tests.clients.conformance import EXTENSIONS, ScenarioResult, run_extensions
from tests.deployments.haproxy import running_haproxy
from tests.e2e.clusters import Cluster, environment, running_cluster
from tests.e2e.test_affinity import grown, settled
from tests.e2e.test_handles import kill, owner_of
from tests.e2e.test_modern import fastmcp_client, text_of
from tests.ports import free_port
from tests.real_redis import real_redis
from tests.waiting import until

pytestmark = pytest.mark.real

TASKS = 12


running = partial(running_cluster, "fastmcp", target="tests/servers/tasks_fastmcp.py:server")


@pytest.fixture(scope="module")
def of_nodes() -> Iterator[Cluster]:
    """Each process has a docket of its own, as FastMCP has it by default, and no setting says so."""
    with running() as cluster:
        yield cluster


@pytest.fixture
async def docket_url() -> AsyncIterator[str]:
    port = free_port()
    async with real_redis("redis", "--port", str(port)):
        yield f"redis://127.0.0.1:{port}/0"


@contextlib.asynccontextmanager
async def by_chance(cluster: Cluster, nodes: int = 3) -> AsyncIterator[str]:
    """A load balancer that knows nothing of handles."""
    urls = [node["url"] for node in await cluster.until_nodes(nodes)]
    async with running_haproxy(urls, "balance random(1)") as base:
        yield f"{base}/mcp"


async def run_tasks(url: str) -> set[str]:
    """Many at once, each by a client on its defaults, which asks for it until it is done; returns who did them."""

    async def run(number: int) -> str:
        async with fastmcp_client(url) as client:
            said = text_of(await client.call_tool("slow_compute", {"seconds": 0.2, "label": f"task {number}"}))
            assert said.startswith(f"task {number} computed in ")
            asked = text_of(await client.call_tool("confirm_delete", {"filename": f"file {number}"}))
            assert asked.startswith(f"file {number} deleted for yes in ")
            return said.rpartition(" ")[2]

    return set(await asyncio.gather(*map(run, range(TASKS))))


async def test_tasks_of_each_process_are_found_whichever_node_is_asked(of_nodes: Cluster) -> None:
    async with by_chance(of_nodes) as url:
        processes = await run_tasks(url)
    assert processes <= {str(node["pid"]) for node in of_nodes.nodes()}
    assert len(processes) > 1


class NamedGet(GetTaskRequest):
    """As the extension wants it: the task's id in `Mcp-Name`. FastMCP's own client says it in the body alone."""

    name_param: ClassVar[str | None] = "taskId"


async def test_traefik_brings_requests_that_name_a_task_in_a_header_to_its_process_without_a_hop(
    of_nodes: Cluster,
) -> None:
    before = await settled(of_nodes)
    async with fastmcp_client(of_nodes.url) as client:
        for _ in range(TASKS):
            task = await call_tool_task(client, "slow_compute", {"seconds": 600.0})
            named = NamedGet(params=GetTaskRequestParams(task_id=task.task_id))
            for _ in range(3):
                assert (await client.session.send_request(named, ClientGetTaskResult)).status == "working"
    after = await settled(of_nodes)
    assert sum(grown(before, after, "forwarded_out")) <= 0.01 * sum(grown(before, after, "served"))
    assert min(grown(before, after, "served")) > 0


async def test_fastmcps_client_through_traefik(of_nodes: Cluster) -> None:
    before = await settled(of_nodes)
    assert len(await run_tasks(of_nodes.url)) > 1
    after = await settled(of_nodes)
    assert sum(grown(before, after, "forwarded_out")) == sum(grown(before, after, "forwarded_in")) > 0


async def test_a_task_is_cancelled_whichever_node_is_asked(of_nodes: Cluster) -> None:
    async with by_chance(of_nodes) as url, fastmcp_client(url) as client:
        for _ in range(6):
            task = await call_tool_task(client, "slow_compute", {"seconds": 600.0})
            assert task.task_id.startswith("mh~")
            assert (await task.status()).status == "working"
            await task.cancel()
            assert (await task.wait(timeout=20)).status == "cancelled"


async def test_the_suite_finds_tasks_and_skills_as_on_one_bare_server(of_nodes: Cluster, tmp_path: Path) -> None:
    bare_app = serve("tests.servers.tasks_fastmcp:app", python=python_for("fastmcp"), environment=environment())
    async with bare_app as bare, by_chance(of_nodes) as url:
        expected, found = await asyncio.gather(
            run_extensions(bare, tmp_path / "bare"), run_extensions(url, tmp_path / "nodes")
        )
    assert expected.keys() == set(EXTENSIONS)
    assert counted(found) == counted(expected)
    assert sum(passed for passed, _ in counted(found).values()) > 75


def counted(results: Mapping[str, ScenarioResult]) -> dict[str, tuple[int, tuple[str, ...]]]:
    """Of each scenario, how many checks passed, and which failed."""
    return {name: (one.passed, one.failing) for name, one in results.items()}


async def test_a_task_whose_process_is_killed_is_said_to_be_gone(of_nodes: Cluster) -> None:
    nodes = await of_nodes.until_nodes(3)
    async with fastmcp_client(of_nodes.url) as client:
        tasks = [await call_tool_task(client, "slow_compute", {"seconds": 3.0}) for _ in range(12)]
        owners = [owner_of(nodes, task.task_id) for task in tasks]
        await kill(owners[0]["pid"])
        for task, owner in zip(tasks, owners, strict=True):
            if owner["id"] == owners[0]["id"]:
                with pytest.raises(MCPError, match="is gone"):
                    await task.status()
            else:
                assert text_of(await task.result()) == f" computed in {owner['pid']}"
    await of_nodes.until_nodes(3)


async def test_tasks_in_a_docket_of_redis_belong_to_no_node(docket_url: str) -> None:
    with running(variables={"FASTMCP_DOCKET_URL": docket_url}) as cluster:
        async with by_chance(cluster) as url:
            await run_tasks(url)
        async with fastmcp_client(cluster.url) as client:
            task = await call_tool_task(client, "slow_compute", {"seconds": 0.2, "label": "kept"})
            assert not task.task_id.startswith("mh~")
            await kill(int(text_of(await task.result()).rpartition(" ")[2]))
            assert (await task.status()).status == "completed"


async def test_where_tasks_are_taken_for_shared_another_process_has_no_such_task() -> None:
    with running(nodes=2, variables={"MOORING_TASKS": "shared"}) as cluster:
        async with by_chance(cluster, nodes=2) as url, fastmcp_client(url) as client:
            task = await call_tool_task(client, "slow_compute", {"seconds": 600.0})

            async def is_missed() -> bool:
                try:
                    await task.status()
                except MCPError as error:
                    return "not found" in str(error)
                return False

            await until(is_missed, what="a node that has no such task")
        assert 'set tasks = "node"' in cluster.log
