"""A node for the ingress alone.

Every answer tells the name and the path; a GET for events gets one each 50 ms until the client leaves, and one for
events at `/mcp/silent` a first one and then nothing. What lies below `/fail` and `/mcp/fail` is answered with 500;
after `/fill` the node takes no new sessions, until `/empty`. A request with a `Hold` header is written into the ledger,
with that header and its method, and never answered.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from multiprocessing.connection import Connection
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route


def application(name: str, ledger: Path) -> Starlette:
    is_full = False

    async def ticks(is_silent: bool) -> AsyncIterator[str]:
        for number in range(1_000_000):
            yield f"data: {name} {number}\n\n"
            await asyncio.sleep(10_000 if is_silent else 0.05)

    async def answer(request: Request) -> Response:
        if held := request.headers.get("hold"):
            with ledger.open("a") as file:
                file.write(f"{request.method} {held}\n")
            await asyncio.sleep(10_000)
        if "text/event-stream" in request.headers.get("accept", ""):
            return StreamingResponse(ticks("silent" in request.url.path), media_type="text/event-stream")
        if request.url.path in ("/fill", "/empty"):
            nonlocal is_full
            is_full = request.url.path == "/fill"
        refuses = "fail" in request.url.path or (is_full and request.url.path == "/readyz")
        told = {
            "name": name,
            "path": request.url.path,
            "host": request.headers.get("host"),
            "cookie": request.headers.get("cookie"),
            "bytes": len(await request.body()),
        }
        return JSONResponse(told, 500 if refuses else 200)

    return Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "POST", "DELETE", "OPTIONS"])])


def serve(name: str, ledger: Path, port: int, tell_port: Connection) -> None:
    """Serves on that port, or a free one, which it tells, until it is killed."""
    listener = socket.create_server(("127.0.0.1", port))
    tell_port.send(listener.getsockname()[1])
    uvicorn.Server(uvicorn.Config(application(name, ledger), log_level="error")).run(sockets=[listener])
