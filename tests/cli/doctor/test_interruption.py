"""Ctrl-C and SIGTERM while the doctor is at work: its sessions are closed, and it says so."""

from __future__ import annotations

import signal

import pytest

from tests.cli.doctor.process import running_doctor
from tests.doctor.ledger import Ledger, running_ledger
from tests.waiting import until

pytestmark = pytest.mark.real

LONG = ("--sessions", "6", "--calls", "1000", "--only", "affinity")


async def _came(ledger: Ledger, method: str, times: int = 1) -> None:
    async def came() -> bool:
        return ledger.methods.count(method) >= times

    await until(came, what=method)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("form", [(), ("--json",)])
async def test_every_session_is_closed(number: int, form: tuple[str, ...]) -> None:
    async with running_ledger() as ledger, running_doctor(ledger.url, *LONG, *form) as run:
        await _came(ledger, "ping", 20)
        run.process.send_signal(number)
        said = await run.end()
        assert (len(ledger.opened), ledger.live) == (6, set())
    assert said.code == 130
    assert said.out == ""
    assert said.error_line == "mooring: interrupted: 6 of 6 sessions that were opened are closed"


async def test_while_the_first_session_is_being_opened() -> None:
    hangs = frozenset({"initialize"})
    async with running_ledger(hangs_on=hangs) as ledger, running_doctor(ledger.url, *LONG, "--timeout", "1") as run:
        await _came(ledger, "initialize")
        run.process.send_signal(signal.SIGTERM)
        said = await run.end()
    assert said.code == 130
    assert said.error_line == "mooring: interrupted: no session was opened"


async def test_a_second_time_ends_it_at_once() -> None:
    async with running_ledger(hangs_on=frozenset({"DELETE"})) as ledger, running_doctor(ledger.url, *LONG) as run:
        await _came(ledger, "ping", 20)
        run.process.send_signal(signal.SIGINT)
        await _came(ledger, "DELETE")
        run.process.send_signal(signal.SIGINT)
        said = await run.end()
        assert len(ledger.live) == 6
    assert said.code == 130
    assert said.error_line == "mooring: interrupted: sessions may have been left open"


async def test_it_is_how_a_watch_ends() -> None:
    few = ("--sessions", "4", "--calls", "1")
    async with running_ledger() as ledger, running_doctor(ledger.url, "--watch", *few) as run:
        await _came(ledger, "ping", 4 * 4 + 6)  # the affinity check's, and then those of the watch
        run.process.send_signal(signal.SIGINT)
        said = await run.end()
        assert ledger.live == set()
    assert (said.code, said.err) == (0, "")
    assert "\nok       node-loss  no call of " in said.out
