from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest

from mooring.store import MemoryStore
from tests.cli.command import mooring
from tests.cli.registries import DEAD_NODE, NODE_1, NODE_2, filled_store, use
from tests.fakes import Clock

KEYS = [
    "id",
    "name",
    "pid",
    "url",
    "peer_link",
    "relayed_to",
    "version",
    "state",
    "alive",
    "sessions",
    "capacity",
    "shards",
    "served",
    "forwarded_in",
    "forwarded_out",
    "refused",
    "adopted",
    "revived",
    "outcomes",
    "streams_open",
    "streams_kept",
    "lease_age_seconds",
]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock(1_800_000_000.0)
    use(filled_store(clock), monkeypatch)
    return clock


@pytest.mark.usefixtures("clock")
def test_json_has_every_node_with_all_its_facts() -> None:
    said = mooring("status", "--json").json
    assert list(said) == ["ingress", "nodes"]
    assert said["ingress"] is None
    assert [list(node) for node in said["nodes"]] == [KEYS] * 3
    assert said["nodes"][0] == {
        "id": "node-1-abcde",
        "name": "node-1",
        "pid": 4242,
        "url": "http://127.0.0.1:9001",
        "peer_link": "direct",
        "relayed_to": [],
        "version": "0.1.0",
        "state": "ready",
        "alive": True,
        "sessions": 2,
        "capacity": 100,
        "shards": ["abcde"],
        "served": 70,
        "forwarded_in": 11,
        "forwarded_out": 12,
        "refused": {"unknown": 3, "forged": 1},
        "adopted": 8,
        "revived": 5,
        "outcomes": {"unknown": 1},
        "streams_open": 4,
        "streams_kept": 6,
        "lease_age_seconds": 0.25,
    }
    assert [node["state"] for node in said["nodes"]] == ["ready", "ready", "dead"]
    assert [node["alive"] for node in said["nodes"]] == [True, True, False]


@pytest.mark.usefixtures("clock")
def test_the_table_fits_80_columns_and_says_who_is_dead_and_what_was_refused() -> None:
    said = mooring("status")
    assert said.code == 0
    assert max(map(len, said.out.splitlines())) <= 80
    first = said.out.splitlines()[2].split()
    assert first == ["node-1", "4242", "http://127.0.0.1:9001", "ready", "2", "70", "11", "12"]
    assert "dead 1 min" in said.out
    assert "refused by node-1: 1 forged, 3 unknown" in said.out
    assert "node-1 adopted 8 shards and revived 5 sessions" in said.out
    assert "node-2 adopted" not in said.out
    assert "node-1 keeps 6 streams, 4 of them open" in said.out
    assert "node-2 keeps" not in said.out


def test_nodes_that_ended_long_ago_are_shown_on_request(clock: Clock) -> None:
    clock.now += 600
    assert "node-3" not in mooring("status").out
    assert "node-3" in mooring("status", "--all").out
    assert len(mooring("status", "--json").json["nodes"]) == 3


@pytest.mark.parametrize("columns", ["80", "40"])
def test_no_number_and_no_name_is_cut_where_the_terminal_is_narrow(
    columns: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pods have names of fifty letters, which differ at their end."""
    monkeypatch.setenv("COLUMNS", columns)
    store = filled_store(clock)
    name = "mcp-gateway-production-europe-7d9c8f6b5d-xk2qz"
    did = replace(NODE_1.counters, served=1234567, forwarded_in=34567, forwarded_out=45678)
    asyncio.run(store.register(replace(NODE_1, id=f"{name}-abcde", name=name, sessions=9876, counters=did), 5))
    use(store, monkeypatch)
    line = next(line for line in mooring("status").out.splitlines() if line.startswith(name))
    assert line.split() == [name, "4242", "http://127.0.0.1:9001", "ready", "9876", "1234567", "34567", "45678"]


def test_a_cluster_that_ended_as_a_whole_is_not_said_to_be_none(clock: Clock) -> None:
    clock.now += 1_000
    assert mooring("status").out == "no nodes, but for 3 that ended long ago: --all shows them\n"
    assert "node-1" in mooring("status", "--all").out


def test_what_is_said_below_the_table_is_bounded(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    store = filled_store(clock)
    for number in range(500):
        did = replace(NODE_1.counters, refused={"forged": number + 1})
        node = replace(NODE_1, id=f"n{number}-abcde", name=f"n{number}", url=f"http://h{number}:1", counters=did)
        asyncio.run(store.register(node, 5))
    use(store, monkeypatch)
    table, _, below = mooring("status").out.partition("refused by")
    assert len(table.splitlines()) == 505
    assert below.startswith(" n499: 500 forged\n")
    assert len(below.splitlines()) == 64
    assert "and 481 more nodes like these: --json has all\n" in below
    assert below.endswith("503 nodes: 502 ready, 1 dead; 1006 sessions\n")


def test_nodes_of_several_versions_are_told_apart(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    store = filled_store(clock)
    use(store, monkeypatch)
    assert "version" not in mooring("status").out
    asyncio.run(store.register(replace(NODE_2, version="0.2.0"), 5))
    assert "version 0.1.0: node-1\nversion 0.2.0: node-2\n" in mooring("status").out


def test_json_does_not_reach_the_terminal_as_anything_else(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever writes to Redis names a node."""
    odd = "n\x9b2J\x7f\u202eode ä"
    store = filled_store(clock)
    asyncio.run(store.register(replace(NODE_1, name=odd), 5))
    use(store, monkeypatch)
    said = mooring("status", "--json")
    assert odd in [node["name"] for node in said.json["nodes"]]
    assert not {"\x9b", "\x7f", "\u202e"} & set(said.out)
    assert "ä" in said.out


def test_an_empty_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    use(MemoryStore(), monkeypatch)
    assert mooring("status").out == "no nodes\n"
    assert mooring("status", "--json").json == {"ingress": None, "nodes": []}


def test_a_local_cluster_is_found_by_its_run_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(filled_store(Clock(1_800_000_000.0)), monkeypatch)
    monkeypatch.delenv("MOORING_REDIS_URL")
    _write_run_file(tmp_path / ".mooring")
    assert mooring("status", "--json").json["ingress"] == "http://127.0.0.1:8080/mcp"
    assert "ingress: http://127.0.0.1:8080/mcp" in mooring("status").out
    _write_run_file(tmp_path / "elsewhere")
    assert mooring("status", "--run-dir", "elsewhere").code == 0


def test_no_cluster_at_all() -> None:
    said = mooring("status")
    assert said.code == 1
    assert said.error_line == (
        "mooring: no cluster runs from .mooring: start one with `mooring up`, or say which: --redis-url or --run-dir"
    )


@pytest.mark.parametrize("flag", [("--redis-url", "redis://127.0.0.1:2"), ("--key-prefix", "other")])
def test_a_cluster_is_named_once(tmp_path: Path, flag: tuple[str, str]) -> None:
    """The run directory says both; one that was given as well was passed over."""
    _write_run_file(tmp_path / "somewhere")
    said = mooring("status", "--run-dir", "somewhere", *flag)
    assert said.code == 2
    assert flag[0] in said.err


def test_a_run_directory_without_a_cluster() -> None:
    said = mooring("status", "--run-dir", "nowhere")
    assert said.code == 1
    assert "no cluster runs from nowhere" in said.error_line


def test_a_local_cluster_that_is_over(tmp_path: Path) -> None:
    _write_run_file(tmp_path / ".mooring", pid=2**22 - 1, redis_url="unix:///nowhere/redis.sock")
    said = mooring("status")
    assert said.code == 1
    assert said.error_line == "mooring: the cluster of .mooring is no longer running"


def test_a_redis_that_does_not_answer() -> None:
    said = mooring("status", "--redis-url", "redis://:pw@127.0.0.1:1/0")
    assert said.code == 3
    assert "redis://:***@127.0.0.1:1/0" in said.error_line


def test_a_wrong_flag_is_answered_as_a_wrong_setting() -> None:
    said = mooring("status", "--redis-url", "localhost:6379")
    assert said.code == 2
    assert said.error_line.startswith("mooring: setting redis_url: 'localhost:6379' is wrong: a URL such as redis://")


def _write_run_file(folder: Path, *, pid: int = NODE_1.pid, redis_url: str = "redis://127.0.0.1:1/0") -> None:
    folder.mkdir()
    said = {"ingress": "http://127.0.0.1:8080/mcp", "redis_url": redis_url, "key_prefix": "mcp", "pid": pid}
    (folder / "cluster.json").write_text(json.dumps(said))


def test_it_says_who_is_reached_through_redis(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    store = filled_store(clock)
    asyncio.run(store.register(replace(NODE_1, peer_link="auto", relayed_to=(NODE_2.id, DEAD_NODE.id)), 5))
    asyncio.run(store.register(replace(NODE_2, peer_link="redis"), 5))
    use(store, monkeypatch)
    said = mooring("status").out
    assert "reached by peers through Redis (peer_link): node-2\n" in said
    assert "node-1 reaches through Redis, not at their addresses (peer_link): node-2\n" in said
