from __future__ import annotations

import gc
import signal
import subprocess
import sys
import weakref
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from starlette.applications import Starlette

from mooring import tune_gc
from mooring.errors import TargetError
from mooring.hosting.collector import THRESHOLDS, WHILE_LOADING, rarely_collecting
from mooring.hosting.listener import Listener
from mooring.hosting.server import run_server

PYTHONS = (701, 11, 12)


class Knot:
    """Garbage in a cycle, once nothing else refers to it."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def collector_as_python_sets_it() -> Iterator[None]:
    """With thresholds that are nobody's default, so that the right ones have to come back."""
    before = gc.get_threshold()
    gc.unfreeze()
    gc.set_threshold(*PYTHONS)
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


@pytest.fixture
def tuned() -> Iterator[None]:
    undo = tune_gc()
    yield
    undo()


def test_what_is_imported_is_rarely_collected() -> None:
    with rarely_collecting():
        assert gc.get_threshold() == WHILE_LOADING
        assert gc.isenabled()
    assert gc.get_threshold() == PYTHONS


def test_a_module_that_fails_leaves_the_thresholds_as_they_were() -> None:
    with pytest.raises(ZeroDivisionError), rarely_collecting():
        raise ZeroDivisionError
    assert gc.get_threshold() == PYTHONS


def test_what_an_app_sets_itself_while_it_is_imported_stays() -> None:
    with rarely_collecting():
        gc.set_threshold(900, 3, 3)
    assert gc.get_threshold() == (900, 3, 3)


@pytest.mark.usefixtures("tuned")
def test_all_that_is_alive_is_frozen_and_the_thresholds_are_a_servers() -> None:
    assert gc.get_threshold() == THRESHOLDS
    assert gc.get_freeze_count() > 10_000
    assert gc.isenabled()


def test_garbage_is_not_frozen() -> None:
    knot = weakref.ref(Knot())
    undo = tune_gc()
    assert knot() is None
    undo()


@pytest.mark.usefixtures("tuned")
def test_garbage_of_later_is_collected() -> None:
    knot = weakref.ref(Knot())
    gc.collect()
    assert knot() is None


@pytest.mark.usefixtures("tuned")
def test_what_came_since_is_not_frozen_by_a_second_call() -> None:
    knot = Knot()
    tune_gc()
    later = weakref.ref(knot)
    del knot
    gc.collect()
    assert later() is None


def test_it_can_be_undone() -> None:
    tune_gc()()
    assert gc.get_threshold() == PYTHONS
    assert gc.get_freeze_count() < 10_000


def test_a_second_call_does_not_lose_what_was_before() -> None:
    tune_gc()
    tune_gc()()
    assert gc.get_threshold() == PYTHONS


def test_what_was_set_since_it_was_undone_stays() -> None:
    undo = tune_gc()
    undo()
    gc.set_threshold(500, 5, 5)
    undo()
    assert gc.get_threshold() == (500, 5, 5)


def test_it_can_be_set_again() -> None:
    tune_gc()()
    undo = tune_gc()
    assert gc.get_threshold() == THRESHOLDS
    undo()


def served_thresholds(*, tunes_gc: bool) -> list[tuple[int, int, int]]:
    """Those while an app starts, when it is ready, while it stops, and afterwards."""
    seen = []

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        seen.append(gc.get_threshold())
        yield
        seen.append(gc.get_threshold())

    def stop() -> None:
        seen.append(gc.get_threshold())
        signal.raise_signal(signal.SIGTERM)

    run_server(Starlette(lifespan=lifespan), Listener("127.0.0.1", 0), on_ready=stop, stop_seconds=0, tunes_gc=tunes_gc)
    return [*seen, gc.get_threshold()]


def test_a_served_app_is_frozen_when_it_has_started_and_not_before() -> None:
    assert served_thresholds(tunes_gc=True) == [PYTHONS, THRESHOLDS, THRESHOLDS, PYTHONS]
    assert gc.get_freeze_count() < 10_000


def test_an_app_can_be_served_with_the_collector_as_it_is() -> None:
    assert served_thresholds(tunes_gc=False) == [PYTHONS] * 4


def test_an_app_that_does_not_start_is_not_frozen() -> None:
    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        raise OSError("no database")
        yield

    listener = Listener("127.0.0.1", 0)
    with pytest.raises(TargetError):
        run_server(Starlette(lifespan=lifespan), listener, on_ready=pytest.fail, stop_seconds=0, tunes_gc=True)
    assert gc.get_threshold() == PYTHONS


@pytest.mark.real
def test_embedders_load_no_server_for_it() -> None:
    program = "import sys, mooring; mooring.tune_gc; print(*sorted(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    loaded = set(ran.stdout.split())
    assert "mooring.hosting.collector" in loaded
    assert not {"uvicorn", "aiohttp", "redis", "pydantic", "mooring.hosting.server"} & loaded
