"""Handles through Traefik and three nodes, by the clients on their defaults: minted, wrapped, and when a node ends.

With CONVERSATIONS=1000 in the environment there are so many at once.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from typing import Any

import fastmcp
import psutil
import pytest
from mcp.client import Client
from mcp.shared.exceptions import MCPError

from tests.bare import ROOT, ServerKind
from tests.cli.doctor.process import running_doctor
from tests.clients.programs import NODE, NODE_TESTS, need_node
from tests.e2e.clusters import Cluster, environment, running_cluster
from tests.e2e.test_affinity import grown, settled
from tests.node.requests.test_modern import META, MODERN
from tests.node.rpc import RawClient
from tests.waiting import until

pytestmark = pytest.mark.real

CONNECTIONS, CALLS = 5, 3
EACH = int(os.environ.get("CONVERSATIONS", "60")) // CONNECTIONS
RULES = [{"mint": "create_session", "field": "session_id", "use": ["session_id"]}]
VARIABLES = {
    "MOORING_HANDLES": json.dumps(RULES),
    "MOORING_HANDLE_PARAMS": "Browser",
    "MOORING_PLACEMENT_KEY": "header:X-Conversation-Id",
}


@pytest.fixture(scope="module", params=["v2", "fastmcp"])
def keeping(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    kind: ServerKind = request.param
    with running_cluster(kind, target=f"tests/servers/keeping_{kind}.py:server", variables=VARIABLES) as cluster:
        yield cluster


def text_of(result: Any) -> str:
    return "".join(getattr(part, "text", "") for part in result.content)


async def opened(client: Any) -> str:
    """A handle."""
    return text_of(await client.call_tool("open_browser", {}))


async def created(client: Any) -> str:
    """An id of the server's own, as its client sees it."""
    said: str = json.loads(text_of(await client.call_tool("create_session", {})))["session_id"]
    return said


async def conversations(make_client: Any, url: str, mint: Any, tool: str, argument: str) -> list[str]:
    """Many at once; returns what was said in each turn of each."""

    async def converse(client: Any) -> list[str]:
        handle = await mint(client)
        assert handle.startswith("mh~")
        return [text_of(await client.call_tool(tool, {argument: handle})) for _ in range(CALLS)]

    async def connect() -> list[list[str]]:
        async with make_client(url) as client:
            await client.list_tools()  # whoever has not seen a tool's schema mirrors nothing into headers
            return await asyncio.gather(*(converse(client) for _ in range(EACH)))

    said = await asyncio.gather(*(connect() for _ in range(CONNECTIONS)))
    return [text for one in said for texts in one for text in texts]


WHOLE = [f"page {turn}" for turn in range(1, CALLS + 1)] * (CONNECTIONS * EACH)


async def test_calls_whose_header_has_the_handle_reach_its_owner_without_a_hop(keeping: Cluster) -> None:
    before = await settled(keeping)
    for make_client in (Client, fastmcp.Client):
        assert await conversations(make_client, keeping.url, opened, "browse", "browser") == WHOLE
    after = await settled(keeping)
    assert sum(grown(before, after, "forwarded_out")) <= 0.01 * 2 * len(WHOLE)
    assert all(served > 0.2 * 2 * len(WHOLE) for served in grown(before, after, "served"))


async def test_calls_that_name_a_handle_in_their_body_alone_reach_its_owner(keeping: Cluster) -> None:
    before = await settled(keeping)
    assert await conversations(Client, keeping.url, opened, "browse_unmarked", "browser") == WHOLE
    assert await conversations(fastmcp.Client, keeping.url, created, "use_session", "session_id") == WHOLE
    after = await settled(keeping)
    forwarded = sum(grown(before, after, "forwarded_out"))
    assert 0 < forwarded <= 2 * len(WHOLE)
    assert sum(grown(before, after, "forwarded_in")) == forwarded


async def test_the_typescript_client_meets_the_same(keeping: Cluster) -> None:
    need_node()
    command = (str(NODE), str(NODE_TESTS / "handles_client2.mjs"), keeping.url, "50", str(CALLS))
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    printed = (await asyncio.wait_for(process.communicate(), 60))[0]
    assert json.loads(printed) == {"era": "modern", "wrong": []}


@pytest.mark.parametrize(
    ("mint", "use"), [("open_browser", "browse_unmarked"), ("create_session", "use_session")], ids=["minted", "wrapped"]
)
async def test_the_doctor_finds_handles_known_on_every_node(keeping: Cluster, mint: str, use: str) -> None:
    arguments = ("--only", "state", "--tool", mint, "--then", use, "--json")
    async with running_doctor(keeping.url, *arguments) as run:
        report = json.loads((await run.end()).out)
    [finding] = [one for one in report["findings"] if one["check"] == "state"]
    assert finding["verdict"] == "ok"
    assert finding["evidence"]["known"] == finding["evidence"]["brought_back"] > 1


@pytest.mark.parametrize(
    ("mint", "use", "argument"),
    [(opened, "browse", "browser"), (created, "use_session", "session_id")],
    ids=["minted", "wrapped"],
)
async def test_a_handle_whose_owner_is_killed_is_said_to_be_gone(
    keeping: Cluster, mint: Any, use: str, argument: str
) -> None:
    nodes = await keeping.until_nodes(3)
    async with Client(keeping.url) as client:
        await client.list_tools()
        handles = [await mint(client) for _ in range(12)]
        victim = owner_of(nodes, handles[0])
        await kill(victim["pid"])
        for handle in handles:
            result = await past_lost_connections(client, use, {argument: handle})
            if owner_of(nodes, handle)["id"] == victim["id"]:
                assert result.is_error
                assert f"{handle} is gone" in text_of(result)
                assert (result.meta or {})["mooring/reason"] == "handle_gone"
            else:
                assert text_of(result) == "page 1"
    await keeping.until_nodes(3)


async def past_lost_connections(client: Client, tool: str, arguments: dict[str, Any]) -> Any:
    """A call, made again where Traefik answers 502: it sent it on a connection that a node had taken with it."""
    while True:
        try:
            return await client.call_tool(tool, arguments)
        except MCPError as error:
            if str(error) != "Server returned an error response":
                raise


async def kill(pid: int) -> None:
    process = psutil.Process(pid)
    process.kill()
    await asyncio.to_thread(process.wait, 10)  # what it is sent while it dies is lost with its connection


async def test_first_calls_of_a_conversation_meet_on_one_node_and_move_together_when_it_dies(
    keeping: Cluster, raw: RawClient
) -> None:
    await keeping.until_nodes(3)
    body = {"jsonrpc": "2.0", "id": 7, "method": "tools/call"}
    body["params"] = {"name": "process", "arguments": {}, "_meta": META}

    async def first_call(key: str) -> str:
        headers = {**MODERN, "mcp-name": "process", "x-conversation-id": key}
        while True:
            reply = await raw.send("POST", keeping.url, body=body, headers=headers)
            if reply.status != 502:  # which Traefik says of a connection that a node took with it
                return str(reply.json["result"]["content"][0]["text"])

    async def first_calls(key: str) -> set[str]:
        """Which processes answer, to some at once."""
        return set(await asyncio.gather(*(first_call(key) for _ in range(5))))

    met: dict[str, set[str]] = {}

    async def are_on_several_nodes() -> bool:
        keys = [f"conversation {len(met) + n}" for n in range(6)]
        met.update(zip(keys, await asyncio.gather(*map(first_calls, keys)), strict=True))
        return len(set.union(*met.values())) > 1

    await until(are_on_several_nodes, what="conversations on several nodes")
    assert {len(processes) for processes in met.values()} == {1}
    keys = list(met)
    [victim] = met[keys[0]]
    await kill(int(victim))
    for key in keys:
        again = await first_calls(key)
        assert len(again) == 1
        assert (again == met[key]) is (met[key] != {victim})
    await keeping.until_nodes(3)


async def test_a_node_that_drains_lets_calls_with_its_handles_end(keeping: Cluster) -> None:
    await keeping.until_nodes(3)
    async with Client(keeping.url) as client:
        await client.list_tools()
        handle = await opened(client)
        owner = owner_of(await settled(keeping), handle)
        running = asyncio.create_task(client.call_tool("browse_slowly", {"browser": handle, "seconds": 2.0}))
        await until(lambda: is_served(keeping, owner), what="the call to be served")
        drained = await drain(keeping, owner["name"])
        assert running.done()
        assert text_of(running.result()) == "page 1"
        assert drained
        result = await client.call_tool("browse", {"browser": handle})
        assert (result.meta or {})["mooring/reason"] == "handle_gone"
        assert text_of(await client.call_tool("browse", {"browser": await opened(client)})) == "page 1"


def owner_of(nodes: list[dict[str, Any]], handle: str) -> dict[str, Any]:
    shard = handle.removeprefix("mh~").partition(".")[0]
    return next(node for node in nodes if shard in node["shards"])


async def is_served(cluster: Cluster, owner: dict[str, Any]) -> bool:
    """Whether the node has counted one more since it was looked at."""
    nodes = await asyncio.to_thread(cluster.nodes)
    return any(node["id"] == owner["id"] and node["served"] > owner["served"] for node in nodes)


async def drain(cluster: Cluster, name: str) -> bool:
    """`mooring drain --wait`; whether it says that all was given away."""
    command = (sys.executable, "-m", "mooring", "drain", name, "--wait", "--run-dir", str(cluster.run_dir))
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, env=environment())
    return await asyncio.wait_for(process.wait(), 60) == 0
