from __future__ import annotations

import signal
import sys
from collections.abc import Iterator

import pytest

_running: list[pytest.Item] = []
"""The test that runs now, from the set-up of its fixtures on."""


# Under nohup it is ignored, which all that is started here would inherit: a hangup is then no request to stop.
signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first, so that no worker ends with one of them alone."""
    items.sort(key=lambda item: "e2e" not in item.path.parts)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    _running.append(item)
    try:
        return (yield)
    finally:
        _running.remove(item)


def _refuse_processes(event: str, _: tuple[object, ...]) -> None:
    """A test that starts a process says so (`real`): `make unit` promises that there is none."""
    if event == "subprocess.Popen" and _running and _running[-1].get_closest_marker("real") is None:
        raise AssertionError(f"{_running[-1].nodeid} starts a process: mark it `real`")


sys.addaudithook(_refuse_processes)
