"""Where a node is reached: see the table in the module."""

from __future__ import annotations

import pytest

from mooring.asgi import Receive, Scope, Send
from mooring.node.links.place import Place
from mooring.settings import Settings
from mooring.store import MemoryStore
from tests.cluster_in_process import running_node
from tests.node.apps import ScriptedApp
from tests.node.direct import Request, joined
from tests.node.links.test_peer_port import ok
from tests.node.rpc import RawClient
from tests.waiting import until

REDIS = "redis://127.0.0.1:1"
HERE = "http://10.0.0.7:8000"


@pytest.mark.parametrize(
    ("settings", "is_open", "client_url", "may_be_shared"),
    [
        ({"advertise_url": HERE}, False, None, True),
        ({"advertise_url": HERE, "redis_url": REDIS}, False, None, True),
        ({"advertise_url": HERE, "redis_url": REDIS, "peer_ports": "any"}, True, HERE, False),
        ({"redis_url": REDIS}, True, "", False),
        ({"redis_url": REDIS, "peer_link": "auto"}, True, "", False),
        ({"redis_url": REDIS, "peer_link": "redis"}, False, None, False),
        ({"redis_url": REDIS, "peer_link": "redis", "peer_ports": "any"}, True, "", False),
        ({"advertise_url": HERE, "redis_url": REDIS, "peer_link": "redis"}, False, None, False),
        ({}, False, None, False),
    ],
)
async def test_who_opens_a_port_from_the_start(
    settings: dict[str, str], is_open: bool, client_url: str | None, may_be_shared: bool
) -> None:
    place = Place(Settings.load(**settings), ok)
    await place.take({})
    assert place.url.startswith("http://127.0.0.1:") is is_open
    assert (place.client_url, place.may_be_shared) == (client_url, may_be_shared)
    await place.drain()
    await place.leave()


async def test_two_nodes_at_one_address_find_out_and_are_told_apart(raw: RawClient) -> None:
    """Both say the elder's address: what is passed on to the younger there reaches the elder, until they notice."""
    store, app = MemoryStore(), ScriptedApp()
    async with (
        running_node(ScriptedApp(), store, "node-1") as elder,
        running_node(app, store, "node-2", advertise_url=elder.url) as younger,
    ):

        async def both_have_a_port() -> bool:
            return all(node.mooring._node.describe().client_url == elder.url for node in (elder, younger))

        session = await raw.open(younger.url)
        await until(both_have_a_port, what="a port of each one's own")
        urls = {node.mooring._node.describe().url for node in (elder, younger)}
        assert len(urls | {elder.url, younger.url}) == 4
        before = len(app.asked)
        assert (await raw.call(elder.url, session)).status == 200
        assert len(app.asked) == before + 1


async def test_one_that_comes_to_a_shared_address_has_its_own_port_before_it_serves() -> None:
    """Those that are there already have said that they share it."""
    store = MemoryStore()
    async with (
        running_node(ScriptedApp(), store, "node-1", peer_ports="any") as first,
        joined(ScriptedApp(), store, advertise_url=first.url) as second,
    ):
        me = second._node.describe()
        assert me.client_url == first.url
        assert me.url not in (first.url, first.mooring._node.describe().url)


async def test_a_node_that_tries_again_to_join_has_one_port() -> None:
    place = Place(Settings.load(redis_url=REDIS), ok)
    await place.take({})
    before = place.url
    await place.take({})
    assert place.url == before
    await place.leave()


async def test_the_state_of_the_apps_lifespan_is_handed_on(raw: RawClient) -> None:
    class Keeping(ScriptedApp):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "lifespan":
                scope["state"]["pool"] = "opened at the start"
            await super().__call__(scope, receive, send)

    store, app = MemoryStore(), Keeping()
    async with (
        running_node(app, store, "node-1", peer_ports="any") as owner,
        running_node(Keeping(), store, "node-2", peer_ports="any") as other,
    ):
        session = await raw.open(owner.url)
        await other.mooring._node.keeper.beat()
        assert (await raw.call(other.url, session)).status == 200
        directly, passed_on = (scope["state"] for scope in app.scopes[-2:])
        assert directly == passed_on == {"pool": "opened at the start"}
        assert app.scopes[-1]["server"] != app.scopes[-2]["server"], "it came by the port for peers"


async def test_a_node_that_took_a_dead_ones_place_does_not_share_it() -> None:
    store = MemoryStore()
    async with running_node(ScriptedApp(), store, "node-1", lease_seconds=60) as before:
        await before.vanish()
        async with running_node(ScriptedApp(), store, "node-1", advertise_url=before.url) as after:
            node = after.mooring._node
            await node.keeper.beat()
            assert node.membership.view.is_alive(before.id), "its lease is alive, as it said no goodbye"
            assert not node.membership.view.shares_its_url(node.id)
            assert node.describe().url == before.url


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("POST", "/mcp", []),
        ("GET", "/admin", [(b"mooring-peer", b"1;forged")]),
        ("POST", "/mcp", [(b"mooring-peer", b"1;forged")]),
        ("GET", "/healthz", []),
        ("GET", "/.mooring/renewal", [(b"mooring-peer", b"1;forged")]),
        ("GET", "/.mooring/renewal", []),
    ],
)
async def test_nothing_but_what_a_peer_has_signed_is_answered_there(
    method: str, path: str, headers: list[tuple[bytes, bytes]]
) -> None:
    app = ScriptedApp()
    async with running_node(app, MemoryStore()) as node:
        asked = await Request(method, path, headers=headers).to(node.mooring._answer_peer)
        assert (asked.status, asked.reason) == (403, "signature")
    assert app.scopes == []
