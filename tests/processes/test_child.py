from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from mooring.errors import ClusterError
from mooring.processes.child import TAIL_LINES, Child, Command, describe
from mooring.processes.leash import Leash
from tests.processes.looking import FOREVER, STUBBORN, python, running, with_grandchild
from tests.waiting import until

pytestmark = pytest.mark.real


@pytest_asyncio.fixture
async def leash() -> AsyncIterator[Leash]:
    async with Leash() as held:
        yield held


class Shown(list[str]):
    """The lines of one child."""

    async def has(self, count: int) -> list[str]:
        async def enough() -> bool:
            return len(self) >= count

        await until(enough, what=f"{count} lines")
        return list(self)


async def test_shows_the_lines_of_both_outputs_and_answers_the_exit_code(leash: Leash) -> None:
    shown = Shown()
    program = (
        "import os, sys; print('out', flush=True); "
        "print('\\x1b[31merr', os.environ['KEY'], file=sys.stderr); sys.exit(7)"
    )
    child = await Child.start(python(program, KEY="value"), leash, shown.append)
    assert await child.wait() == 7
    assert shown == ["out", "err value"]
    assert list(child.tail) == shown


async def test_keeps_the_last_lines_alone(leash: Leash) -> None:
    child = await Child.start(python("for n in range(100): print(n)"), leash, lambda _: None)
    await child.wait()
    assert list(child.tail) == [str(number) for number in range(100 - TAIL_LINES, 100)]


async def test_a_program_that_is_not_there(leash: Leash) -> None:
    with pytest.raises(ClusterError, match=r"child cannot be started: .*No such file"):
        await Child.start(Command("child", ("/nowhere/program",)), leash, lambda _: None)


async def test_leads_a_session_of_its_own(leash: Leash) -> None:
    child = await Child.start(python(FOREVER), leash, lambda _: None)
    assert os.getsid(child.pid) == os.getpgid(child.pid) == child.pid
    await child.stop()


async def test_stops_when_it_is_asked_to(leash: Leash) -> None:
    shown = Shown()
    child = await Child.start(python(FOREVER), leash, shown.append)
    await shown.has(1)
    assert await child.stop() == -signal.SIGTERM
    assert not running([child.pid])
    assert await child.stop() == -signal.SIGTERM


async def test_is_killed_when_its_time_is_over(leash: Leash) -> None:
    shown = Shown()
    child = await Child.start(python(STUBBORN + FOREVER, stop_seconds=0.1), leash, shown.append)
    await shown.has(1)
    assert await child.stop() == -signal.SIGKILL


async def test_takes_along_what_it_has_started(leash: Leash) -> None:
    shown = Shown()
    child = await Child.start(python(with_grandchild(FOREVER)), leash, shown.append)
    grandchild = int((await shown.has(2))[0])
    assert running([grandchild])
    assert await child.stop() == -signal.SIGTERM

    async def is_gone() -> bool:
        return not running([grandchild])

    await until(is_gone, what="the grandchild to end")


async def test_does_not_wait_for_a_stranger_that_holds_its_output(leash: Leash) -> None:
    shown = Shown()
    daemon = "import os, time; os.setsid(); time.sleep(3)"
    start = f"import subprocess, sys; subprocess.Popen([sys.executable, '-I', '-S', '-c', {daemon!r}]); "
    wait_for_it = "import time; time.sleep(0.3)"
    child = await Child.start(python(start + wait_for_it), leash, shown.append)
    started = time.monotonic()
    assert await child.wait() == 0
    assert time.monotonic() - started < 2


@pytest.mark.parametrize(
    ("code", "text"), [(0, "exit code 0"), (3, "exit code 3"), (-9, "SIGKILL"), (-99, "signal 99")]
)
def test_exit_codes_in_words(code: int, text: str) -> None:
    assert describe(code) == text


async def test_inherits_what_it_is_given(leash: Leash) -> None:
    reading, writing = os.pipe()
    program = Command("child", (sys.executable, "-c", f"import os; os.write({writing}, b'told')"), inherits=(writing,))
    child = await Child.start(program, leash, lambda _: None)
    assert await child.wait() == 0
    os.close(writing)
    with os.fdopen(reading, "rb") as told:
        assert told.read() == b"told"


async def test_has_our_environment_but_for_what_it_goes_without(leash: Leash, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEPT", "kept")
    monkeypatch.setenv("DROPPED", "dropped")
    shown = Shown()
    program = "import os; print(os.environ['KEPT'], 'DROPPED' in os.environ)"
    command = Command("child", (sys.executable, "-c", program), without=frozenset({"DROPPED"}))
    child = await Child.start(command, leash, shown.append)
    assert await child.wait() == 0
    assert shown == ["kept False"]
