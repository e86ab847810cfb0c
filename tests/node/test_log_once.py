"""What is so with each request is not said with each of them."""

from __future__ import annotations

import time

import pytest

from mooring import Settings
from mooring.node.log_once import LogOnce

SECRET = "a secret of sixteen letters and more"


def test_the_same_is_said_once_and_few_of_a_kind(caplog: pytest.LogCaptureFixture) -> None:
    log_once = LogOnce(Settings.load(secret=SECRET))
    for _ in range(2):
        for number in range(100):
            log_once.say("an id is %d (handles)", number)
    assert caplog.messages == [f"an id is {number} (handles)" for number in range(20)]


def test_large_bodies_are_spoken_of_once(caplog: pytest.LogCaptureFixture) -> None:
    log_once = LogOnce(Settings.load(secret=SECRET, handle_search_bytes=5_000))
    log_once.large_body()
    log_once.large_body()
    assert len(caplog.messages) == 1
    assert "5000 bytes" in caplog.text


def test_that_no_more_are_held_is_said_again_after_a_minute_and_never_where_none_shall_be(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1_000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    log_once = LogOnce(Settings.load(secret=SECRET, held_requests=7))
    for seconds in (0, 59, 1):
        now[0] += seconds
        log_once.no_room()
    assert ["7 requests are held" in message for message in caplog.messages] == [True, True]
    LogOnce(Settings.load(secret=SECRET, held_requests=0)).no_room()
    assert len(caplog.messages) == 2
