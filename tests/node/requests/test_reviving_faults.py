"""Revivals that are refused, hang, fail, race, or come too late: no session lives twice, and none is lost for it."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import aiohttp
import pytest

from mooring import ClosedSession, RevivedSession
from mooring.asgi import App, Scope, Send
from mooring.core.model import ShardOwner
from mooring.errors import StoreUnavailable
from mooring.node.requests.reviving import AT_ONCE
from mooring.store import MemoryStore
from tests.cluster_in_process import RunningNode, running_node, running_nodes
from tests.fakes import FlakyStore
from tests.node.apps import ScriptedApp, answer, initialize_result
from tests.node.moving.nodes import once
from tests.node.rpc import INITIALIZE, RawClient, Reply
from tests.node.sdk_apps import sdk_app
from tests.node.tellers import Teller, call, reading
from tests.waiting import until

INTERNAL = b'{"jsonrpc": "2.0", "id": 1, "error": {"code": -32603, "message": "the database is away"}}'
INVALID = b'{"jsonrpc": "2.0", "id": 1, "error": {"code": -32602, "message": "no such protocol"}}'


class Nodes:
    """Nodes with scripted apps around one store; sessions are opened at the first."""

    def __init__(self, nodes: list[RunningNode], apps: list[ScriptedApp], store: FlakyStore, raw: RawClient) -> None:
        self.nodes = nodes
        self.apps = apps
        self.store = store
        self.raw = raw

    async def orphan(self) -> str:
        """A session whose node is dead, and whose shard nobody has adopted yet."""
        session = await self.raw.open(self.nodes[0].url)
        await self.nodes[0].vanish()
        await self.store.inner.bury(self.nodes[0].id)
        return session

    async def ping(self, session: str, at: int = 1) -> Reply:
        return await self.raw.call(self.nodes[at].url, session)

    def revived(self) -> int:
        return sum(node.mooring._node.tally.revived for node in self.nodes)

    def initialized(self, at: int = 1) -> int:
        return sum(b'"initialize"' in body for _, _, body in self.apps[at].asked)


Make = Callable[..., Awaitable[Nodes]]


@pytest.fixture
async def make(raw: RawClient) -> Any:
    async with AsyncExitStack() as stack:

        async def make_nodes(count: int = 2, **settings: Any) -> Nodes:
            apps: list[ScriptedApp] = []

            def app() -> ScriptedApp:
                apps.append(ScriptedApp())
                return apps[-1]

            store = FlakyStore(MemoryStore())
            nodes = await stack.enter_async_context(running_nodes(app, count, store, **settings))
            return Nodes(nodes, apps, store, raw)

        yield make_nodes


def refusing(status: int, body: bytes) -> Callable[[Scope, bytes, Send], Awaitable[None]]:
    async def refuse(scope: Scope, asked: bytes, send: Send) -> None:
        await answer(send, status, body, None)

    return refuse


@pytest.mark.parametrize("status", [401, 403, 421])
async def test_an_app_that_turns_somebody_away_is_heard_and_the_next_request_tries_again(
    status: int, make: Make
) -> None:
    nodes = await make()
    session = await nodes.orphan()
    nodes.apps[1].gate = refusing(status, b"who are you?")
    reply = await nodes.ping(session)
    assert (reply.status, reply.body) == (status, b"who are you?")
    assert "mcp-session-id" not in reply.headers
    nodes.apps[1].gate = None
    assert (await nodes.ping(session)).status == 200
    assert nodes.revived() == 1


@pytest.mark.parametrize(("status", "body"), [(429, b""), (500, b""), (503, b"full"), (200, INTERNAL)])
async def test_an_app_that_fails_or_is_full_costs_a_session_one_request(status: int, body: bytes, make: Make) -> None:
    nodes = await make()
    session = await nodes.orphan()
    nodes.apps[1].gate = refusing(status, body)
    reply = await nodes.ping(session)
    assert (reply.status, reply.reason, reply.json["id"]) == (200, "not_revived", 7)
    nodes.apps[1].gate = None
    assert (await nodes.ping(session)).status == 200
    assert nodes.revived() == 1


async def test_an_app_whose_server_ends_its_streams_since_it_stops_costs_a_session_one_request(make: Make) -> None:
    nodes = await make()
    session = await nodes.orphan()

    async def break_off(scope: Scope, body: bytes, send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream"), (b"mcp-session-id", b"inner-1")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b": ping\n\n", "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    nodes.apps[1].gate = break_off
    reply = await nodes.ping(session)
    assert (reply.status, reply.reason, reply.json["id"]) == (200, "not_revived", 7)
    nodes.apps[1].gate = None
    assert (await nodes.ping(session)).status == 200
    assert nodes.revived() == 1


@pytest.mark.parametrize(("status", "body"), [(400, b"{}"), (404, b""), (200, INVALID), (200, b"no message")])
async def test_a_session_that_the_app_does_not_want_back_is_gone(status: int, body: bytes, make: Make) -> None:
    nodes = await make()
    session = await nodes.orphan()
    nodes.apps[1].gate = refusing(status, body)
    reply = await nodes.ping(session)
    assert (reply.status, reply.reason) == (404, "owner_lost")
    assert await nodes.store.load_session(session) is None


async def test_an_app_that_raises_is_no_reason_for_a_5xx(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    nodes = await make()
    session = await nodes.orphan()

    async def fail(scope: Scope, body: bytes, send: Send) -> None:
        raise ZeroDivisionError

    nodes.apps[1].gate = fail
    assert (await nodes.ping(session)).reason == "not_revived"
    assert "the app failed at a request that Mooring sent it" in caplog.text
    nodes.apps[1].gate = None
    assert (await nodes.ping(session)).status == 200


async def test_an_app_that_hangs_holds_a_request_as_long_as_one_may_be_held(make: Make) -> None:
    nodes = await make(hold_seconds=0.5)
    session = await nodes.orphan()

    async def hang(scope: Scope, body: bytes, send: Send) -> None:
        await asyncio.Event().wait()

    nodes.apps[1].gate = hang
    replies = await asyncio.gather(*(nodes.ping(session) for _ in range(3)))
    assert {reply.reason for reply in replies} == {"not_revived"}
    nodes.apps[1].gate = None
    assert (await nodes.ping(session)).status == 200
    assert nodes.revived() == 1


async def test_an_app_that_goes_on_working_after_its_answer_costs_no_session(make: Make) -> None:
    """As with a task in the background (`BackgroundTask`), which Starlette runs within the request."""
    nodes = await make(hold_seconds=4)
    session = await nodes.orphan()
    app = nodes.apps[1]

    async def go_on(scope: Scope, body: bytes, send: Send) -> None:
        if b'"initialize"' not in body:
            await answer(send, 200, b'{"jsonrpc":"2.0","id":1,"result":{}}')
            return
        app.sessions.add("inner")
        await answer(send, 200, initialize_result(1), "inner")
        await asyncio.Event().wait()

    app.gate = go_on
    assert (await nodes.ping(session)).json["result"] == {}
    assert nodes.revived() == 1


async def test_no_more_than_so_many_are_revived_at_the_same_time(make: Make) -> None:
    nodes = await make(hold_seconds=10)
    url = nodes.nodes[0].url
    sessions = [await nodes.raw.open(url) for _ in range(AT_ONCE + 8)]
    await nodes.nodes[0].vanish()
    await nodes.store.inner.bury(nodes.nodes[0].id)
    running, most, answered = 0, 0, list[Scope]()

    async def slowly(scope: Scope, body: bytes, send: Send) -> None:
        nonlocal running, most
        if b'"initialize"' not in body:
            await answer(send, 202 if b"notifications" in body else 200, b"", None)
            return
        running += 1
        most = max(most, running)
        if len(answered) < len(sessions) - AT_ONCE:  # the others wait until as many run as may
            await once(lambda: most == AT_ONCE, what="as many as may to run")
            await asyncio.sleep(0.02)  # one more would begin now
        answered.append(scope)
        running -= 1
        await answer(send, 200, initialize_result(1), f"inner-{len(nodes.apps[1].asked)}")

    nodes.apps[1].gate = slowly
    replies = await asyncio.gather(*(nodes.ping(session) for session in sessions))
    assert {reply.status for reply in replies} == {200}
    assert {reply.headers.get("mcp-session-id") for reply in replies} <= {*sessions, None}
    assert most == AT_ONCE
    assert nodes.revived() == len(sessions)


async def test_each_revival_has_its_line_and_what_many_requests_met_has_a_few(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    nodes = await make(hold_seconds=10)
    sessions = [await nodes.raw.open(nodes.nodes[0].url) for _ in range(60)]
    await nodes.nodes[0].vanish()
    caplog.clear()
    replies = await asyncio.gather(*(nodes.ping(session) for session in sessions))
    assert {reply.status for reply in replies} == {200}
    assert nodes.revived() > 20
    assert sum(message.startswith("revived session") for message in caplog.messages) == nodes.revived()
    assert 0 < sum("cannot be reached" in message for message in caplog.messages) <= 20


async def test_a_large_initialize_says_at_once_that_its_session_ends_with_the_node(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    nodes = await make()
    large = {**INITIALIZE, "params": {**INITIALIZE["params"], "_meta": {"x": "y" * 1_100_000}}}  # type: ignore[dict-item]
    opened = await nodes.raw.send("POST", f"{nodes.nodes[0].url}/mcp", body=large)
    assert "opened with an initialize of more than 1048576 bytes: it ends with this node" in caplog.text
    await nodes.nodes[0].vanish()
    await nodes.store.inner.bury(nodes.nodes[0].id)
    reply = await nodes.ping(opened.session_id)
    assert (reply.status, reply.reason) == (404, "owner_lost")
    assert nodes.initialized() == 0


@pytest.mark.parametrize("call", ["load_session", "touch_sessions", "load_state"])
async def test_a_store_that_is_away_for_a_moment_costs_time_alone(call: str, make: Make) -> None:
    nodes = await make()
    session = await nodes.orphan()

    async def is_away() -> None:
        raise StoreUnavailable("away for one call")

    nodes.store.before[call] = is_away
    assert (await nodes.ping(session)).session_id == session
    assert (nodes.revived(), nodes.initialized()) == (1, 1)


@pytest.mark.parametrize("call", ["load_session", "touch_sessions"])
async def test_a_store_that_goes_away_in_the_middle_costs_one_request(call: str, make: Make) -> None:
    nodes = await make(hold_seconds=1)
    session = await nodes.orphan()

    async def go_away() -> None:
        nodes.store.away = True

    nodes.store.after[call] = go_away
    reply = await nodes.ping(session)
    assert (reply.status, reply.reason) == (200, "unreachable")
    assert nodes.revived() == 0
    nodes.store.away = False

    async def works() -> bool:
        return nodes.revived() == 1 and (await nodes.ping(session)).session_id == session

    async def pinged() -> bool:
        await nodes.ping(session)
        return await works()

    await until(pinged, what="the store to be back")
    assert nodes.initialized() == 1


async def test_a_store_that_is_away_when_the_record_is_due_has_it_later(make: Make) -> None:
    """The session was found to be ours, and its lease holds: it goes on, as one that was opened then would."""
    nodes = await make()
    session = await nodes.orphan()

    async def go_away(revived: RevivedSession) -> None:
        nodes.store.away = True

    nodes.nodes[1].mooring.on_revive(go_away)
    assert (await nodes.ping(session)).status == 200
    nodes.store.away = False

    async def is_on_record() -> bool:
        record = await nodes.store.inner.load_session(session)
        return record is not None and (record.node_id, record.incarnation) == (nodes.nodes[1].id, 1)

    await until(is_on_record, what="the record")


async def test_two_nodes_that_revive_at_once_after_the_shard_moved_leave_one_session(make: Make) -> None:
    """The first is paused in the middle of its revival, for longer than its lease."""
    nodes = await make(3)
    session = await nodes.orphan()
    shard = session.partition(".")[0]
    told: list[ClosedSession | RevivedSession] = []
    nodes.nodes[1].mooring.on_close(told.append)
    nodes.nodes[1].mooring.on_revive(told.append)
    paused, goes_on = asyncio.Event(), asyncio.Event()

    async def pause(scope: Scope, body: bytes, send: Send) -> None:
        if b'"initialize"' in body:
            paused.set()
            await goes_on.wait()
            await answer(send, 200, initialize_result(1), "inner-late")
        else:
            await answer(send, 200, b"", None)

    nodes.apps[1].gate = pause
    first = asyncio.create_task(nodes.ping(session, at=1))
    await paused.wait()
    held = (await nodes.store.inner.snapshot()).shards[shard]
    assert held.node_id == nodes.nodes[1].id
    await nodes.store.inner.give(shard, held, nodes.nodes[2].id)
    await nodes.nodes[2].mooring._node.keeper.look()
    nodes.nodes[2].mooring._node.membership.claimed(shard, ShardOwner(nodes.nodes[2].id, held.epoch + 1))
    assert (await nodes.ping(session, at=2)).status == 200
    goes_on.set()
    told_at_first = await first
    assert ("error" in told_at_first.json, told_at_first.session_id) == (False, session)
    assert [body for _, _, body in nodes.apps[1].asked if b'"ping"' in body] == []
    nodes.apps[1].gate = None
    record = await nodes.store.inner.load_session(session)
    assert record is not None
    assert (record.node_id, record.incarnation, record.epoch) == (nodes.nodes[2].id, 1, held.epoch + 1)
    assert [node.mooring._node.sessions.find(session) is not None for node in nodes.nodes] == [True, False, True]
    assert (nodes.nodes[1].mooring._node.tally.revived, nodes.nodes[2].mooring._node.tally.revived) == (0, 1)

    async def is_ended() -> bool:
        return ("DELETE", "inner-late", b"") in nodes.apps[1].asked

    await until(is_ended, what="the app's own session to be ended again")
    assert [getattr(one, "reason", "revived") for one in told] == ["revived", "fenced"]


@pytest.mark.parametrize("asked", [1, 3])
async def test_a_shard_that_is_another_nodes_when_its_record_is_raised_is_found_there(make: Make, asked: int) -> None:
    """By whoever asks, and by the peer that passed a request on to the node that was to have the shard."""
    nodes = await make(4)
    session = await nodes.orphan()
    shard = session.partition(".")[0]

    async def moves() -> None:
        held = (await nodes.store.inner.snapshot()).shards[shard]
        assert held.node_id == nodes.nodes[1].id
        await nodes.store.inner.give(shard, held, nodes.nodes[2].id)
        await nodes.nodes[2].mooring._node.keeper.look()
        assert (await nodes.ping(session, at=2)).session_id == session

    await nodes.nodes[1].mooring._node.keeper.adoption.adopt(shard, (await nodes.store.inner.snapshot()).shards[shard])
    await nodes.nodes[3].mooring._node.keeper.look()
    nodes.store.before["touch_sessions"] = moves
    reply = await nodes.ping(session, at=asked)
    assert ("error" in reply.json, reply.session_id) == (False, session)
    assert (nodes.revived(), nodes.initialized(1)) == (1, 0)


async def test_a_record_that_is_removed_meanwhile_stays_removed(make: Make) -> None:
    nodes = await make()
    session = await nodes.orphan()
    removed: list[object] = []

    async def remove(revived: RevivedSession) -> None:
        record = await nodes.store.inner.load_session(session)
        assert record is not None
        removed.append(await nodes.store.inner.delete_session(session, record.epoch))

    nodes.nodes[1].mooring.on_revive(remove)
    assert (await nodes.ping(session)).status == 404
    assert len(removed) == 1
    assert nodes.nodes[1].mooring._node.sessions.find(session) is None
    assert (await nodes.ping(session)).status == 404
    assert await nodes.store.inner.load_session(session) is None


async def test_a_delete_of_a_dead_session_ends_it_without_a_revival(make: Make) -> None:
    nodes = await make()
    session = await nodes.orphan()
    reply = await nodes.raw.send("DELETE", f"{nodes.nodes[1].url}/mcp", session=session)
    assert reply.status == 200
    assert nodes.initialized() == 0
    assert (await nodes.ping(session)).reason == "expired"


async def test_a_delete_in_the_middle_of_a_revival_waits_and_ends_it(make: Make) -> None:
    nodes = await make()
    session = await nodes.orphan()
    begun, goes_on = asyncio.Event(), asyncio.Event()

    async def wait(revived: RevivedSession) -> None:
        begun.set()
        await goes_on.wait()

    nodes.nodes[1].mooring.on_revive(wait)
    call = asyncio.create_task(nodes.ping(session))
    await begun.wait()
    url = f"{nodes.nodes[1].url}/mcp"
    deletion = asyncio.create_task(nodes.raw.send("DELETE", url, session=session))
    others = asyncio.create_task(nodes.ping(session))
    done, _ = await asyncio.wait({deletion, others}, timeout=0.2)
    assert not done, "whoever comes in the middle of a revival waits for it"
    goes_on.set()
    assert (await deletion).status == 200
    assert (await call).status in (200, 404)
    assert await nodes.store.inner.load_session(session) is None
    assert nodes.nodes[1].mooring._node.sessions.find(session) is None
    assert (await nodes.ping(session)).reason == "expired"


@pytest.mark.parametrize(("method", "body"), [("POST", INITIALIZE), ("GET", None), ("DELETE", None)])
async def test_another_endpoints_request_harms_no_session(method: str, body: Any, raw: RawClient) -> None:
    store = MemoryStore()
    paths: dict[str, Any] = {"mcp_path": "/mcp,/mcp2", "find_endpoints": False}
    async with (
        running_node(ScriptedApp(), store, "node-1", **paths) as lost,
        running_node(ScriptedApp(), store, "node-2", **paths) as left,
    ):
        session = await raw.open(lost.url)
        await lost.vanish()
        await store.bury(lost.id)
        reply = await raw.send(method, f"{left.url}/mcp2", session=session, body=body)
        assert (reply.status, reply.reason) == (404, "unknown")
        assert (await raw.call(left.url, session)).status == 200


async def test_a_request_below_the_endpoint_wakes_the_session_at_its_endpoint(make: Make) -> None:
    nodes = await make()
    session = await nodes.orphan()
    reply = await nodes.raw.send("GET", f"{nodes.nodes[1].url}/mcp/files/1?of=2", session=session)
    assert reply.status == 200
    assert nodes.initialized() == 1
    assert [scope["path"] for scope in nodes.apps[1].scopes] == ["/mcp", "/mcp", "/mcp/files/1"]
    assert nodes.apps[1].scopes[0]["query_string"] == b""


async def test_a_node_whose_end_is_on_record_revives_nothing(raw: RawClient) -> None:
    """It was taken for dead, wrongly, and what is its own in the store is its own no more."""
    store = MemoryStore()
    async with running_node(ScriptedApp(), store, hold_seconds=0.5) as node:
        session = await raw.open(node.url)
        await store.bury(node.id)

        async def knows() -> bool:
            return node.mooring._node.membership.has_left

        await until(knows, what="the node to hear of its end")
        assert (await raw.call(node.url, session)).reason == "unreachable"
        assert node.mooring._node.tally.revived == 0
        assert await store.load_session(session) is not None


async def test_what_a_paused_owner_writes_late_changes_nothing(make: Make) -> None:
    nodes = await make()
    session = await nodes.orphan()
    old = nodes.nodes[0].mooring._node.sessions.find(session)
    assert old is not None
    assert (await nodes.ping(session)).status == 200
    before = await nodes.store.inner.load_session(session)
    late = replace(old.record(nodes.nodes[0].id), last_seen=9e9, incarnation=99)
    await nodes.nodes[0].mooring._node.sessions.records.write(old)
    await nodes.store.inner.save_session(late, 600)
    await nodes.nodes[0].mooring._node.sessions.records.remove(session, old.epoch)
    assert await nodes.store.inner.load_session(session) == before


async def test_the_author_hears_of_a_revival_before_anybody_uses_the_session(make: Make) -> None:
    nodes = await make()
    session = await nodes.orphan()
    seen: list[tuple[int, RevivedSession]] = []

    async def remember(revived: RevivedSession) -> None:
        await asyncio.sleep(0.1)
        seen.append((sum(b'"ping"' in body for _, _, body in nodes.apps[1].asked), revived))

    nodes.nodes[1].mooring.on_revive(remember)
    replies = await asyncio.gather(*(nodes.ping(session) for _ in range(5)))
    assert {reply.status for reply in replies} == {200}
    [(pings, revived)] = seen
    assert pings == 0
    assert (revived.id, revived.incarnation, revived.last_node) == (session, 1, nodes.nodes[0].id)


@pytest.mark.parametrize("error", [ZeroDivisionError, asyncio.CancelledError])
async def test_an_author_whose_handler_fails_loses_no_session(
    error: type[BaseException], make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    nodes = await make()
    session = await nodes.orphan()

    def fail(revived: RevivedSession) -> None:
        raise error

    nodes.nodes[1].mooring.on_revive(fail)
    assert (await nodes.ping(session)).status == 200
    assert "on_revive handler failed" in caplog.text


async def test_what_the_client_asked_for_is_asked_for_again(raw: RawClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    store = MemoryStore()
    apps = [ScriptedApp(), ScriptedApp()]
    async with running_node(apps[0], store, "node-1") as lost, running_node(apps[1], store, "node-2") as left:
        session = await raw.open(lost.url)
        await lost.vanish()
        await store.bury(lost.id)
        record = await store.load_session(session)
        assert record is not None
        await store.save_session(replace(record, log_level="debug", subscriptions=("file:///a", "file:///b")), 600)
        assert (await raw.call(left.url, session)).status == 200
    told = [json.loads(body) for _, _, body in apps[1].asked if b"notifications/message" not in body]
    assert [(one["method"], one.get("params")) for one in told][1:] == [
        ("notifications/initialized", None),
        ("logging/setLevel", {"level": "debug"}),
        ("resources/subscribe", {"uri": "file:///a"}),
        ("resources/subscribe", {"uri": "file:///b"}),
        ("ping", None),
    ]


def telling(method: str, **params: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 3, "method": method, "params": params}


LONG = "file:///" + "x" * 2_500


@pytest.mark.parametrize(
    ("told", "again"),
    [
        (
            [[telling("logging/setLevel", level="info"), telling("resources/subscribe", uri="file:///a")]],
            [telling("logging/setLevel", level="info"), telling("resources/subscribe", uri="file:///a")],
        ),
        (
            [telling("logging/setLevel", level="info"), telling("logging/setLevel", level="loud")],
            [telling("logging/setLevel", level="info")],
        ),
        ([telling("resources/subscribe", uri=LONG)], []),
        (
            [telling("resources/subscribe", uri=LONG[:2_000]), telling("resources/unsubscribe", uri=LONG)],
            [telling("resources/subscribe", uri=LONG[:2_000])],
        ),
    ],
    ids=["in a batch", "a level that is none", "a long URI", "another long URI"],
)
async def test_the_next_life_is_told_what_the_last_one_was_and_nothing_else(
    told: list[Any], again: list[Any], make: Make
) -> None:
    nodes = await make()
    session = await nodes.raw.open(nodes.nodes[0].url)
    for message in told:
        assert (await nodes.raw.call(nodes.nodes[0].url, session, body=message)).status == 200
    await nodes.nodes[0].vanish()
    await nodes.store.inner.bury(nodes.nodes[0].id)
    assert (await nodes.ping(session)).status == 200
    asked = [json.loads(body) for _, _, body in nodes.apps[1].asked][2:-1]
    assert [(one["method"], one["params"]) for one in asked] == [(one["method"], one["params"]) for one in again]


async def test_a_session_revived_where_it_just_ended_works_at_once_and_goes_on(raw: RawClient) -> None:
    """The SDK forgets a session by its id, late: some seconds after it ended."""
    whoami = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "whoami", "arguments": {}}}
    async with running_node(sdk_app(), MemoryStore()) as node:
        session = await raw.open(node.url)
        local = node.mooring._node
        held = local.sessions.find(session)
        assert held is not None
        assert len(local.sessions) == 1
        local.sessions.fence_one(held)
        loop = asyncio.get_running_loop()
        until_then = loop.time() + 5
        while loop.time() < until_then:
            reply = await raw.call(node.url, session, body=whoami)
            assert (reply.status, reply.json["result"]["content"][0]["text"]) == (200, session)
            await asyncio.sleep(0.1)
        assert local.tally.revived == 1


async def asked_for(nodes: Nodes, **wanted: Any) -> str:
    """An orphan whose client asked for that before."""
    session = await nodes.orphan()
    record = await nodes.store.load_session(session)
    assert record is not None
    await nodes.store.save_session(replace(record, **wanted), 600)
    return session


def hangs_at(method: str, until_then: asyncio.Event) -> Callable[[Scope, bytes, Send], Awaitable[None]]:
    async def on_session(scope: Scope, body: bytes, send: Send) -> None:
        if json.loads(body)["method"] == method:
            await until_then.wait()
        await answer(send, 200, b'{"jsonrpc":"2.0","id":1,"result":{}}')

    return on_session


@pytest.mark.parametrize("method", ["notifications/initialized", "logging/setLevel", "resources/subscribe"])
async def test_an_app_that_hangs_at_what_its_client_asked_for_once_costs_no_session(method: str, make: Make) -> None:
    nodes = await make(hold_seconds=0.6)
    session = await asked_for(nodes, log_level="debug", subscriptions=("file:///a", "file:///b"))
    nodes.apps[1].on_session = hangs_at(method, asyncio.Event())
    assert (await nodes.ping(session)).json["result"] == {}
    await once(lambda: b"file:///b" in b"".join(body for _, _, body in nodes.apps[1].asked), what="the rest to be told")
    assert nodes.revived() == 1


async def test_what_takes_long_to_be_told_is_told_while_the_session_is_used(make: Make) -> None:
    nodes = await make(hold_seconds=0.6)
    session = await asked_for(nodes, subscriptions=tuple(f"file:///{n}" for n in range(4)))
    goes_on = asyncio.Event()
    nodes.apps[1].on_session = hangs_at("resources/subscribe", goes_on)
    assert (await nodes.ping(session)).json["result"] == {}
    ended = {"jsonrpc": "2.0", "id": 8, "method": "resources/unsubscribe", "params": {"uri": "file:///2"}}
    await nodes.raw.call(nodes.nodes[1].url, session, body=ended)
    goes_on.set()
    told = nodes.apps[1].asked
    await once(lambda: b"file:///3" in b"".join(body for _, _, body in told), what="the rest to be told")
    bodies = [json.loads(body) for _, _, body in told if b"resources/subscribe" in body]
    assert [one["params"]["uri"] for one in bodies] == ["file:///0", "file:///1", "file:///3"]


@pytest.mark.parametrize("method", ["notifications/initialized", "logging/setLevel", "resources/subscribe"])
async def test_what_is_still_to_be_told_is_told_no_more_once_the_session_is_another_nodes(
    method: str, make: Make
) -> None:
    """The app may go on with it: nobody would end the stream that it was asked for then."""
    nodes = await make(hold_seconds=0.6)
    session = await asked_for(nodes, has_stream=True, log_level="debug", subscriptions=("file:///a", "file:///b"))
    goes_on = asyncio.Event()
    nodes.apps[1].on_session = hangs_at(method, goes_on)
    assert (await nodes.ping(session)).json["result"] == {}
    local = nodes.nodes[1].mooring._node
    before = len(nodes.apps[1].asked)
    local.sessions.fence(session.partition(".")[0])
    goes_on.set()
    await once(lambda: not local.sessions._works, what="all that is asked of the app to end")
    await local.sessions.settle()
    assert nodes.apps[1].asked[before:] == [("DELETE", "inner-1", b"")]


async def test_a_revival_that_fails_on_its_way_takes_no_stream_from_the_next_one(raw: RawClient) -> None:
    """The SDK has one for each session, and the next life has the same name there."""
    store, tellers = FlakyStore(MemoryStore()), list[Teller]()

    def app() -> App:
        tellers.append(Teller())
        return tellers[-1].app()

    async def is_away() -> None:
        raise StoreUnavailable("away for one call")

    async with running_nodes(app, 2, store) as nodes, aiohttp.ClientSession() as http:
        session = await raw.open(nodes[0].url)
        await nodes[0].vanish()
        await store.inner.bury(nodes[0].id)
        record = await store.load_session(session)
        assert record is not None
        await store.save_session(replace(record, has_stream=True), 600)
        nodes[1].mooring.carry(lambda session: None, lambda session, data: None)
        store.before["carried"] = is_away
        assert (await raw.call(nodes[1].url, session)).status == 200
        assert "carried" not in store.before
        async with reading(http, "GET", nodes[1].url, session) as reader:
            assert reader.answer.status == 200
            await raw.call(nodes[1].url, session, body=call("announce", text="heard"))
            event = await reader.next()
            while event is not None and "list_changed" not in event.data:
                event = await reader.next()
            assert event is not None


async def test_an_app_that_begins_its_stream_when_it_has_something_to_say_costs_no_session(make: Make) -> None:
    """As where something around it holds the beginning of each answer back until it knows more."""
    nodes = await make(hold_seconds=0.6)
    session = await asked_for(nodes, has_stream=True, log_level="debug")
    speaks = asyncio.Event()

    async def on_session(scope: Scope, body: bytes, send: Send) -> None:
        if scope["method"] != "GET":
            await answer(send, 200, b'{"jsonrpc":"2.0","id":1,"result":{}}')
            return
        await speaks.wait()
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"data: at last\n\n", "more_body": True})
        await asyncio.Event().wait()

    nodes.apps[1].on_session = on_session
    assert (await nodes.ping(session)).json["result"] == {}
    speaks.set()
    heard = ""
    async with aiohttp.ClientSession() as http, reading(http, "GET", nodes.nodes[1].url, session) as reader:
        while not ("at last" in heard and "is gone" in heard):
            event = await reader.next()
            assert event is not None
            heard += event.data


async def test_a_stream_that_has_not_begun_is_no_listener_and_its_session_ends_when_it_is_idle(make: Make) -> None:
    nodes = await make(hold_seconds=0.6, idle_seconds=0.3)
    session = await asked_for(nodes, has_stream=True)
    app = nodes.apps[1]

    async def on_session(scope: Scope, body: bytes, send: Send) -> None:
        if scope["method"] == "GET":
            await asyncio.Event().wait()
        if scope["method"] == "DELETE":
            app.sessions.clear()
        await answer(send, 200, b'{"jsonrpc":"2.0","id":1,"result":{}}')

    app.on_session = on_session
    assert (await nodes.ping(session)).json["result"] == {}
    await once(lambda: not app.sessions, what="the app to end the session")
