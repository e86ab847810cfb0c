"""Start-up failures of the app; the whole life of a served node is in `tests/cli/test_serve.py`."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.applications import Starlette

from mooring.errors import MooringError, StoreUnavailable, TargetError
from mooring.hosting.listener import Listener
from mooring.hosting.server import run_server


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
