"""Of what befalls thousands at once, the log tells of a few."""

from __future__ import annotations

import logging
import time

import pytest

from mooring.node.few_lines import FewLines


def test_of_what_befalls_thousands_at_once_a_few_are_told_of_each_minute(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, logger = [1_000.0], logging.getLogger("mooring.sessions")
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    caplog.set_level(logging.INFO)
    few = FewLines()

    def tell_of_many() -> list[str]:
        caplog.clear()
        for number in range(1_000):
            few.say(logger, logging.WARNING, "session %d was revived", number)
        return caplog.messages

    told = [f"session {number} was revived" for number in range(20)]
    assert tell_of_many() == [
        *told[:-1],
        f"{told[-1]}; what follows of the kind within a minute is told at DEBUG alone",
    ]
    now[0] += 59
    assert tell_of_many() == []
    few.say(logger, logging.INFO, "another kind")
    few.say(logger, logging.INFO, "another kind", of="of another node")
    assert len(caplog.messages) == 2
    now[0] += 1
    assert len(tell_of_many()) == 20
    caplog.set_level(logging.DEBUG)
    assert len(tell_of_many()) == 1_000
