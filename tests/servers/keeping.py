"""A server that keeps browsers in its process, under handles and under ids of its own, made with either SDK."""

from __future__ import annotations

import asyncio
import os
import secrets
from typing import Annotated, Any

from pydantic import Field

import mooring

Marked = Annotated[str, Field(json_schema_extra={"x-mcp-header": "Browser"})]


def keeping_server(make_server: Any) -> Any:
    """The server; what it keeps is a count for each."""
    server: Any = make_server("keeping")
    pages: dict[str, int] = {}

    def visit(browser: str) -> str:
        if browser not in pages:
            raise LookupError(f"no browser {browser}")
        pages[browser] += 1
        return f"page {pages[browser]}"

    def open_browser() -> str:
        """A new browser, by its handle."""
        handle = mooring.new_handle("browser")
        pages[handle] = 0
        return handle

    def browse(browser: Marked) -> str:
        """Opens a page. Clients mirror the argument into a header."""
        return visit(browser)

    def browse_unmarked(browser: str) -> str:
        """Opens a page."""
        return visit(browser)

    async def browse_slowly(browser: Marked, seconds: float) -> str:
        """Opens a page that takes its time."""
        await asyncio.sleep(seconds)
        return visit(browser)

    def create_session() -> dict[str, str]:
        """A new browser, by an id that Mooring knows nothing of."""
        own = f"own-{secrets.token_hex(8)}"
        pages[own] = 0
        return {"session_id": own}

    def use_session(session_id: str) -> str:
        """Opens a page in it."""
        return visit(session_id)

    def process() -> str:
        """Which one answers."""
        return str(os.getpid())

    for tool in (process, open_browser, browse, browse_unmarked, browse_slowly, create_session, use_session):
        server.tool()(tool)
    return server
