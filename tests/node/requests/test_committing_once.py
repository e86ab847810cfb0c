"""Calls that are sent again, cut off, or kept in part with another: what each changed is there once, or not at all."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from typing import Any

import pytest
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.server.mcpserver import MCPServer
from mcp.shared.exceptions import MCPError
from mcp_types import ToolAnnotations

from mooring.asgi import WholeBody
from mooring.core.kept_state import StateUse
from mooring.core.model import NodeState
from mooring.core.reconnects import Reconnects
from mooring.errors import StoreUnavailable
from mooring.node.moving.draining import Drain
from mooring.node.moving.handing_over import HandOver
from mooring.node.requests.bodies import RememberedBody
from mooring.node.requests.committing import Committing
from mooring.store.journal import Call
from tests.node.rpc import RawClient
from tests.node.state_nodes import GATES, VERSION, apps, fastmcp_app, hold, request, said, sdk_app, state_nodes
from tests.servers.state_tools import look
from tests.waiting import until

json_apps = pytest.mark.parametrize(
    "make_app", [partial(sdk_app, json_response=True), partial(fastmcp_app, json_response=True)], ids=["sdk", "fastmcp"]
)


@apps
async def test_a_transactional_call_that_is_sent_again_is_carried_out_once(make_app: Any, raw: RawClient) -> None:
    """Whether or not its client could have come back for the stream that answers it."""
    async with state_nodes(raw, 2, make_app) as nodes:
        session = await nodes.open()
        kept, held = request("add", entry="e1"), request("hold", entry="e2")
        assert said(await nodes.post(session, kept)) == "1"
        sending = await nodes.begin(session, held)
        await nodes.kill()
        await asyncio.wait({sending})
        assert said(await nodes.post(session, kept, at=1)) == "1"
        assert [said(await nodes.post(session, held, at=1)) for _ in range(2)] == ["2", "2"]
        assert (await nodes.look(session, at=1))["kept"] == {"entries": ["e1", "e2"]}


@pytest.mark.parametrize("make_app", [sdk_app, partial(sdk_app, json_response=True)], ids=["events", "json"])
async def test_a_transactional_call_is_known_however_its_method_is_spelled(make_app: Any, raw: RawClient) -> None:
    async with state_nodes(raw, 2, make_app) as nodes:
        session = await nodes.open()
        call = json.dumps(request("hold", entry="e1")).replace("/", "\\/").encode()
        sending = asyncio.create_task(nodes.post(session, call))

        async def waits() -> bool:
            return "e1" in GATES

        await until(waits, what="the call to wait")
        await nodes.kill()
        await asyncio.wait({sending})
        assert said(await nodes.post(session, call, at=1)) == "1"
        assert (await nodes.look(session, at=1))["kept"] == {"entries": ["e1"]}


@json_apps
@pytest.mark.parametrize("tool", ["add", "keep"])
async def test_in_json_whoever_sends_a_call_again_that_was_kept_gets_its_answer(
    make_app: Any, tool: str, raw: RawClient
) -> None:
    async with state_nodes(raw, 2, make_app) as nodes:
        session = await nodes.open()
        call = request(tool, entry="e1")
        assert said(await nodes.post(session, call)) == "1"
        await nodes.kill()
        for _ in range(2):
            assert said(await nodes.post(session, call, at=1)) == "1"
        assert await nodes.call(session, tool, at=1, entry="e2") == "2"
        assert (await nodes.look(session, at=1))["kept"] == {"entries": ["e1", "e2"]}


@json_apps
async def test_in_json_a_transactional_call_that_was_not_kept_is_carried_out_again_for_whoever_sends_it_again(
    make_app: Any, raw: RawClient
) -> None:
    async with state_nodes(raw, 2, make_app) as nodes:
        session = await nodes.open()
        call = request("hold", entry="e1")
        sending = await nodes.begin(session, call)
        await nodes.kill()
        await asyncio.wait({sending})
        assert sending.exception() is not None
        # Two that come at once are one, and so is one that comes later.
        both = await asyncio.gather(nodes.post(session, call, at=1), nodes.post(session, call, at=1))
        assert [said(reply) for reply in (*both, await nodes.post(session, call, at=1))] == ["1", "1", "1"]
        assert (await nodes.look(session, at=1))["kept"] == {"entries": ["e1"]}
        assert nodes.commits == 1


@json_apps
async def test_in_json_a_call_that_was_passed_on_is_carried_out_again_without_being_sent_again(
    make_app: Any, raw: RawClient
) -> None:
    async with state_nodes(raw, 2, make_app) as nodes:
        session = await nodes.open()
        sending = await nodes.begin(session, request("hold", entry="e1"), at=1)
        await nodes.kill()
        assert said(await sending) == "1"
        assert (await nodes.look(session, at=1))["kept"] == {"entries": ["e1"]}


@json_apps
async def test_in_json_a_call_whose_note_may_have_been_taken_is_not_carried_out_again(
    make_app: Any, raw: RawClient
) -> None:
    async with state_nodes(raw, 2, make_app) as nodes:
        session = await nodes.open()

        async def lose() -> None:
            raise StoreUnavailable("lost on its way")

        nodes.store.after["note_calls"] = lose
        call = request("add", entry="e1")
        assert said(await nodes.post(session, call)) == "1"
        await nodes.kill()
        assert said(await nodes.post(session, call, at=1)) == "1"
        assert (await nodes.look(session, at=1))["kept"] == {"entries": ["e1"]}


@apps
async def test_a_client_that_gives_its_calls_one_id_has_each_carried_out(make_app: Any, raw: RawClient) -> None:
    async with state_nodes(raw, 1, make_app) as nodes:
        session = await nodes.open()
        for tool in ("add", "keep"):
            call = request(tool, entry=tool)
            before = nodes.commits
            for _ in range(3):
                await nodes.post(session, call)
            assert nodes.commits == before + 3
        assert (await nodes.look(session))["count"] == 6


@json_apps
async def test_a_call_of_which_a_part_was_kept_with_another_is_answered_from_the_record(
    make_app: Any, raw: RawClient
) -> None:
    """It changes nothing more after that: its answer goes on record all the same."""
    async with state_nodes(raw, 2, make_app) as nodes:
        session = await nodes.open()
        held = request("hold", entry="e1")
        sending = await nodes.begin(session, held)
        assert await nodes.call(session, "keep", entry="e2") == "2"
        GATES["e1"].set()
        assert said(await sending) == "1"
        await nodes.kill()
        assert said(await nodes.post(session, held, at=1)) == "1"
        assert (await nodes.look(session, at=1))["kept"] == {"entries": ["e1", "e2"]}


async def test_a_call_that_is_cut_off_is_not_kept_in_part_by_another_and_then_carried_out_again(
    raw: RawClient,
) -> None:
    """At a drain's deadline the app may still be at it while another call's change waits to be written."""
    async with state_nodes(raw, 2, drain_seconds=0.2, retry_seconds=0.1) as nodes:
        node = nodes.running[0].mooring._node
        url = f"{nodes.running[0].url}/mcp"
        async with Client(streamable_http_client(url), mode="legacy") as client:
            held = asyncio.create_task(client.call_tool("hold", {"entry": "e1"}))

            async def waits() -> bool:
                return "e1" in GATES

            await until(waits, what="the call to wait")
            session = node.sessions.living()[0]
            await session.state_turn.acquire()
            other = asyncio.create_task(client.call_tool("keep", {"entry": "e2"}))

            async def waits_for_its_turn() -> bool:
                return bool(session.state_turn._waiters)

            await until(waits_for_its_turn, what="the other call to end")
            draining = asyncio.create_task(Drain(node).run())

            async def is_cut_off() -> bool:
                return not any(not one.is_listening for one in session.running)

            await until(is_cut_off, what="both to be cut off")
            session.state_turn.release()
            assert await draining
            said_of_held, said_of_other = await asyncio.gather(held, other, return_exceptions=True)
            looked = await client.call_tool("look", {})
            entries = json.loads(looked.content[0].text)["kept"]["entries"]  # type: ignore[union-attr]
            assert entries.count("e1") == entries.count("e2") == 1
            assert not isinstance(said_of_other, BaseException)
            assert isinstance(said_of_held, MCPError)


async def test_nothing_is_written_of_a_session_while_its_shard_is_given(raw: RawClient) -> None:
    async with state_nodes(raw, 2) as nodes:
        session = await nodes.open()
        local = nodes.local(session)
        node = nodes.running[0].mooring._node
        was_held: list[bool] = []

        async def look() -> None:
            was_held.append(local.state_turn.locked())

        nodes.store.before["give"] = look
        receiver = nodes.running[1].mooring._node.describe()
        assert await HandOver(node, Reconnects(0)).give(local.shard, receiver, 1.0)
        assert was_held == [True]
        use = StateUse(local.state, "late")
        use.part()["late"] = True
        body = RememberedBody(WholeBody(b"{}").receive, 100)
        assert await Committing(node, local, use, body).answer("late", "late") is None
        assert await nodes.look(session, at=1) == {}


async def test_a_part_that_was_kept_with_another_and_whose_rest_is_dropped_is_not_carried_out_again(
    raw: RawClient,
) -> None:
    async with state_nodes(raw, 2, partial(sdk_app, json_response=True)) as nodes:
        session = await nodes.open()
        held = request("hold", entry="e1")
        sending = await nodes.begin(session, held)
        await nodes.call(session, "keep", entry="e2")
        assert "not JSON serializable" in await nodes.call(session, "spoil", how="set")
        GATES["e1"].set()
        told = said(await sending)
        assert "was dropped" in told
        await nodes.kill()
        assert said(await nodes.post(session, held, at=1)) == told
        assert (await nodes.look(session, at=1))["kept"] == {"entries": ["e1", "e2"]}


async def test_a_call_that_waits_to_be_written_and_is_cancelled_is_not_forgotten_by_others(raw: RawClient) -> None:
    """The other one is written first, and carries its change along."""
    async with state_nodes(raw, 1) as nodes:
        session = await nodes.open()
        local, node = nodes.local(session), nodes.running[0].mooring._node
        uses = [StateUse(local.state, name) for name in ("first", "second")]
        for use in uses:
            use.part()[use.stream] = True
        body = RememberedBody(WholeBody(b"{}").receive, 100)
        first, second = (asyncio.create_task(Committing(node, local, use, body).answer("", "")) for use in uses)
        async with local.state_turn:
            await asyncio.sleep(0)
            second.cancel()
            await asyncio.wait({second})
            assert local.state.others(uses[0]) == ["second"]
        await first

        async def is_settled() -> bool:
            return len(await nodes.store.journal.calls(session)) == 2

        await until(is_settled, what="both to be on record")


async def test_a_node_that_ends_leaves_a_transactional_call_to_the_next_one(raw: RawClient) -> None:
    async with state_nodes(raw, 2, make_app=sdk_app) as nodes:
        session = await nodes.open()
        held = request("hold", entry="e1")
        sending = await nodes.begin(session, held)
        node = nodes.running[0].mooring._node
        node.membership.go(NodeState.GONE)
        sending.cancel()
        await asyncio.wait({sending})
        for one in list(nodes.local(session).running):
            one._task.cancel()  # type: ignore[attr-defined]

        async def is_over() -> bool:
            return not nodes.local(session).running

        await until(is_over, what="the call to end")
        assert node._behind is not None
        await node._behind.flush()
        [call] = await nodes.store.journal.calls(session)
        assert isinstance(call, Call)
        assert call.body
        assert nodes.commits == 0


@apps
async def test_a_call_that_runs_when_its_node_stops_is_the_next_ones(make_app: Any, raw: RawClient) -> None:
    """As a server stops that nobody drained: it cancels what its clients have asked for, and ends the lifespan."""
    async with state_nodes(raw, 2, make_app) as nodes:
        session = await nodes.open()
        held = request("hold", entry="e1")
        sending = await nodes.begin(session, held)
        nodes.running[0].server.stop()
        await asyncio.wait({nodes.running[0].serving, sending})
        assert said(await nodes.post(session, held, at=1)) == "1"
        assert (await nodes.look(session, at=1))["kept"] == {"entries": ["e1"]}


async def test_one_that_changes_nothing_is_carried_out_by_the_next_node_as_well(raw: RawClient) -> None:
    def app() -> Any:
        server = MCPServer("reads")

        @server.tool(annotations=ToolAnnotations(read_only_hint=True))
        async def read(entry: str) -> str:
            if entry not in GATES:
                await GATES.setdefault(entry, asyncio.Event()).wait()
            return "what it read"

        return server.streamable_http_app()

    async with state_nodes(raw, 2, app) as nodes:
        session = await nodes.open()
        first, second = nodes.running
        event_id = await raw.first_id(first.url, session, request("read", entry="r1"), VERSION)
        await until(nodes.has_called("note_all"), what="the call to be on record")
        first.server.stop()
        await asyncio.wait({first.serving})
        headers = {**VERSION, "last-event-id": event_id, "accept": "text/event-stream"}
        assert b"what it read" in await raw.first_words("GET", f"{second.url}/mcp", session=session, headers=headers)


@pytest.mark.parametrize("tool", ["hold", "slow"])
async def test_one_that_is_cut_off_at_a_node_that_cannot_be_drained_has_one_outcome_there(
    tool: str, raw: RawClient
) -> None:
    def app() -> Any:
        server = MCPServer("state")
        for one in (hold, look):
            server.add_tool(one)

        @server.tool()
        async def slow(entry: str) -> str:
            return await hold(entry)

        return server.streamable_http_app()

    async with state_nodes(raw, 2, app) as nodes:
        session = await nodes.open()
        event_id = await raw.first_id(nodes.running[0].url, session, request(tool, entry="e1"), VERSION)
        await until(nodes.has_called("note_calls" if tool == "hold" else "note_all"), what="the call to be on record")
        node = nodes.running[0].mooring._node

        async def fail() -> None:
            raise StoreUnavailable("away")

        nodes.store.before["commit"] = fail
        nodes.local(session).state.is_in_doubt = True
        peer = nodes.running[1].mooring._node.describe()
        assert not await HandOver(node, Reconnects(0)).give(session.partition(".")[0], peer, 0.05, cuts_off=True)
        headers = {**VERSION, "last-event-id": event_id, "accept": "text/event-stream"}
        url = f"{nodes.running[0].url}/mcp"
        async with asyncio.timeout(5):
            heard = await raw.first_words("GET", url, session=session, headers=headers)
        assert (b'"1"' if tool == "hold" else b"outcome_unknown") in heard
        if tool == "hold":
            assert (await nodes.look(session))["kept"] == {"entries": ["e1"]}
