"""An app without MCP, which starts quickly: what a cluster is made of does not depend on what its nodes serve."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route


async def where(request: Request) -> Response:
    return JSONResponse({"name": os.environ["MOORING_NODE_NAME"], "pid": os.getpid()})


async def ticks(request: Request) -> Response:
    """As many as the query says, ten in a second."""

    async def lines() -> AsyncIterator[str]:
        for number in range(int(request.query_params["count"])):
            yield f"{number}\n"
            await asyncio.sleep(0.1)

    return StreamingResponse(lines())


app = Starlette(
    routes=[Route("/where", where), Route("/ticks", ticks), Route("/mcp", where, methods=["GET", "POST", "DELETE"])]
)


@contextlib.asynccontextmanager
async def _loads_for_an_hour(_: Starlette) -> AsyncIterator[None]:
    await asyncio.sleep(3600)
    yield


slow = Starlette(lifespan=_loads_for_an_hour)
"""One that takes long to start, as those that load a model do."""
