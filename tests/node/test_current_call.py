"""Where the author's code finds the state of its session, and what it hears where there is none."""

from __future__ import annotations

import asyncio
import functools
from typing import Any

import pytest

import mooring
from mooring import NoSession, session_state, transactional
from mooring.asgi import Scope, Send
from mooring.core.kept_state import KeptState, StateUse
from mooring.node.current import Serving
from mooring.node.current_call import is_transactional, use_now
from tests.node.apps import ScriptedApp, answer
from tests.node.rpc import RawClient
from tests.node.state_nodes import sdk_app, state_nodes


def test_outside_of_a_call_there_is_none() -> None:
    with pytest.raises(NoSession, match="2026-07-28"):
        session_state()
    assert use_now() is None


async def test_tasks_and_threads_of_a_call_find_it_and_nobody_after() -> None:
    use = StateUse(KeptState())
    with Serving(None, {}, use=use):
        session_state()["here"] = True
        task = asyncio.create_task(asyncio.to_thread(session_state))
    assert await task == {"here": True}
    use.state.done(use)
    with pytest.raises(NoSession):
        session_state()


async def test_calls_side_by_side_find_each_their_own() -> None:
    async def one(n: int) -> Any:
        with Serving(None, {}, use=StateUse(KeptState())):
            session_state()["n"] = n
            await asyncio.sleep(0)
            return session_state()["n"]

    assert await asyncio.gather(*(one(n) for n in range(5))) == list(range(5))


def test_a_tool_without_a_name_of_its_own_needs_one() -> None:
    tool: functools.partial[dict[str, int]] = functools.partial(dict, a=1)
    with pytest.raises(TypeError, match="say under which the server lists it"):
        transactional(tool)
    assert transactional(tool, name="in parts") is tool
    assert is_transactional("in parts")


def test_a_tool_is_transactional_by_its_name_and_stays_what_it_is() -> None:
    def plain_tool() -> None: ...

    @transactional(name="listed as")
    def another_tool() -> None: ...

    assert not is_transactional("plain_tool")
    assert transactional(plain_tool) is plain_tool
    assert is_transactional("plain_tool")
    assert is_transactional("listed as")
    assert not is_transactional("another_tool")


async def heard_in(raw: RawClient, body: Any) -> str:
    """What code of an app hears that asks for the state while it is asked this."""
    heard: list[str] = []

    async def asks(scope: Scope, given: bytes, send: Send) -> None:
        try:
            session_state()["n"] = 1
        except NoSession as error:
            heard.append(str(error))
        await answer(send, 200, b'{"jsonrpc": "2.0", "id": 7, "result": {}}')

    def app() -> ScriptedApp:
        made = ScriptedApp()
        made.on_session = asks
        return made

    async with state_nodes(raw, 1, app) as nodes:
        await raw.call(nodes.running[0].url, await nodes.open(), body=body)
        return heard[0] if heard else ""


async def test_a_batch_gets_none_and_hears_why(raw: RawClient) -> None:
    ping = {"jsonrpc": "2.0", "id": 7, "method": "ping"}
    assert await heard_in(raw, ping) == ""
    assert "Send each call by itself" in await heard_in(raw, [ping, {**ping, "id": 8}])


async def test_a_request_of_the_modern_era_is_on_no_session(raw: RawClient, caplog: pytest.LogCaptureFixture) -> None:
    async with state_nodes(raw, 1, sdk_app) as nodes:
        meta = {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": {"name": "raw", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {},
        }
        params = {"name": "add", "arguments": {"entry": "e1"}, "_meta": meta}
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        headers = {"mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "mcp-name": "add"}
        reply = await raw.send("POST", f"{nodes.running[0].url}/mcp", body=body, headers=headers)
        assert reply.json["result"]["isError"]
        assert "no session here" in caplog.text


async def test_a_stateless_server_has_no_sessions(raw: RawClient, caplog: pytest.LogCaptureFixture) -> None:
    async with state_nodes(raw, 1, lambda: sdk_app(stateless_http=True)) as nodes:
        body = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "tools/call",
            "params": {"name": "add", "arguments": {"entry": "e"}},
        }
        headers = {"mcp-protocol-version": "2025-11-25"}
        reply = await raw.send("POST", f"{nodes.running[0].url}/mcp", body=body, headers=headers)
        assert reply.json["result"]["isError"]
        assert "no session here" in caplog.text


async def test_what_goes_on_after_the_answer_has_none(raw: RawClient) -> None:
    late: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    is_answered = asyncio.Event()

    async def afterwards() -> None:
        await is_answered.wait()
        try:
            session_state()["late"] = True
        except mooring.NoSession as error:
            late.set_result(str(error))

    tasks: list[asyncio.Task[None]] = []

    async def begins(scope: Scope, body: bytes, send: Send) -> None:
        tasks.append(asyncio.create_task(afterwards()))
        await answer(send, 200, b'{"jsonrpc": "2.0", "id": 7, "result": {}}')

    def app() -> ScriptedApp:
        made = ScriptedApp()
        made.on_session = begins
        return made

    async with state_nodes(raw, 1, app) as nodes:
        await raw.call(nodes.running[0].url, await nodes.open())
        is_answered.set()
        assert "was answered" in await late
        assert nodes.commits == 0
