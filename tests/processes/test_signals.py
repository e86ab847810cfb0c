from __future__ import annotations

import asyncio
import os
import signal
import threading

import pytest
import uvloop

from mooring.errors import SettingsError
from mooring.processes.signals import Stop, before_sigterm


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


# Before a server that is not ours hears of it.


async def test_what_comes_before_is_done_before_the_server_hears_and_a_second_signal_does_not_wait() -> None:
    heard: asyncio.Queue[int] = asyncio.Queue()
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def first() -> None:
        begun.set()
        await may_end.wait()

    def server(number: int, frame: object) -> None:
        heard.put_nowait(number)

    before = signal.signal(signal.SIGTERM, server)
    try:
        with before_sigterm(first):
            os.kill(os.getpid(), signal.SIGTERM)
            async with asyncio.timeout(5):
                await begun.wait()
            assert heard.empty()
            os.kill(os.getpid(), signal.SIGTERM)
            async with asyncio.timeout(5):
                assert await heard.get() == signal.SIGTERM
                may_end.set()
                assert await heard.get() == signal.SIGTERM
        assert signal.getsignal(signal.SIGTERM) is server
    finally:
        signal.signal(signal.SIGTERM, before)


async def test_a_server_that_hears_by_the_loop_is_told_what_to_do_instead() -> None:
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, lambda: None)
    try:
        with pytest.raises(SettingsError, match=r"await mooring\.drain\(\)"), before_sigterm(asyncio.Event().wait):  # type: ignore[arg-type]
            pass
    finally:
        loop.remove_signal_handler(signal.SIGTERM)


def test_so_is_one_that_hears_by_uvloop() -> None:
    async def enter() -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: None)
        with pytest.raises(SettingsError, match="SIGTERM"), before_sigterm(asyncio.Event().wait):  # type: ignore[arg-type]
            pass

    uvloop.run(enter())


def test_another_thread_hears_no_signals() -> None:
    async def enter() -> None:
        with before_sigterm(asyncio.Event().wait):  # type: ignore[arg-type]
            pass

    failures: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(enter())
        except SettingsError as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert len(failures) == 1
