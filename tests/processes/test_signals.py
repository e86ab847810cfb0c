from __future__ import annotations

import asyncio
import os
import signal

import pytest

from mooring.processes.signals import Stop


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_the_first_signal_stops_and_the_second_is_impatience(number: signal.Signals) -> None:
    impatient = asyncio.Event()
    before = signal.getsignal(number)
    with Stop() as stop:
        stop.again = impatient.set
        os.kill(os.getpid(), number)
        async with asyncio.timeout(5):
            await stop.wait()
        assert not impatient.is_set()
        os.kill(os.getpid(), number)
        async with asyncio.timeout(5):
            await impatient.wait()
    assert signal.getsignal(number) in (before, signal.default_int_handler, signal.SIG_DFL)


async def test_another_reason_may_come_again() -> None:
    impatient = asyncio.Event()
    with Stop() as stop:
        stop.again = impatient.set
        stop.ask()
        stop.ask()
        await stop.wait()
    assert not impatient.is_set()
