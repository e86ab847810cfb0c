"""What `mooring roll` says where it cannot; what it does is tried on a real cluster (tests/chaos)."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from mooring.core.model import NodeInfo
from mooring.errors import StoreUnavailable
from mooring.store import MemoryStore
from tests.cli.command import mooring
from tests.cli.registries import NODE_1, use
from tests.fakes import Clock, FlakyStore


@pytest.fixture
def run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cluster of one node, whose process has ended long ago."""
    said = {"ingress": "http://127.0.0.1:1/mcp", "redis_url": "redis://127.0.0.1:1", "key_prefix": "mcp"}
    (tmp_path / "cluster.json").write_text(json.dumps({**said, "pid": os.getpid()}))
    return tmp_path


def test_another_cluster_is_rolled_by_its_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    use(MemoryStore(), monkeypatch)
    said = mooring("roll")
    assert said.code == 1
    assert "docs/deploys.md" in said.error_line


def test_a_cluster_that_uses_a_redis_of_yours_is_one_of_mooring_up(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`mooring up` takes redis_url from the environment, and so does `mooring roll` beside it."""
    use(MemoryStore(Clock(1_800_000_000.0)), monkeypatch)
    monkeypatch.setenv("MOORING_REDIS_URL", "redis://127.0.0.1:1")
    (run_dir / ".mooring").mkdir()
    (run_dir / "cluster.json").rename(run_dir / ".mooring" / "cluster.json")
    monkeypatch.chdir(run_dir)
    assert mooring("roll").out.startswith("replaced 0 nodes")
    said = mooring("roll", "--redis-url", "redis://127.0.0.1:2")
    assert said.code == 1
    assert "--run-dir" in said.error_line


async def register(store: MemoryStore, pid: int) -> None:
    await store.register(replace(NODE_1, pid=pid), 60)


def test_a_process_that_is_not_there_is_named(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore(Clock(1_800_000_000.0))
    asyncio.run(register(store, 2**22 + 1))
    monkeypatch.setattr("mooring.cli.chosen_cluster.open_store", lambda *_: store)
    said = mooring("roll", "--run-dir", str(run_dir))
    assert said.code == 1
    assert f"node-1 cannot be told to stop (process {2**22 + 1})" in said.error_line


def test_a_node_that_ends_while_others_are_replaced_is_told_nothing(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process may have its number by then; and it was started again, which is all that a roll wants."""
    store = MemoryStore(Clock(1_800_000_000.0))
    first, second = 2**22 + 1, 2**22 + 2

    async def register(*nodes: NodeInfo) -> None:
        for node in nodes:
            await store.register(node, 60)

    other = replace(NODE_1, id="node-2-abcde", name="node-2", pid=second)
    asyncio.run(register(replace(NODE_1, pid=first), other))
    told: list[int] = []

    def kill(pid: int, _: int) -> None:
        """The first is replaced at once; so is the other, which nobody has told to stop."""
        told.append(pid)
        for node in (NODE_1, other):
            lease = store._leases[node.id]
            anew = replace(lease.node, id=f"{node.name}-fghij", pid=pid + 100)
            store._leases[anew.id] = replace(lease, node=anew)
            store._leases[node.id] = replace(lease, until_ms=0)

    monkeypatch.setattr("mooring.cli.chosen_cluster.open_store", lambda *_: store)
    monkeypatch.setattr("mooring.cli.roll.os.kill", kill)
    said = mooring("roll", "--run-dir", str(run_dir), "--timeout", "5")
    assert (said.code, told) == (0, [first])
    assert "node-2: has ended by itself, and is started again\n" in said.out
    assert "replaced 2 nodes" in said.out


def test_a_store_that_is_silent_for_a_moment_leaves_no_roll_half_done(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FlakyStore(MemoryStore(Clock(1_800_000_000.0)))
    asyncio.run(store.register(replace(NODE_1, pid=2**22 + 1), 60))

    async def is_silent() -> None:
        raise StoreUnavailable("away for one call")

    def kill(*_: int) -> None:
        store.before["snapshot"] = is_silent
        asyncio.get_running_loop().create_task(store.register(replace(NODE_1, id="node-1-fghij"), 60))

    monkeypatch.setattr("mooring.cli.chosen_cluster.open_store", lambda *_: store)
    monkeypatch.setattr("mooring.cli.roll.os.kill", kill)
    said = mooring("roll", "--run-dir", str(run_dir), "--timeout", "5")
    assert (said.code, "snapshot" in store.before) == (0, False)
    assert "replaced 1 nodes" in said.out


@pytest.mark.real
@pytest.mark.skipif(sys.platform != "linux", reason="the parent of a process is looked up in /proc")
def test_a_process_that_the_cluster_has_not_started_is_left_alone(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The node may be of another machine that uses the same Redis, and its number here that of anything."""
    shell = subprocess.Popen(["sh", "-c", "sleep 60 & echo $!; wait"], stdout=subprocess.PIPE, text=True)
    assert shell.stdout is not None
    stranger = int(shell.stdout.readline())
    try:
        store = MemoryStore(Clock(1_800_000_000.0))
        asyncio.run(register(store, stranger))
        monkeypatch.setattr("mooring.cli.chosen_cluster.open_store", lambda *_: store)
        said = mooring("roll", "--run-dir", str(run_dir), "--timeout", "1")
        os.kill(stranger, 0)  # it lives
        assert shell.poll() is None
        assert said.code == 0
        assert "node-1: left alone" in said.error_line
        assert said.out.startswith("replaced 0 nodes")
    finally:
        os.kill(stranger, 9)
        shell.wait()
