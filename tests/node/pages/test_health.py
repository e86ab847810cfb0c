"""The two pages that load balancers ask: the process is alive, and the node takes new sessions or says why not."""

from __future__ import annotations

import pytest

from mooring.core.model import NodeState
from mooring.store import MemoryStore
from mooring.store.trouble import explain
from tests.cluster_in_process import RunningNode, running_node
from tests.fakes import FlakyStore
from tests.node.apps import ScriptedApp
from tests.node.direct import Request, joined
from tests.node.rpc import RawClient


async def test_health_and_readiness(node: RunningNode, raw: RawClient) -> None:
    assert (await raw.send("GET", f"{node.url}/healthz")).status == 200
    ready = await raw.send("GET", f"{node.url}/readyz")
    assert (ready.status, ready.body) == (200, b"ready\n")
    assert (await raw.send("HEAD", f"{node.url}/readyz")).body == b""


async def test_a_full_node_says_so_and_serves_on(app: ScriptedApp, store: MemoryStore, raw: RawClient) -> None:
    async with running_node(app, store, capacity=1) as node:
        session = await raw.open(node.url)
        ready = await raw.send("GET", f"{node.url}/readyz")
        assert (ready.status, ready.body) == (503, b"full: 1 sessions, capacity 1\n")
        assert (await raw.call(node.url, session)).status == 200
        await raw.open(node.url)


async def test_a_node_whose_store_is_away_takes_new_sessions_and_says_why_it_is_degraded(app: ScriptedApp) -> None:
    store = FlakyStore(MemoryStore())
    async with joined(app, store) as mooring:
        store.away = True
        await mooring._node.keeper.beat()
        ready = await Request("GET", "/readyz").to(mooring)
        assert (ready.status, ready.body) == (200, b"degraded: away, as the test wants it\n")
        store.away = False
        await mooring._node.keeper.beat()
        assert (await Request("GET", "/readyz").to(mooring)).body == b"ready\n"


@pytest.mark.parametrize(
    "url", ["redis://app:***@10.0.0.5:6379/0", "rediss+sentinel://s1:26379,s2/main", "unix:///r/a socket"]
)
async def test_nobody_without_a_token_learns_where_redis_is(app: ScriptedApp, url: str) -> None:
    async with joined(app) as mooring:
        why = explain(ConnectionRefusedError(111, "refused"), url, "renewing the lease")
        mooring._node.membership.missed(why)
        ready = await Request("GET", "/readyz").to(mooring)
    assert ready.body.startswith(b"degraded: Redis does not answer while renewing the lease (connection refused)")
    assert ready.body == f"degraded: {str(why).replace(f' at {url}', '')}\n".encode()


async def test_a_node_that_drains_or_has_left_is_alive_and_not_ready(app: ScriptedApp) -> None:
    async def pages() -> list[tuple[int, bytes]]:
        asked = [await Request("GET", path).to(mooring) for path in ("/readyz", "/healthz")]
        return [(page.status, page.body) for page in asked]

    async with joined(app) as mooring:
        mooring._node.membership.go(NodeState.DRAINING)
        assert await pages() == [(503, b"draining\n"), (200, b"alive\n")]
    assert await pages() == [(503, b"gone\n"), (200, b"alive\n")]


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_head_says_what_get_says_but_for_the_body(app: ScriptedApp, path: str) -> None:
    async with joined(app) as mooring:
        got, head = [await Request(method, path).to(mooring) for method in ("GET", "HEAD")]
    assert (head.status, head.headers, head.body) == (got.status, got.headers, b"")
    assert int(got.headers[b"content-length"]) == len(got.body)
    assert got.headers[b"cache-control"] == b"no-store"


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_other_methods_on_these_paths_are_the_apps(app: ScriptedApp, path: str) -> None:
    async with joined(app) as mooring:
        assert (await Request("POST", path).to(mooring)).body == b'{"other": true}'
    assert [method for method, _, _ in app.asked] == ["POST"]


async def test_the_pages_are_where_the_settings_say(app: ScriptedApp) -> None:
    async with joined(app, health_path="/live", ready_path="/mcpready") as mooring:
        assert (await Request("GET", "/live").to(mooring)).body == b"alive\n"
        assert (await Request("GET", "/mcpready").to(mooring)).body == b"ready\n"
        assert (await Request("GET", "/healthz").to(mooring)).body == b'{"other": true}'
