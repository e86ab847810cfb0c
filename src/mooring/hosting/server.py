"""uvicorn around one app, as `mooring serve` needs it: on a port that is already open, quiet, and honest at its end.

Uvicorn alone would log a start-up failure with a traceback and exit 3 whatever it was, and end by the signal that
stopped it, though all went well.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, Final

import uvicorn

from mooring.asgi import App, Message, Receive, Scope, Send
from mooring.errors import MooringError, TargetError
from mooring.hosting.collector import tune_gc
from mooring.hosting.importing import where
from mooring.hosting.listener import BACKLOG, Listener
from mooring.processes.signals import stop_signals

logger = logging.getLogger("mooring.serve")

KEEP_ALIVE_SECONDS: Final = 75
"""How long an idle connection stays open: longer than any ingress of ours keeps one, so that it never meets a close."""

_CHATTER: Final = logging.getLogger("uvicorn.error")


def run_server(
    app: App,
    listener: Listener,
    *,
    on_ready: Callable[[], None],
    stop_seconds: int,
    tunes_gc: bool = False,
    then: Callable[[Mapping[str, Any]], Coroutine[Any, Any, None]] | None = None,
    on_stop: Callable[[], Coroutine[Any, Any, None]] | None = None,
) -> None:
    """Serve `app` until SIGTERM or Ctrl-C.

    Args:
        on_ready: called once the app has started and is served; never where it is told to stop before, which cancels
            the start.
        stop_seconds: how long running requests may go on after the signal.
        then: run beside the requests once the app is served, given the state of its lifespan.
        on_stop: called once it is told to stop, while it still serves; a second signal cancels it.
        tunes_gc: whether the garbage collector is set for a server from when the app has started until its end.

    Raises:
        MooringError: what the app's own start-up raised.
        TargetError: its start-up failed otherwise.
    """
    watched = _Watched(app)
    config = uvicorn.Config(
        watched,
        http="httptools",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=stop_seconds,
    )
    _CHATTER.disabled = True  # until the app has started: a failure is raised, not logged
    try:
        with ExitStack() as at_end:
            if tunes_gc:
                on_ready = _with_tuned_gc(on_ready, at_end)
            _Server(config, watched, on_ready, then, on_stop).run(sockets=[listener.socket])
    finally:
        _CHATTER.disabled = False


def _with_tuned_gc(on_ready: Callable[[], None], at_end: ExitStack) -> Callable[[], None]:
    """Before the node says that it is ready, so that no session is among what is frozen."""

    def tune_and_go_on() -> None:
        at_end.callback(tune_gc())
        on_ready()

    return tune_and_go_on


class _Watched:
    """The app, why its start-up failed, and how to end it before it is done."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._error: BaseException | None = None
        self._message = ""
        # What runs its lifespan, while it starts.
        self._starting: asyncio.Task[Any] | None = None
        self._is_given_up = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return

        if self._is_given_up:
            raise asyncio.CancelledError
        self._starting = asyncio.current_task()

        async def listening_send(message: Message) -> None:
            if message["type"] == "lifespan.startup.failed":
                self._message = message.get("message", "")
                self._error = sys.exception()  # apps say it from within their `except`
            self._starting = None
            await send(message)

        try:
            await self._app(scope, receive, listening_send)
        except BaseException as error:
            self._error = self._error or error
            raise

    def give_up(self) -> None:
        """Cancel its start, whether that has begun or not. One that has started is stopped as ever."""
        self._is_given_up = True
        if self._starting is not None:
            self._starting.cancel()

    def why_not_started(self) -> MooringError:
        if isinstance(self._error, MooringError):
            return self._error
        said = where(self._error) if self._error is not None else " ".join(self._message.split())
        failure = TargetError(f"the app did not start: {said or 'it did not say why'}")
        failure.__cause__ = self._error
        return failure


class _Server(uvicorn.Server):
    def __init__(
        self,
        config: uvicorn.Config,
        watched: _Watched,
        on_ready: Callable[[], None],
        then: Callable[[Mapping[str, Any]], Coroutine[Any, Any, None]] | None,
        on_stop: Callable[[], Coroutine[Any, Any, None]] | None,
    ) -> None:
        super().__init__(config)
        self._watched = watched
        self._on_ready = on_ready
        self._then = then
        self._on_stop = on_stop
        # What runs beside the requests; ends with them.
        self._beside: asyncio.Task[None] | None = None
        # `on_stop`, while it runs.
        self._stopping: asyncio.Future[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        with suppress(SystemExit):
            await super().startup(sockets)
        if not self.started and self.should_exit:
            logger.info("stopped before the app had started")
            return
        if not self.started:
            raise self._watched.why_not_started()
        _CHATTER.disabled = False
        self._on_ready()
        if self._then is not None:
            self._beside = asyncio.create_task(self._then(self.lifespan.state))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        limit = self.config.timeout_graceful_shutdown
        if self._beside is not None:
            self._beside.cancel()
        began = time.monotonic()
        if self._on_stop is not None and not self.force_exit:
            await self._come_to_stop(self._on_stop)
        if limit:
            limit = self.config.timeout_graceful_shutdown = max(1, limit - round(time.monotonic() - began))
        logger.info("stopping: running requests have %s s to finish", limit)
        await super().shutdown(sockets)

    async def _come_to_stop(self, on_stop: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """What comes before the end. A second signal cancels it, and whatever becomes of it the server stops."""
        self._stopping = asyncio.ensure_future(on_stop())
        await asyncio.wait({self._stopping})
        if not self._stopping.cancelled() and (error := self._stopping.exception()) is not None:
            logger.error(
                "nothing was given away before the end; other nodes take it over: see the error", exc_info=error
            )

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As uvicorn's own, but without raising the signal again: a stop that was asked for is no failure."""
        with stop_signals(self._stop, self._stop_at_once):
            yield

    def _stop(self) -> None:
        self.should_exit = True
        if not self.started:  # an app that loads for minutes does not look whether it is still wanted
            self._watched.give_up()

    def _stop_at_once(self) -> None:
        self.force_exit = True
        if self._stopping is not None:
            self._stopping.cancel()
