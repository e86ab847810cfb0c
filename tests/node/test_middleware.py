"""Which requests are Mooring's, and what the author of a server can ask it."""

from __future__ import annotations

import asyncio
import logging
import string

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.routing import Mount

from mooring import ClosedSession, Mooring, SettingsError, StoreUnavailable
from mooring.asgi import Receive, Scope, Send
from mooring.core.ids import SessionIds
from mooring.core.model import NodeState
from mooring.node.current import nodes_here
from mooring.node.links.own_address import OwnAddress
from mooring.store import MemoryStore
from tests.cluster_in_process import SECRET, RunningNode
from tests.fakes import FlakyStore, store_that_is_away
from tests.node.apps import ScriptedApp, answer
from tests.node.clusters import Cluster
from tests.node.direct import Request, a_mooring, initialize, joined
from tests.node.rpc import RawClient

PROPERTY = settings(deadline=None, max_examples=100)

FORGED = "zzzzz.AAAAAAAAAAAAAAAAAAAAAA.AAAAAAAAAAA"


# What is wrapped.


@pytest.mark.parametrize("is_wrapped", [False, True])
def test_an_app_that_is_wrapped_twice_is_warned_of(is_wrapped: bool, caplog: pytest.LogCaptureFixture) -> None:
    inner = a_mooring(ScriptedApp()) if is_wrapped else ScriptedApp()
    a_mooring(Starlette(routes=[Mount("/api", inner)]))
    assert ("let one of them be" in caplog.text) is is_wrapped


# Which requests are touched.


async def test_other_paths_pass_untouched(node: RunningNode, app: ScriptedApp, raw: RawClient) -> None:
    for path in ("/", "/mcpfoo", "/api/mcp"):
        await raw.send("POST", f"{node.url}{path}", session="anything at all", body=b"x")
        scope = app.scopes[-1]
        assert scope["path"] == path
        assert (b"mcp-session-id", b"anything at all") in scope["headers"]
    assert node.mooring._node.tally.served == 0


@pytest.fixture(scope="module")
def never_started() -> Mooring:
    """Around an app that answers everything; with a status page, and a store that would not let it start."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, 299, b"the app's")

    return a_mooring(app, store_that_is_away(), status_token="a-token-for-tests,nowhere-else", mcp_path="/a/mcp")


@PROPERTY
@given(st.text("/amcp" + string.ascii_lowercase, max_size=8), st.sampled_from(["GET", "HEAD", "POST", "PUT"]))
@example("a/mcp", "POST")
@example("a/mcp/", "GET")
@example("a/mcp/below", "PUT")
@example("a/mcpx", "POST")
@example("healthz", "GET")
@example("healthz", "POST")
@example("readyz", "HEAD")
@example("readyz", "PUT")
@example("mooring/status", "GET")
async def test_a_request_is_the_apps_or_moorings_by_its_path(never_started: Mooring, below: str, method: str) -> None:
    path = f"/{below}"
    is_ours = path == "/a/mcp" or path.startswith("/a/mcp/") or path == "/mooring/status"
    is_health = path in ("/healthz", "/readyz") and method in ("GET", "HEAD")
    request = await Request(method, path).to(never_started)
    assert (request.status != 299) is (is_ours or is_health)


async def test_a_websocket_is_the_apps_also_on_the_mcp_path() -> None:
    scopes: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope)

    request = Request(path="/mcp", session="anything")
    request.scope["type"] = "websocket"
    await request.to(a_mooring(app, store_that_is_away()))
    assert scopes == [request.scope]


# Joining with the first request, where no lifespan does.


async def test_many_first_requests_join_once() -> None:
    store = FlakyStore(MemoryStore())
    store.before["register"] = lambda: asyncio.sleep(0)
    mooring = a_mooring(ScriptedApp(), store)
    requests = await asyncio.gather(*(initialize().to(mooring) for _ in range(5)))
    assert [request.status for request in requests] == [200] * 5
    assert store.calls.count("register") == 1
    await mooring._node.stop()


@pytest.mark.parametrize("path", ["/mcp", "/readyz"])
async def test_a_node_that_cannot_start_says_so_and_tries_again_with_the_next_request(
    path: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = store_that_is_away()
    mooring = a_mooring(ScriptedApp(), store)
    refused = await Request("GET", path).to(mooring)
    assert (refused.status, refused.headers[b"content-type"]) == (503, b"text/plain; charset=utf-8")
    assert b"log" in refused.body
    assert b"away, as the test wants it" not in refused.body
    assert "away, as the test wants it" in caplog.text
    assert (await Request("GET", "/healthz").to(mooring)).status == 200
    store.away = False
    assert (await Request("GET", path).to(mooring)).status in (200, 400)
    assert mooring._node.membership.state is NodeState.READY
    await mooring._node.stop()


async def test_all_who_wait_for_a_node_that_cannot_start_hear_it_together(caplog: pytest.LogCaptureFixture) -> None:
    """Health checks come again and again: each would have waited for all before it."""
    mooring = a_mooring(ScriptedApp(), store_that_is_away())
    answers = await asyncio.gather(*(Request("GET", "/readyz").to(mooring) for _ in range(5)))
    assert [answer.status for answer in answers] == [503] * 5
    assert caplog.text.count("cannot start") == 1


async def test_a_node_that_its_cluster_refused_serves_nothing_afterwards(caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryStore()
    app = ScriptedApp()
    async with joined(app, store):
        other = a_mooring(app, store, node_name="other", secret="x" * 64)
        for path in ("/mcp", "/mcp", "/readyz"):
            refused = await Request("POST" if path == "/mcp" else "GET", path).to(other)
            assert refused.status == 503
        assert app.asked == []
        states = {lease.node.name: lease.node.state for lease in (await store.snapshot()).leases.values()}
        assert states == {"node-1": NodeState.READY, "other": NodeState.GONE}
    assert caplog.text.count("cannot start") == 1


@pytest.mark.parametrize("step", ["register", "claim", "heartbeat"])
async def test_a_first_request_that_is_cancelled_while_the_node_joins_takes_nothing_from_those_after_it(
    step: str, app: ScriptedApp
) -> None:
    store, may_go_on, waits = FlakyStore(MemoryStore()), asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        waits.set()
        await may_go_on.wait()

    store.before[step] = wait
    mooring = a_mooring(app, store)
    first = asyncio.create_task(initialize().to(mooring))
    await waits.wait()
    first.cancel()
    await asyncio.wait({first})
    may_go_on.set()
    try:
        async with asyncio.timeout(5):
            assert (await initialize().to(mooring)).status == 200
        assert mooring.node_id in [node.id for node in nodes_here()]
        lease = (await store.inner.snapshot()).leases[mooring.node_id]
        assert lease.node.state is NodeState.READY
    finally:
        await mooring._node.stop()


async def test_a_first_request_that_is_cancelled_once_the_node_has_joined_leaves_it_whole(
    app: ScriptedApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_go_on, waits = asyncio.Event(), asyncio.Event()

    async def watch(self: OwnAddress) -> None:
        waits.set()
        await may_go_on.wait()

    monkeypatch.setattr(OwnAddress, "watch", watch)
    mooring, did = a_mooring(app), asyncio.Event()

    async def work() -> None:
        did.set()

    mooring._node.beside.append(work)
    first = asyncio.create_task(initialize().to(mooring))
    await waits.wait()
    first.cancel()
    await asyncio.wait({first})
    may_go_on.set()
    try:
        async with asyncio.timeout(5):
            assert (await initialize().to(mooring)).status == 200
            await did.wait()
    finally:
        await mooring._node.stop()


# What the author of a server can ask.


def test_settings_are_by_default_those_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOORING_NODE_NAME", "from-the-environment")
    assert Mooring(ScriptedApp()).node_id.rpartition("-")[0] == "from-the-environment"
    monkeypatch.setenv("MOORING_NODE_NAME", "Not A Name")
    with pytest.raises(SettingsError):
        Mooring(ScriptedApp())


async def test_the_registry_is_the_clusters(cluster: Cluster, raw: RawClient) -> None:
    session = await raw.open(cluster.nodes[0].url)
    for node in cluster.nodes:
        registry = node.mooring.registry
        assert {status.info.id for status in await registry.nodes()} == {one.id for one in cluster.nodes}
        assert [record.id for record in await registry.sessions()] == [session]


async def test_what_to_do_at_a_sessions_end_can_be_said_with_a_decorator_and_more_than_once() -> None:
    told: list[tuple[str, ClosedSession]] = []
    app = ScriptedApp()
    async with joined(app) as mooring:

        @mooring.on_close
        def first(session: ClosedSession) -> None:
            told.append(("first", session))

        @mooring.on_close
        async def second(session: ClosedSession) -> None:
            told.append(("second", session))

        assert callable(first)
        assert asyncio.iscoroutinefunction(second)
        ended = (await initialize().to(mooring)).session_id
        await initialize().to(mooring)
        await Request("DELETE", session=ended).to(mooring)
    closed = ClosedSession(ended, "deleted", "")
    assert told == [("first", closed), ("second", closed)]


async def test_a_session_is_had_by_the_node_that_it_lives_on_and_misrouted_at_any_other(
    cluster: Cluster, raw: RawClient, caplog: pytest.LogCaptureFixture
) -> None:
    session = await raw.open(cluster.nodes[0].url)
    assert [await node.mooring.has_session(session) for node in cluster.nodes] == [True, False, False]
    said = [record.getMessage() for record in caplog.records if record.name == "mooring.sessions"]
    assert len(said) == 2
    assert all(cluster.nodes[0].id in text and session not in text for text in said)


@pytest.mark.parametrize("session_id", [SessionIds(SECRET).mint("zzzzz", b"0" * 16), FORGED, "", "x" * 10_000, "ü"])
async def test_a_session_that_nobody_knows_is_had_by_nobody(session_id: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="mooring.sessions")
    async with joined(ScriptedApp()) as mooring:
        assert not await mooring.has_session(session_id)
    (said,) = [record.getMessage() for record in caplog.records if record.name == "mooring.sessions"]
    assert not session_id or session_id not in said


async def test_the_store_is_asked_only_for_a_session_that_may_exist_and_is_not_here() -> None:
    store = FlakyStore(MemoryStore())
    async with joined(ScriptedApp(), store) as mooring:
        session = (await initialize().to(mooring)).session_id
        store.away = True
        assert await mooring.has_session(session)
        assert not await mooring.has_session(FORGED)
        with pytest.raises(StoreUnavailable):
            await mooring.has_session(SessionIds(SECRET).mint("zzzzz", b"0" * 16))


async def test_a_copy_in_a_forked_process_is_a_node_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with `gunicorn --preload`, where the app is made before the workers are."""
    closed: list[ClosedSession] = []
    mooring = a_mooring(ScriptedApp())
    mooring.on_close(closed.append)
    before = mooring.node_id
    monkeypatch.setattr("mooring.node.middleware.os.getpid", lambda: -1)
    opened = await initialize().to(mooring)
    assert mooring.node_id != before
    (info,) = [node.info for node in await mooring.registry.nodes()]
    assert info.id == mooring.node_id
    deleted = await Request("DELETE", session=opened.session_id).to(mooring)
    assert deleted.status == 200
    await mooring._node.sessions.settle()
    assert [one.id for one in closed] == [opened.session_id]
    await mooring._node.stop()
