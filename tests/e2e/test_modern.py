"""Clients on their defaults (revision 2026-07-28), through three nodes of servers that know of one process alone."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import fastmcp
import pytest
from mcp.client import Client
from mcp.client.subscriptions import listen
from mcp.server.subscriptions import PromptsListChanged, ResourceUpdated, ToolsListChanged
from mcp.types import ElicitResult

from tests.bare import ROOT, ServerKind
from tests.e2e.clusters import Cluster, running_cluster

pytestmark = pytest.mark.real

TIMES = 12
RESOURCES = [f"test://resource/{number}" for number in range(TIMES)]


@pytest.fixture(scope="module", params=["v2", "fastmcp"])
def asking(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A server object; its file names neither Mooring, nor a key, nor Redis."""
    kind: ServerKind = request.param
    with running_cluster(kind, target=f"tests/servers/asking_{kind}.py:server") as cluster:
        yield cluster


async def answer_sdk(context: Any, params: Any) -> ElicitResult:
    return ElicitResult(action="accept", content={"name": "yes"})


async def answer_fastmcp(message: str, response_type: Any, params: Any, context: Any) -> dict[str, str]:
    return {"name": "yes"}


def sdk_client(url: str) -> Any:
    return Client(url, elicitation_callback=answer_sdk)


def fastmcp_client(url: str) -> Any:
    return fastmcp.Client(url, elicitation_handler=answer_fastmcp)


def text_of(result: Any) -> str:
    return "".join(getattr(part, "text", "") for part in result.content)


@pytest.mark.parametrize("make_client", [sdk_client, fastmcp_client])
async def test_every_question_to_the_user_is_answered(asking: Cluster, make_client: Any) -> None:
    answered: Counter[str] = Counter()
    for _ in range(TIMES):
        async with make_client(asking.url) as client:
            answered[text_of(await client.call_tool("remove", {}))] += 1
    assert answered == {"removed yes: yes": TIMES}


@pytest.mark.parametrize("make_client", [sdk_client, fastmcp_client])
async def test_every_change_is_heard_once_by_a_listener_on_each_node(asking: Cluster, make_client: Any) -> None:
    nodes = [f"{node['url']}/mcp" for node in asking.nodes()]
    assert len(nodes) == 3
    async with AsyncExitStack() as stack, asyncio.timeout(60):
        listeners = [await stack.enter_async_context(make_client(url)) for url in nodes]
        wanted: Any = {"tools_list_changed": True, "prompts_list_changed": True, "resource_subscriptions": RESOURCES}
        streams = [await stack.enter_async_context(listen(one.session, **wanted)) for one in listeners]
        for number, resource in enumerate(RESOURCES):
            async with make_client(nodes[number % 3]) as client:
                await client.call_tool("change", {"what": "tools"})
                assert [await anext(stream) for stream in streams] == [ToolsListChanged()] * 3
                await client.call_tool("change", {"what": resource})
                assert [await anext(stream) for stream in streams] == [ResourceUpdated(resource)] * 3
        async with make_client(asking.url) as client:
            await client.call_tool("change", {"what": "prompts"})
        # Had any of them come twice, it would stand before this one.
        assert [await anext(stream) for stream in streams] == [PromptsListChanged()] * 3


@pytest.fixture(scope="module")
def counting() -> Iterator[Cluster]:
    with running_cluster("v2", target="examples/counter.py:server") as cluster:
        yield cluster


async def said_by_the_example(cluster: Cluster, *flags: str) -> list[list[str]]:
    """The words of each line that it prints."""
    command = (sys.executable, "examples/client.py", cluster.url, *flags)
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    said = (await asyncio.wait_for(process.communicate(), 60))[0].decode()
    assert process.returncode == 0, said
    return [line.split() for line in said.splitlines()]


async def test_the_example_counts(counting: Cluster) -> None:
    [_, handle], [node], *counts = await said_by_the_example(counting)
    assert handle.startswith("mh~")
    assert node.startswith("node-")
    assert counts == [["1"], ["2"], ["3"], ["4"], ["5"], ["6"]]


async def test_the_example_counts_in_a_session_which_has_one_node(counting: Cluster) -> None:
    [node], *counts = await said_by_the_example(counting, "--legacy")
    assert node.startswith("node-")
    assert counts == [["1"], ["2"], ["3"], ["4"], ["5"], ["6"]]


@pytest.mark.parametrize("era", [(), ("--legacy",)])
async def test_the_example_goes_on_when_its_node_is_killed(counting: Cluster, era: tuple[str, ...]) -> None:
    lines = await said_by_the_example(counting, "--kill", *era)
    [before], *said = lines if era else lines[1:]
    assert said[:4] == [["1"], ["2"], ["3"], ["killed"]]
    assert said[4][0] == before
    assert said[4][1] != before
    assert said[5:] == [["4"], ["5"], ["6"]]
    await counting.until_nodes(3)


async def test_the_example_counts_by_a_handle_on_every_node(counting: Cluster) -> None:
    async with Client(counting.url) as client:
        handle = text_of(await client.call_tool("new_counter", {}))
    counted = []
    for node in counting.nodes():
        async with Client(f"{node['url']}/mcp") as client:
            counted.append(text_of(await client.call_tool("increment", {"counter": handle})))
    assert counted == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("arguments", "says"), [({}, "Call new_counter"), ({"counter": "made-up"}, "there is no such counter")]
)
async def test_the_example_says_how_to_count(counting: Cluster, arguments: dict[str, str], says: str) -> None:
    async with Client(counting.url) as client:
        result = await client.call_tool("increment", arguments)
    assert result.is_error
    assert says in text_of(result)
