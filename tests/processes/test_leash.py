"""Children end with their parent."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator

import psutil
import pytest

from tests.processes.looking import running
from tests.waiting import until

pytestmark = pytest.mark.real

PARENT = """
import asyncio
import sys
from mooring.processes.child import Child
from mooring.processes.leash import Leash
from tests.processes.looking import FOREVER, STUBBORN, python, with_grandchild

async def main():
    async with Leash() as leash:
        short = await Child.start(python("pass"), leash, print)
        await short.wait()
        children = [
            await Child.start(python(program), leash, lambda line: print(line, flush=True))
            for program in (FOREVER, STUBBORN + FOREVER, with_grandchild(FOREVER))
        ]
        print(*(child.pid for child in children), sep="\\n", flush=True)
        await asyncio.to_thread(sys.stdin.read)

asyncio.run(main())
"""


@contextlib.asynccontextmanager
async def parent() -> AsyncIterator[tuple[asyncio.subprocess.Process, list[int]]]:
    """A process with three children, a grandchild and the watchdog; answers all their ids, once all are up."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PARENT), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        lines = [(await process.stdout.readline()).decode().strip() for _ in range(7)]
        printed = [int(line) for line in lines if line != "up"]
        assert len(printed) == 4
        descendants = [one.pid for one in psutil.Process(process.pid).children(recursive=True)]
        assert set(printed) < set(descendants)
        yield process, descendants
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
        await process.wait()


async def test_a_parent_that_is_killed_takes_its_children_and_theirs_along() -> None:
    async with parent() as (process, descendants):
        assert running(descendants) == set(descendants)
        process.kill()

        async def are_gone() -> bool:
            return not running(descendants)

        await until(are_gone, what="all to end")


async def test_a_parent_that_forgets_its_children_takes_them_along() -> None:
    async with parent() as (process, descendants):
        assert process.stdin is not None
        process.stdin.close()
        assert await asyncio.wait_for(process.wait(), 10) == 0

        async def are_gone() -> bool:
            return not running(descendants)

        await until(are_gone, what="all to end")
