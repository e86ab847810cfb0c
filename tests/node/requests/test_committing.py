"""What a call changed in its session's state is on record with its answer, whatever happens to either."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import pytest
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import ElicitRequestParams, ElicitResult

from mooring.asgi import App, Receive, Scope, Send, respond
from mooring.errors import Fenced, StoreUnavailable
from mooring.node.moving.draining import Drain
from tests.node.rpc import RawClient
from tests.node.state_nodes import GATES, apps, fastmcp_app, request, said, sdk_app, state_nodes
from tests.waiting import until


@apps
@pytest.mark.parametrize("tool", ["add", "add_in_thread", "keep"])
async def test_a_count_goes_on_where_its_node_is_lost(make_app: Any, tool: str, raw: RawClient) -> None:
    async with state_nodes(raw, 2, make_app) as nodes:
        session = await nodes.open()
        for n in range(1, 4):
            assert await nodes.call(session, tool, entry=f"e{n}") == str(n)
        await nodes.running[0].vanish()
        assert await nodes.call(session, tool, at=1, entry="e4") == "4"
        assert (await nodes.look(session, at=1))["kept"] == {"entries": ["e1", "e2", "e3", "e4"]}


@apps
async def test_calls_that_change_nothing_write_nothing(make_app: Any, raw: RawClient) -> None:
    async with state_nodes(raw, 1, make_app) as nodes:
        session = await nodes.open()
        assert await nodes.look(session) == {}
        assert nodes.commits == 0
        await nodes.call(session, "add", entry="e1")
        assert nodes.commits == 1
        await nodes.look(session)
        assert nodes.commits == 1


@apps
@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("tuple", "lists are no tuples"),
        ("set", "not JSON serializable"),
        ("nan", "not JSON compliant"),
        ("cycle", "Circular reference"),
        ("key", "keys are texts"),
        ("large", "state_bytes"),
    ],
)
async def test_what_cannot_be_kept_fails_its_call_and_changes_nothing(
    make_app: Any, how: str, said: str, raw: RawClient
) -> None:
    async with state_nodes(raw, 1, make_app) as nodes:
        session = await nodes.open()
        await nodes.call(session, "add", entry="e1")
        before = await nodes.look(session)
        told = await nodes.call(session, "spoil", how=how)
        assert told.startswith("error: ")
        assert said in told
        assert await nodes.look(session) == before
        assert await nodes.call(session, "add", entry="e2") == "2"
        assert nodes.commits == 2


@apps
async def test_the_end_of_a_session_is_the_end_of_its_state(make_app: Any, raw: RawClient) -> None:
    async with state_nodes(raw, 1, make_app) as nodes:
        session = await nodes.open()
        await nodes.call(session, "add", entry="e1")
        assert (await nodes.store.journal.load_state(session))[0]
        await raw.send("DELETE", f"{nodes.running[0].url}/mcp", session=session)
        assert await nodes.store.journal.load_state(session) == (b"", 0)


@apps
async def test_without_its_store_a_call_fails_and_the_state_is_what_it_was(make_app: Any, raw: RawClient) -> None:
    async with state_nodes(raw, 1, make_app, hold_seconds=0.3) as nodes:
        session = await nodes.open()
        await nodes.call(session, "add", entry="e1")

        async def gives_no_answer() -> None:
            nodes.store.before["commit"] = gives_no_answer
            raise StoreUnavailable("away, as the test wants it")

        nodes.store.before["commit"] = gives_no_answer
        told = await nodes.call(session, "keep", entry="e2")
        assert told.startswith("error: ")
        assert "Redis does not take it" in told
        nodes.store.before.clear()

        async def is_sure() -> bool:
            found = nodes.running[0].mooring._node.sessions.find(session)
            return found is not None and not found.state.is_in_doubt

        await until(is_sure, what="the state to be written again")
        assert await nodes.call(session, "add", entry="e3") == "2"
        assert (await nodes.look(session))["kept"] == {"entries": ["e1", "e3"]}


async def test_a_store_that_answers_in_time_is_waited_for(raw: RawClient) -> None:
    async with state_nodes(raw) as nodes:
        session = await nodes.open()
        missed = 0

        async def misses_some() -> None:
            nonlocal missed
            missed += 1
            if missed < 4:
                nodes.store.before["commit"] = misses_some
                raise StoreUnavailable("away, as the test wants it")

        nodes.store.before["commit"] = misses_some
        assert await nodes.call(session, "keep", entry="e1") == "1"
        assert missed == 4


@apps
async def test_calls_of_a_session_see_what_the_others_change(make_app: Any, raw: RawClient) -> None:
    async with state_nodes(raw, 1, make_app) as nodes:
        session = await nodes.open()
        calls = [nodes.call(session, "add", entry=f"e{n}", seconds=0.05 * (n % 3)) for n in range(9)]
        assert {int(count) for count in await asyncio.gather(*calls)} == set(range(1, 10))
        state = await nodes.look(session)
        assert (state["count"], len(set(state["kept"]["entries"]))) == (9, 9)


async def test_sessions_have_nothing_of_each_other(raw: RawClient) -> None:
    async with state_nodes(raw) as nodes:
        sessions = [await nodes.open() for _ in range(3)]
        calls = [nodes.call(one, "add_in_thread", entry=one, seconds=0.05) for one in sessions]
        assert await asyncio.gather(*calls) == ["1", "1", "1"]
        for one in sessions:
            assert (await nodes.look(one))["kept"] == {"entries": [one]}


@apps
async def test_a_call_whose_client_leaves_is_kept(make_app: Any, raw: RawClient) -> None:
    async with state_nodes(raw, 2, make_app) as nodes:
        session = await nodes.open()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await nodes.call(session, "add", entry="e1", seconds=0.5)

        async def is_kept() -> bool:
            return nodes.commits == 1

        await until(is_kept, what="the call to end")
        await nodes.running[0].vanish()
        assert (await nodes.look(session, at=1))["kept"] == {"entries": ["e1"]}


@apps
async def test_it_goes_along_when_its_node_drains(make_app: Any, raw: RawClient) -> None:
    async with state_nodes(raw, 2, make_app) as nodes:
        session = await nodes.open()
        await nodes.call(session, "add", entry="e1")
        assert await Drain(nodes.running[0].mooring._node).run()
        assert await nodes.call(session, "add", at=1, entry="e2") == "2"
        assert await nodes.call(session, "add", at=0, entry="e3") == "3"


@pytest.mark.parametrize("make_app", [sdk_app, fastmcp_app])
async def test_it_is_there_when_its_session_has_slept(make_app: Any, raw: RawClient) -> None:
    async with state_nodes(raw, 1, make_app, hibernate_seconds=0.2) as nodes:
        session = await nodes.open()
        node = nodes.running[0].mooring._node
        for n in range(1, 4):
            assert await nodes.call(session, "add", entry=f"e{n}") == str(n)

            async def sleeps() -> bool:
                await node.sessions.settle()
                return node.sessions.find(session) is None

            await until(sleeps, what="the session to sleep")


async def test_a_call_that_asks_the_user_keeps_what_it_changed_before_and_after(raw: RawClient) -> None:
    async with state_nodes(raw) as nodes:

        async def answer(context: Any, params: ElicitRequestParams) -> ElicitResult:
            return ElicitResult(action="accept", content={"name": "Ada"})

        url = f"{nodes.running[0].url}/mcp"
        async with Client(streamable_http_client(url), mode="legacy", elicitation_callback=answer) as client:
            result = await client.call_tool("ask", {})
            assert result.content[0].text == "Ada"  # type: ignore[union-attr]
            looked = await client.call_tool("look", {})
            assert looked.content[0].text == '{"asks": true, "name": "Ada"}'  # type: ignore[union-attr]
        assert nodes.commits == 1


async def test_where_another_node_decides_nothing_leaves_this_one(raw: RawClient) -> None:
    """It believes that it has the session, and is wrong."""
    async with state_nodes(raw, 2) as nodes:
        session = await nodes.open()
        await nodes.call(session, "add", entry="e1")

        async def is_fenced() -> None:
            raise Fenced("writing the state of a session", is_missing=False)

        nodes.store.before["commit"] = is_fenced
        reply = await nodes.send(session, "keep", entry="e2")
        assert b'"result"' not in reply.body
        assert (await nodes.look(session))["kept"] == {"entries": ["e1"]}


@pytest.mark.parametrize("takes_record", [True, False])
async def test_a_store_that_is_emptied_again_or_takes_no_record_yet_ends_no_session(
    takes_record: bool, raw: RawClient
) -> None:
    async with state_nodes(raw) as nodes:
        session = await nodes.open()
        await nodes.call(session, "add", entry="e1")
        times = iter(range(3))

        async def is_emptied() -> None:
            if next(times, None) is None:
                return
            nodes.store.before |= {"commit": is_emptied} | ({} if takes_record else {"save_session": is_full})
            raise Fenced("writing the state of a session", is_missing=True)

        async def is_full() -> None:
            raise StoreUnavailable("no memory left")

        nodes.store.before["commit"] = is_emptied
        assert await nodes.call(session, "add", entry="e2") == "2"
        assert (await nodes.look(session))["kept"] == {"entries": ["e1", "e2"]}


async def test_a_store_that_never_has_the_record_again_costs_the_call_what_it_changed(raw: RawClient) -> None:
    async with state_nodes(raw, hold_seconds=0.3) as nodes:
        session = await nodes.open()

        async def is_emptied() -> None:
            nodes.store.before["commit"] = is_emptied
            raise Fenced("writing the state of a session", is_missing=True)

        nodes.store.before["commit"] = is_emptied
        assert "could not be written down" in await nodes.call(session, "add", entry="e1")
        nodes.store.before.clear()
        assert await nodes.call(session, "add", entry="e2") == "1"


async def test_a_state_too_large_for_the_setting_says_so(raw: RawClient) -> None:
    async with state_nodes(raw, state_bytes=1024) as nodes:
        session = await nodes.open()
        assert "1,024 may be kept (state_bytes)" in await nodes.call(session, "add", entry="x" * 1_000)
        assert await nodes.look(session) == {}


@apps
async def test_a_call_that_was_noted_ahead_is_forgotten_once_nobody_needs_it(make_app: Any, raw: RawClient) -> None:
    async with state_nodes(raw, 1, make_app) as nodes:
        session = await nodes.open()
        for n in range(40):
            await nodes.call(session, "add", entry=f"e{n}")

        async def few_are_left() -> bool:
            return len(await nodes.store.journal.calls(session)) <= 33

        await until(few_are_left, what="calls to be forgotten")


@pytest.mark.parametrize("make_app", [sdk_app, fastmcp_app])
async def test_a_call_that_is_cut_off_when_its_node_drains_counts_once(make_app: Any, raw: RawClient) -> None:
    async with state_nodes(raw, 2, make_app, drain_seconds=0.2, retry_seconds=0.1) as nodes:
        url = f"{nodes.running[0].url}/mcp"
        async with Client(streamable_http_client(url), mode="legacy") as client:
            calling = asyncio.create_task(client.call_tool("add", {"entry": "e1", "seconds": 1.5}))

            async def runs() -> bool:
                return nodes.store.calls.count("note_calls") > 0

            await until(runs, what="the call to be on record")
            assert await Drain(nodes.running[0].mooring._node).run()
            assert (await calling).content[0].text == "1"  # type: ignore[union-attr]
            looked = await client.call_tool("look", {})
            assert '"entries": ["e1"]' in looked.content[0].text  # type: ignore[union-attr]
            assert nodes.commits == 1


@pytest.mark.parametrize("ends_as", ["ended", "hibernated"])
async def test_what_a_call_changed_is_kept_where_its_session_went_to_sleep_meanwhile(
    ends_as: str, raw: RawClient
) -> None:
    async with state_nodes(raw, 1, partial(sdk_app, json_response=True)) as nodes:
        session = await nodes.open()
        sending = await nodes.begin(session, request("hold", entry="e1"))
        local = nodes.local(session)
        local.ends_as = ends_as
        await nodes.running[0].mooring._node.sessions.let_go(local)
        GATES["e1"].set()
        assert said(await sending) == "1"
        assert nodes.commits == 1
        kept, _ = await nodes.store.journal.load_state(session)
        assert kept is not None
        assert b'"e1"' in kept


async def test_what_a_call_changed_is_kept_where_nobody_could_open_its_session_again_meanwhile(raw: RawClient) -> None:
    """A stranger asks for it, or its own client with a token that is over."""

    def make_app() -> App:
        app = sdk_app(json_response=True)

        async def turn_strangers_away(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http" and (b"x-user", b"nobody") in scope["headers"]:
                await respond(send, 401, b"")
            else:
                await app(scope, receive, send)

        return turn_strangers_away

    async with state_nodes(raw, 1, make_app) as nodes:
        session = await nodes.open()
        sending = await nodes.begin(session, request("hold", entry="e1"))
        await nodes.running[0].mooring._node.sessions.let_go(nodes.local(session))
        assert (await raw.call(nodes.running[0].url, session, headers={"x-user": "nobody"})).status == 401
        GATES["e1"].set()
        assert said(await sending) == "1"
        assert nodes.commits == 1


async def test_what_a_call_changed_is_refused_where_its_session_has_its_next_life(raw: RawClient) -> None:
    """That one has the state from before the call."""
    async with state_nodes(raw, 1, partial(sdk_app, json_response=True)) as nodes:
        session = await nodes.open()
        await nodes.call(session, "keep", entry="e0")
        sending = await nodes.begin(session, request("hold", entry="e1"))
        sessions = nodes.running[0].mooring._node.sessions
        last = nodes.local(session)
        await sessions.let_go(last)
        await sessions.supersede(session)
        GATES["e1"].set()
        reply = await sending
        assert reply.json["result"]["isError"]
        assert "opened again" in said(reply)
        kept, _ = await nodes.store.journal.load_state(session)
        assert kept is not None
        assert b'"e1"' not in kept


async def test_a_call_whose_session_is_deleted_meanwhile_is_answered_and_writes_nothing(raw: RawClient) -> None:
    async with state_nodes(raw, 1, partial(sdk_app, json_response=True)) as nodes:
        session = await nodes.open()
        sending = await nodes.begin(session, request("hold", entry="e1"))
        await nodes.running[0].mooring._node.sessions.close(session)
        GATES["e1"].set()
        assert said(await sending) == "1"
        assert nodes.commits == 0
        assert await nodes.store.journal.load_state(session) == (b"", 0)


async def test_where_another_node_has_a_session_that_slept_here_nothing_leaves(raw: RawClient) -> None:
    async with state_nodes(raw, 1, partial(sdk_app, json_response=True)) as nodes:
        session = await nodes.open()
        sending = await nodes.begin(session, request("hold", entry="e1"))
        await nodes.running[0].mooring._node.sessions.let_go(nodes.local(session))

        async def is_fenced() -> None:
            raise Fenced("writing the state of a session", is_missing=False)

        nodes.store.before["commit"] = is_fenced
        GATES["e1"].set()
        assert (await sending).reason == "outcome_unknown"
