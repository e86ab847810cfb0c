"""A server of the official SDK's second generation that writes each call into a book, where it is carried out.

ENTRIES names the file, which all nodes share; a call that is carried out twice stands there twice.
"""

import asyncio
import os
from collections import Counter
from pathlib import Path
from typing import Any, Final

from mcp.server.mcpserver import Context, MCPServer

server: Final = MCPServer("entries", log_level="WARNING")
_book: Final = Path(os.environ["ENTRIES"])
counted: Final[Counter[str]] = Counter()


@server.tool()
def enter(entry: str, ctx: Context[Any]) -> int:
    """Writes the entry down, and counts those of this session in the memory of this process."""
    session = (ctx.headers or {})["mcp-session-id"]
    _write(entry)
    counted[session] += 1
    return counted[session]


@server.tool()
async def wait(entry: str, seconds: float) -> str:
    """Writes down that it began, and what became of it."""
    _write(f"{entry}-begun")
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        _write(f"{entry}-cancelled")
        raise
    _write(f"{entry}-done")
    return "done"


def _write(entry: str) -> None:
    with _book.open("a") as book:  # one write in append mode: entries of several processes do not mix
        book.write(f"{entry}\n")
