from __future__ import annotations

import contextlib
import os
import pty
import re
from collections.abc import Iterator

import pytest

from tests.cli.doctor.process import running_doctor
from tests.doctor.ledger import running_ledger

pytestmark = pytest.mark.real


FEW = ("--sessions", "3", "--calls", "2", "--only", "eras,affinity")


REPORT_LINE = re.compile(r"^(ok|warning|broken|unknown) ", re.MULTILINE)


async def test_progress_is_on_a_terminal_alone_and_gone_in_the_end() -> None:
    async with running_ledger() as ledger:
        controller, terminal = pty.openpty()
        try:
            async with running_doctor(
                ledger.url, *FEW, "--json", environment={"TERM": "xterm"}, stderr=terminal
            ) as run:
                said = await run.end()
            os.set_blocking(controller, False)
            shown = b"".join(_pieces(controller)).decode()
        finally:
            os.close(controller)
            os.close(terminal)
    assert said.json["outlook"] == "healthy"
    assert " requests, " in shown
    assert REPORT_LINE.search(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", shown))
    # The cursor is back, above all that was shown, and the lines are empty.
    assert shown.endswith("\x1b[?25h\r\x1b[1A\x1b[2K" + "\x1b[1A\x1b[2K" * (len(said.json["findings"])))


def _pieces(terminal: int) -> Iterator[bytes]:
    with contextlib.suppress(BlockingIOError):
        while piece := os.read(terminal, 65_536):
            yield piece
