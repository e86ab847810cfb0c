from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from mooring.processes.child import Command
from mooring.processes.leash import Leash
from mooring.processes.supervisor import ChildError, Supervisor
from tests.processes.looking import FOREVER, python, running
from tests.waiting import until

pytestmark = pytest.mark.real


class Lifetimes:
    """Time that passes only where someone sleeps, and as long as `lived` says for each life of a child."""

    def __init__(self, *lived: float) -> None:
        self.slept: list[float] = []
        self._now = 0.0
        self._lived = iter(lived)
        self._is_life = False

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)

    def now(self) -> float:
        """Asked at the start and at the end of each life, in turn."""
        if self._is_life:
            self._now += next(self._lived, 0.0)
        self._is_life = not self._is_life
        return self._now


class Supervised:
    """One supervisor and what it told."""

    def __init__(self, command: Command, leash: Leash, clock: Lifetimes) -> None:
        self.lines: list[str] = []
        self.said: list[str] = []
        self.gone: list[int] = []
        self.clock = clock
        self.supervisor = Supervisor(
            command,
            leash,
            show=self.lines.append,
            say=self.said.append,
            gone=self.gone.append,
            sleep=clock.sleep,
            now=clock.now,
        )

    @contextlib.asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        keeping = asyncio.create_task(self.supervisor.keep())
        try:
            yield
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
            await self.supervisor.stop()

    async def ended(self, times: int) -> None:
        async def often_enough() -> bool:
            return len(self.gone) >= times

        await until(often_enough, what=f"{times} ends")


@pytest_asyncio.fixture
async def leash() -> AsyncIterator[Leash]:
    async with Leash() as held:
        yield held


async def test_starts_it_again_after_growing_pauses(leash: Leash) -> None:
    one = Supervised(python("print('up'); raise SystemExit(3)"), leash, Lifetimes())
    await one.supervisor.start()
    async with one.kept():
        await one.ended(7)
    assert one.clock.slept[:7] == [0.5, 1, 2, 4, 8, 15, 15]
    assert one.said[:2] == ["ended (exit code 3); starts again in 0.5 s", "ended (exit code 3); starts again in 1 s"]
    assert one.lines[:7] == ["up"] * 7
    assert len(set(one.gone[:7])) == 7


async def test_a_child_that_lived_long_is_started_again_soon(leash: Leash) -> None:
    one = Supervised(python("pass"), leash, Lifetimes(0, 0, 30, 0))
    await one.supervisor.start()
    async with one.kept():
        await one.ended(4)
    assert one.clock.slept[:4] == [0.5, 1, 0.5, 1]


async def test_a_program_that_is_gone_is_tried_again(leash: Leash, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    one = Supervised(Command("child", (str(program),)), leash, Lifetimes())
    await one.supervisor.start()
    program.rename(tmp_path / "elsewhere")
    async with one.kept():

        async def was_tried() -> bool:
            return sum("cannot be started" in text for text in one.said) >= 2

        await until(was_tried, what="two more tries")
        (tmp_path / "elsewhere").rename(program)
        await one.ended(2)
    assert one.clock.slept[:3] == [0.5, 1, 2]


async def test_leaves_nothing_when_it_is_stopped(leash: Leash) -> None:
    one = Supervised(python(FOREVER), leash, Lifetimes())
    await one.supervisor.start()
    pid = one.supervisor.pid
    assert pid is not None
    async with one.kept():
        assert running([pid])
    assert not running([pid])
    assert one.gone == []
    assert one.said == []


async def test_the_end_of_the_first_child_is_told_with_its_last_words(leash: Leash) -> None:
    one = Supervised(python("print(1); print(2); print(3); print(4); raise SystemExit(9)"), leash, Lifetimes())
    await one.supervisor.start()
    with pytest.raises(ChildError, match=r"^child did not come up \(exit code 9\): 2 \| 3 \| 4$") as caught:
        await one.supervisor.first_end()
    assert caught.value.code == 9
    assert list(one.supervisor.tail) == ["1", "2", "3", "4"]


@pytest.mark.parametrize(
    ("program", "words"),
    [("pass", "it said nothing"), ("print('noise'); print('mooring: there is no file x.py')", "there is no file x.py")],
)
async def test_the_one_line_of_our_own_commands_is_enough(leash: Leash, program: str, words: str) -> None:
    one = Supervised(python(program), leash, Lifetimes())
    await one.supervisor.start()
    with pytest.raises(ChildError, match=rf": {words}$"):
        await one.supervisor.first_end()


async def test_killed_at_once(leash: Leash) -> None:
    one = Supervised(python(FOREVER), leash, Lifetimes())
    one.supervisor.kill()
    await one.supervisor.start()
    one.supervisor.kill()
    with pytest.raises(ChildError, match="SIGKILL"):
        await one.supervisor.first_end()
