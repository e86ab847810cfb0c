from __future__ import annotations

import logging
import time
from collections.abc import Iterable

import pytest

from mooring.core.model import NodeInfo, NodeState, ShardOwner, unknown_node
from mooring.core.ownership import ClusterView, NodeView
from mooring.ingress.topology import Backend, topology_of
from mooring.settings import Settings
from tests.ingress.topologies import node

LETTERS = "abcdefghijklmnopqrstuvwxyz"
SETTINGS = Settings.load(mcp_path="/api/mcp", health_path="/alive", ready_path="/ready")


def view(infos: Iterable[NodeInfo], shards: dict[str, str] | None = None, dead: str = "") -> ClusterView:
    owners = {shard: ShardOwner(owner, 1) for shard, owner in (shards or {}).items()}
    return ClusterView(1, {info.id: NodeView(info, info.id != dead) for info in infos}, owners)


def backends(infos: Iterable[NodeInfo], shards: dict[str, str] | None = None, dead: str = "") -> list[Backend]:
    return list(topology_of(view(infos, shards, dead), SETTINGS).backends)


def test_takes_the_paths_from_the_settings() -> None:
    topology = topology_of(view([]), SETTINGS)
    assert (topology.endpoints, topology.health_path, topology.ready_path) == (("/api/mcp",), "/alive", "/ready")
    assert topology.backends == ()


def test_has_the_living_nodes_with_their_shards_by_name() -> None:
    infos = [node("node-2", "bbbbb"), node("node-1", "aaaaa"), node("node-3", "ccccc")]
    shards = {"s2222": "node-2-bbbbb", "s2223": "node-2-bbbbb", "s3333": "node-3-ccccc", "lost2": "node-9-zzzzz"}
    assert backends(infos, shards, dead="node-3-ccccc") == [
        Backend("node-1", "http://aaaaa:8000", (), True),
        Backend("node-2", "http://bbbbb:8000", ("s2222", "s2223"), True),
    ]


def test_leaves_out_a_node_that_was_found_dead() -> None:
    bereft = view([node("node-1", "aaaaa")]).without("node-1-aaaaa")
    assert topology_of(bereft, SETTINGS).backends == ()


def test_leaves_out_nodes_whose_entries_do_not_read_and_complains_of_none(caplog: pytest.LogCaptureFixture) -> None:
    infos = [unknown_node("node-1-aaaaa"), node("node-2", "bbbbb"), unknown_node("node-3-ccccc")]
    assert [backend.name for backend in backends(infos)] == ["node-2"]
    assert caplog.records == []


@pytest.mark.parametrize(
    ("state", "ready"),
    [
        (NodeState.STARTING, False),
        (NodeState.READY, True),
        (NodeState.DEGRADED, True),
        (NodeState.DRAINING, False),
    ],
)
def test_is_ready_where_the_state_takes_new_sessions(state: NodeState, ready: bool) -> None:
    assert [backend.ready for backend in backends([node("node-1", "aaaaa", state=state)])] == [ready]


def test_of_two_nodes_with_one_name_the_younger_has_it() -> None:
    infos = [node("node-1", "young", started=2), node("node-1", "elder", started=1)]
    expected = [("node-1", "http://young:8000"), ("node-1_elder", "http://elder:8000")]
    assert [(backend.name, backend.url) for backend in backends(infos)] == expected
    assert [(backend.name, backend.url) for backend in backends(reversed(infos))] == expected


def test_the_one_that_takes_new_sessions_has_the_name_while_its_successor_starts() -> None:
    infos = [
        node("node-1", "young", started=2, state=NodeState.STARTING),
        node("node-1", "elder", started=1),
        node("node-1", "leave", started=0, state=NodeState.DRAINING),
    ]
    assert [backend.name for backend in backends(infos)] == ["node-1", "node-1_leave", "node-1_young"]
    assert backends(infos)[0].url == "http://elder:8000"


def test_of_two_nodes_at_one_url_only_the_younger_is_there() -> None:
    here = "http://10.0.0.7:8000"
    infos = [node("node-1", "young", started=2, url=here), node("node-1", "elder", started=1, url=here)]
    shards = {"yyyyy": "node-1-young", "eeeee": "node-1-elder"}
    assert backends(infos, shards) == [Backend("node-1", here, ("yyyyy",), True)]


def test_nodes_that_share_an_address_are_one_backend_with_the_shards_of_all() -> None:
    here = "http://10.0.0.7:8000"
    infos = [
        node("web-2", "bbbbb", started=1, client_url=here),
        node("web-1", "aaaaa", started=2, client_url=here, state=NodeState.DRAINING),
        node("web-3", "ccccc", started=3, url=here),  # it has not seen the others yet
        node("alone", "ddddd", started=0),
    ]
    shards = {"bbbbb": "web-2-bbbbb", "aaaaa": "web-1-aaaaa", "ccccc": "web-3-ccccc", "ddddd": "alone-ddddd"}
    for order in (infos, infos[::-1]):
        alone, shared = backends(order, shards)
        assert alone == Backend("alone", "http://ddddd:8000", ("ddddd",), True)
        assert (shared.name, shared.url, shared.ready) == ("web-1", here, True)
        assert sorted(shared.shards) == ["aaaaa", "bbbbb", "ccccc"]


def test_a_node_that_does_not_know_where_clients_reach_it_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    infos = [node("node-1", "zzzzz", client_url=""), node("node-2", "bbbbb")]
    assert [backend.name for backend in backends(infos)] == ["node-2"]
    assert "does not know where clients reach it: set its advertise_url" in caplog.text


def test_a_node_that_cannot_be_routed_to_does_not_stop_the_others(caplog: pytest.LogCaptureFixture) -> None:
    infos = [node("node-1", "aaaaa"), node("node-2", "bbbbb", url="http://x/`y`"), node("Bad Name", "ccccc")]
    for _ in range(2):
        assert [backend.name for backend in backends(infos, {"`bad`": "node-1-aaaaa"})] == ["node-1"]
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2


def test_thousands_of_nodes_take_no_time() -> None:
    """Traefik asks a node for this twice a second."""
    infos = [node(f"node-{number}", f"h{number}") for number in range(3000)]
    names = (f"{one}{two}{three}aa" for one in LETTERS for two in LETTERS for three in LETTERS)
    shards = {shard: infos[number % len(infos)].id for number, shard in enumerate(names)}
    began = time.process_time()
    assert len(backends(infos, shards)) == 3000
    assert time.process_time() - began < 0.7
