"""One server as a process of its own: `python -m benchmarks.serving APP [--mooring | --least] [--tuned]`.

With and without Mooring it is the same app below the same uvicorn with the same options. The port is printed as the
first line; settings come from the environment. The process ends with its standard input.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import os
import socket
import sys
import threading
from typing import TYPE_CHECKING, Any

import uvicorn

from benchmarks import apps

if TYPE_CHECKING:
    from mooring.asgi import App, Receive, Scope, Send

SETTLE_PATH = "/settle"


class Settling:
    """Around everything else: a path that frees what is free, before memory is measured."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != SETTLE_PATH:
            await self._app(scope, receive, send)
            return
        for _ in range(3):
            gc.collect()
        _give_back_free_memory()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("app", help="a factory in benchmarks.apps")
    parser.add_argument("--mooring", action="store_true")
    parser.add_argument("--least", action="store_true", help="with the middleware of `benchmarks.least`")
    parser.add_argument("--tuned", action="store_true", help="the garbage collector as `mooring serve` sets it")
    chosen = parser.parse_args()
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    port = listener.getsockname()[1]
    app: Any = getattr(apps, chosen.app)()
    if chosen.mooring:
        from mooring import Mooring, Settings  # the bare server has nothing of it, in memory neither

        app = Mooring(app, Settings.load(advertise_url=f"http://127.0.0.1:{port}"))
    if chosen.least:
        from benchmarks.least import Least

        app = Least(app)
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    print(port, flush=True)
    config = uvicorn.Config(
        Settling(app),
        loop="uvloop",
        http="httptools",
        lifespan="on",
        log_level="warning",
        access_log=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=1,
    )
    (_TunedServer if chosen.tuned else uvicorn.Server)(config).run(sockets=[listener])


class _TunedServer(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        from mooring import tune_gc

        await super().startup(sockets)
        tune_gc()


def _end_with_stdin() -> None:
    sys.stdin.read()
    os._exit(0)


def _give_back_free_memory() -> None:
    """glibc keeps freed memory; elsewhere there is nothing to ask."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


if __name__ == "__main__":
    main()
