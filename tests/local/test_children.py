from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from rich.console import Console

from mooring.local import children as children_module
from mooring.local.children import Children
from mooring.local.output import Output
from mooring.processes.leash import Leash
from mooring.processes.supervisor import ChildError
from tests.processes.looking import FOREVER, STUBBORN, python, running
from tests.waiting import until

pytestmark = pytest.mark.real

NAMES = ["redis", "node-1", "node-2", "traefik"]


class Recorder(Output):
    """Keeps what the children write, in order."""

    def __init__(self) -> None:
        super().__init__(Console(file=io.StringIO()), NAMES)
        self.lines: list[str] = []

    def line(self, name: str, text: str) -> None:
        self.lines.append(f"{name} {text}")

    async def has(self, *lines: str) -> None:
        async def has_all() -> bool:
            return set(lines) <= {line.partition(" at ")[0] for line in self.lines}

        await until(has_all, what=f"the lines {lines}")

    def in_time(self) -> list[str]:
        """What was said with a time, by that time: lines of several children are read in any order."""
        timed = [line.partition(" at ") for line in self.lines if " at " in line]
        return [said for said, _, time in sorted(timed, key=lambda parts: int(parts[2]))]


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest_asyncio.fixture
async def children(recorder: Recorder) -> AsyncIterator[Children]:
    async with Leash() as leash:
        yield Children(leash, recorder)


def ends_when(there: Path, *, leaves: Path | None = None) -> str:
    """A program that, once it is asked to, waits for a file, leaves one, and ends.

    It may be asked before its last `print` has returned, and a handler that prints then is a reentrant call.
    """
    return (
        "import os, signal, sys, time\n"
        "def say(what):\n"
        "    os.write(1, f'{what} at {time.monotonic_ns()}\\n'.encode())\n"
        "def end(*_):\n"
        "    say('asked')\n"
        f"    while not os.path.exists({str(there)!r}): time.sleep(0.01)\n"
        "    say('ends')\n"
        f"    open({str(leaves or there)!r}, 'a').close()\n"
        "    sys.exit()\n"
        "signal.signal(signal.SIGTERM, end)\n" + FOREVER
    )


async def test_traefik_is_asked_first_and_outlives_the_nodes_and_redis_all(
    children: Children, recorder: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each stand-in ends only after the one that has to end before it, or it is killed and says nothing."""
    monkeypatch.setattr(children_module, "_REFUSING_SECONDS", 30)
    refuses, first, second = tmp_path / "refuses", tmp_path / "first", tmp_path / "second"
    await children.start(python(ends_when(tmp_path, leaves=tmp_path / "last"), name="redis"))
    await children.start(python(ends_when(refuses, leaves=first), name="node-1"))
    await children.start(python(ends_when(first, leaves=second), name="node-2"))
    await children.start(python(ends_when(second), name="traefik"))
    await recorder.has(*(f"{name} up" for name in NAMES))
    children.keep()

    async def ingress_refuses() -> None:
        await recorder.has("traefik asked")
        assert len(recorder.lines) == 5
        await asyncio.to_thread(refuses.touch)

    await children.stop(ingress_refuses())
    order = recorder.in_time()
    assert len(order) == 8
    assert order[0] == "traefik asked"
    assert order[-3:] == ["traefik ends", "redis asked", "redis ends"]


async def test_while_all_comes_up_the_end_of_one_ends_the_wait(children: Children) -> None:
    await children.start(python(FOREVER, name="node-1"))
    await children.start(python("raise SystemExit(4)", name="node-2"))
    with pytest.raises(ChildError, match="node-2 did not come up"):
        await children.unless_one_ends(asyncio.Event().wait())
    await children.stop(asyncio.sleep(0))


async def test_while_all_comes_up_the_result_is_handed_on(children: Children, recorder: Recorder) -> None:
    one = await children.start(python(FOREVER, name="node-1"))
    assert await children.unless_one_ends(asyncio.sleep(0, "result")) == "result"
    assert one.pid is not None
    assert running([one.pid])
    await recorder.has("node-1 up")
    assert children.last_words() == "node-1 said: up"
    await children.stop(asyncio.sleep(0))
    assert not running([one.pid])


async def test_the_last_words_are_of_those_that_are_awaited(children: Children, recorder: Recorder) -> None:
    assert children.last_words() == "nothing was said so far"
    await children.start(python(FOREVER, name="redis"))
    await recorder.has("redis up")
    assert children.last_words() == "redis said: up"
    for name in ("node-1", "node-2"):
        await children.start(python(FOREVER, name=name))
        await recorder.has(f"{name} up")
    assert children.last_words() == "node-1 said: up; node-2 said: up"
    await children.stop(asyncio.sleep(0))


async def test_kills_all_at_once(children: Children, recorder: Recorder) -> None:
    pids = [(await children.start(python(STUBBORN + FOREVER, name=name))).pid for name in NAMES]
    await recorder.has(*(f"{name} up" for name in NAMES))
    stopping = asyncio.create_task(children.stop(asyncio.sleep(0)))
    await asyncio.sleep(0)
    children.kill()
    async with asyncio.timeout(30):
        await stopping
    assert not running(pid for pid in pids if pid is not None)


async def test_remembers_who_died(children: Children) -> None:
    one = await children.start(python("pass", name="node-1"))
    pid = one.pid
    children.keep()

    async def is_known() -> bool:
        return ("node-1", pid) in children.dead

    await until(is_known, what="the end to be known")
    await children.stop(asyncio.sleep(0))
