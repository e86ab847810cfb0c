"""A node for the ingress alone: `python -m tests.ingress.backend NAME` serves on a free port, which it prints.

Every answer tells the name and the path; a GET for events gets one each 50 ms until the client leaves. What lies below
`/fail` and `/mcp/fail` is answered with 500; after `/fill` the node takes no new sessions.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route


def application(name: str) -> Starlette:
    is_full = False

    async def ticks() -> AsyncIterator[str]:
        for number in range(1_000_000):
            yield f"data: {name} {number}\n\n"
            await asyncio.sleep(0.05)

    async def answer(request: Request) -> Response:
        if "text/event-stream" in request.headers.get("accept", ""):
            return StreamingResponse(ticks(), media_type="text/event-stream")
        if request.url.path == "/fill":
            nonlocal is_full
            is_full = True
        refuses = "fail" in request.url.path or (is_full and request.url.path == "/readyz")
        return JSONResponse({"name": name, "path": request.url.path}, 500 if refuses else 200)

    return Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "POST", "DELETE", "OPTIONS"])])


def main() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    uvicorn.Server(uvicorn.Config(application(sys.argv[1]), log_level="error")).run(sockets=[listener])


if __name__ == "__main__":
    main()
