"""The parent of several workers, here small programs that tell it what a worker tells; real ones are in tests/e2e."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from mooring.errors import MooringError, StoreUnavailable, TargetError
from mooring.hosting.workers import Workers
from mooring.processes.child import Command
from mooring.store import MemoryStore
from tests.waiting import until

pytestmark = pytest.mark.real

SERVES = """
import os, sys, time
def tell(line): os.write(int(sys.argv[1]), (line + chr(10)).encode())
tell(f"is {os.getpid()} {sys.argv[2]}-{os.getpid()}")
tell(f"ready {os.getpid()}")
print("serves", flush=True)
time.sleep(600)
"""
FAILS = "import sys; print('mooring: it is wrong', file=sys.stderr); sys.exit({code})"


class Buried(MemoryStore):
    """Is away at first, and keeps whom it was told of."""

    def __init__(self) -> None:
        super().__init__()
        self.away = 1
        self.told: list[str] = []

    async def bury(self, node_id: str) -> bool:
        if self.away:
            self.away -= 1
            raise StoreUnavailable("for a moment")
        self.told.append(node_id)
        return True


@dataclass
class Parent:
    """A running parent, and what it showed."""

    programs: dict[str, str]
    store: Buried = field(default_factory=Buried)
    shown: list[str] = field(default_factory=list)
    happened: list[str] = field(default_factory=list)

    def commands(self, fd: int) -> list[Command]:
        return [
            Command(name, (sys.executable, "-c", program, str(fd), name), inherits=(fd,), stop_seconds=5)
            for name, program in self.programs.items()
        ]

    async def run(self) -> None:
        workers = Workers(self.commands, self.store, lambda name, line: self.shown.append(f"{name} {line}"))
        await workers.run(
            on_ready=lambda: self.happened.append("ready"), on_stop=lambda: self.happened.append("stopping")
        )


def children(name: str = "web-") -> list[int]:
    """The process ids of our children that are such workers."""
    found = psutil.Process().children()
    return [child.pid for child in found if any(word.startswith(name) for word in child.cmdline())]


async def test_it_starts_them_tells_the_store_of_one_that_ends_and_starts_it_again() -> None:
    parent = Parent({"web-1": SERVES, "web-2": SERVES})
    running = asyncio.create_task(parent.run())

    async def are_ready() -> bool:
        return parent.happened == ["ready"] and len(parent.shown) == 2

    await until(are_ready, what="both workers")
    (victim,) = children("web-2")
    os.kill(victim, signal.SIGKILL)

    async def is_told() -> bool:
        return parent.store.told == [f"web-2-{victim}"]

    await until(is_told, what="word of its end, though the store was away for a moment")

    async def is_back() -> bool:
        return parent.shown.count("web-2 serves") == 2

    await until(is_back, what="its successor")
    assert "web-2 ended (SIGKILL); starts again in 0.5 s" in parent.shown
    signal.raise_signal(signal.SIGTERM)
    async with asyncio.timeout(10):
        await running
    assert parent.happened == ["ready", "stopping"]
    assert parent.store.told == [f"web-2-{victim}"], "those that were asked to stop say goodbye themselves"


@pytest.mark.parametrize(("code", "kind"), [(1, MooringError), (4, TargetError)])
async def test_one_that_says_what_is_wrong_is_told_once_and_stops_all(code: int, kind: type[MooringError]) -> None:
    parent = Parent({"web-1": SERVES, "web-2": FAILS.format(code=code)})
    with pytest.raises(kind, match=rf"web-2 did not come up \(exit code {code}\): it is wrong"):
        await parent.run()
    assert parent.shown == ["web-1 serves"]
    assert parent.happened == ["stopping"]
    assert children() == []


@pytest.mark.parametrize(("code", "kind"), [(3, StoreUnavailable), (4, TargetError)])
async def test_the_first_stops_all_for_whatever_it_ends(code: int, kind: type[MooringError]) -> None:
    parent = Parent({"web-1": FAILS.format(code=code), "web-2": SERVES})
    with pytest.raises(kind, match=rf"web-1 did not come up \(exit code {code}\): it is wrong"):
        await parent.run()
    assert parent.shown == []
    assert parent.happened == ["stopping"]


@pytest.mark.parametrize(
    ("ending", "ended"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL"),
        ("print('the disk is full', file=sys.stderr); os._exit(1)", "exit code 1"),
        ("print('mooring: Redis does not answer', file=sys.stderr); sys.exit(3)", "exit code 3"),
    ],
)
async def test_one_that_ends_while_the_first_serves_already_leaves_it_alone(
    ending: str, ended: str, tmp_path: Path
) -> None:
    fails_once = f"import os, signal, sys\nif not os.path.exists({str(tmp_path / 'failed')!r}):\n"
    fails_once += f"    open({str(tmp_path / 'failed')!r}, 'w').close()\n    {ending}\n"
    parent = Parent({"web-1": SERVES, "web-2": fails_once + SERVES})
    running = asyncio.create_task(parent.run())

    async def are_ready() -> bool:
        return running.done() or parent.happened == ["ready"]

    await until(are_ready, what="both workers")
    assert parent.shown.count("web-1 serves") == 1
    assert f"web-2 ended ({ended}); starts again in 0.5 s" in parent.shown
    signal.raise_signal(signal.SIGTERM)
    async with asyncio.timeout(10):
        await running
    assert parent.happened == ["ready", "stopping"]


async def test_the_first_is_started_again_while_another_still_loads() -> None:
    parent = Parent({"web-1": SERVES, "web-2": "import time; print('loads', flush=True); time.sleep(600)"})
    running = asyncio.create_task(parent.run())

    async def loads() -> bool:
        return "web-2 loads" in parent.shown

    await until(loads, what="the second worker")
    (victim,) = children("web-1")
    os.kill(victim, signal.SIGKILL)

    async def is_back() -> bool:
        return parent.shown.count("web-1 serves") == 2 and parent.store.told == [f"web-1-{victim}"]

    await until(is_back, what="its successor, and word of its end")
    signal.raise_signal(signal.SIGTERM)
    async with asyncio.timeout(10):
        await running
    assert parent.happened == ["stopping"]


async def test_one_that_is_asked_to_stop_before_all_are_up() -> None:
    parent = Parent({"web-1": "import time; print('loads', flush=True); time.sleep(600)"})
    running = asyncio.create_task(parent.run())

    async def loads() -> bool:
        return parent.shown == ["web-1 loads"]

    await until(loads, what="a worker that takes long")
    signal.raise_signal(signal.SIGTERM)
    async with asyncio.timeout(10):
        await running
    assert parent.happened == ["stopping"]
