"""Start-up failures of the app; the whole life of a served node is in `tests/cli/test_serve.py`."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.applications import Starlette
from uvicorn.lifespan.on import LifespanOn

from mooring.errors import MooringError, StoreUnavailable, TargetError
from mooring.hosting.listener import Listener
from mooring.hosting.server import _Watched, run_server


def failure_of(app: Any) -> MooringError:
    """What `run_server` raises for an app that does not start."""
    with pytest.raises(MooringError) as caught:
        run_server(app, Listener("127.0.0.1", 0), on_ready=lambda: pytest.fail("not ready"), stop_seconds=0)
    return caught.value


def failing(error: Exception) -> Starlette:
    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        raise error
        yield

    return Starlette(lifespan=lifespan)


def test_an_app_that_reports_its_exception(caplog: pytest.LogCaptureFixture) -> None:
    failure = failure_of(failing(OSError("no database")))
    assert isinstance(failure, TargetError)
    assert str(failure).startswith("the app did not start: OSError: no database (test_server.py:")
    assert caplog.records == []


def test_our_own_errors_stay_what_they_are() -> None:
    error = StoreUnavailable("Redis does not answer")
    assert failure_of(failing(error)) is error


def test_an_error_that_was_sent_from_within_its_handler() -> None:
    error = StoreUnavailable("Redis does not answer")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            raise error
        except MooringError as caught:
            await send({"type": "lifespan.startup.failed", "message": str(caught)})
        await receive()

    assert failure_of(app) is error


def test_an_app_that_raises_without_a_word() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError("what?")

    assert str(failure_of(app)).startswith("the app did not start: RuntimeError: what? (test_server.py:")


def test_an_app_that_only_sends_a_message() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "lifespan.startup.failed", "message": "out of\nlicences"})
        await receive()

    assert str(failure_of(app)) == "the app did not start: out of licences"


def test_the_servers_log_is_heard_again_afterwards() -> None:
    failure_of(failing(OSError()))
    assert not logging.getLogger("uvicorn.error").disabled


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_while_the_app_still_loads_it_ends_at_once_and_well(
    number: signal.Signals, caplog: pytest.LogCaptureFixture
) -> None:
    said: list[str] = []

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        os.kill(os.getpid(), number)
        try:
            await asyncio.sleep(3600)
            yield
        finally:
            said.append("let go of what was loaded")

    with caplog.at_level(logging.INFO, "mooring.serve"):
        run_server(Starlette(lifespan=lifespan), Listener("127.0.0.1", 0), on_ready=pytest.fail, stop_seconds=30)
    assert said == ["let go of what was loaded"]
    assert [record.message for record in caplog.records] == ["stopped before the app had started"]


def test_told_to_stop_when_the_app_has_just_started_it_stops_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    startup, told, said = LifespanOn.startup, asyncio.Event(), []

    async def told_to_stop(self: LifespanOn) -> None:
        await startup(self)
        os.kill(os.getpid(), signal.SIGTERM)
        await told.wait()

    give_up = _Watched.give_up

    def says_so(self: _Watched) -> None:
        give_up(self)
        told.set()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        said.append((await receive())["type"])
        await send({"type": "lifespan.startup.complete"})
        said.append((await receive())["type"])
        await send({"type": "lifespan.shutdown.complete"})

    monkeypatch.setattr(LifespanOn, "startup", told_to_stop)
    monkeypatch.setattr(_Watched, "give_up", says_so)
    run_server(app, Listener("127.0.0.1", 0), on_ready=lambda: None, stop_seconds=30)
    assert said == ["lifespan.startup", "lifespan.shutdown"]


def test_told_to_stop_before_the_app_begins_to_load_it_does_not_load(monkeypatch: pytest.MonkeyPatch) -> None:
    startup, give_up, told, began = LifespanOn.startup, _Watched.give_up, asyncio.Event(), asyncio.Event()

    async def told_to_stop(self: LifespanOn) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        await told.wait()
        await startup(self)

    def says_so(self: _Watched) -> None:
        give_up(self)
        told.set()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        began.set()

    monkeypatch.setattr(LifespanOn, "startup", told_to_stop)
    monkeypatch.setattr(_Watched, "give_up", says_so)
    run_server(app, Listener("127.0.0.1", 0), on_ready=pytest.fail, stop_seconds=30)
    assert told.is_set()
    assert not began.is_set()
