"""Mooring around your own app: `python examples/embedded.py` serves it at http://127.0.0.1:8000/mcp.

Like this, it runs as a single node. With MOORING_REDIS_URL, MOORING_SECRET and MOORING_ADVERTISE_URL (where the others
reach this process) in the environment, any number of these processes form one cluster.
"""

import logging
from typing import Any

import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from mooring import ClosedSession, Mooring, Settings

server = MCPServer("notes")
notes: dict[str, list[str]] = {}


@server.tool()
def note(text: str, ctx: Context[Any]) -> int:
    """Keep a note for this session and answer how many there are."""
    mine = notes.setdefault((ctx.headers or {}).get("mcp-session-id", ""), [])
    mine.append(text)
    return len(mine)


async def home(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"{len(notes)} sessions have notes here\n")


mcp_app = server.streamable_http_app()
site = Starlette(routes=[Route("/", home), *mcp_app.routes], lifespan=mcp_app.router.lifespan_context)
app = Mooring(site, Settings.load())


@app.on_close
def forget(session: ClosedSession) -> None:
    """The session is over, for whatever reason: let go of what it kept."""
    notes.pop(session.id, None)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    uvicorn.run(app, port=8000, timeout_keep_alive=75)
