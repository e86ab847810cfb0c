"""What the client of the official SDK's second generation and FastMCP's, which is built on it, do alike."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from mcp import ClientSession
from mcp.client.subscriptions import listen

MODERN_VERSION: Final = "2026-07-28"


def text_of(result: Any) -> str:
    """The first text of a tool's result, in either client's class."""
    text = str(getattr(result.content[0], "text", None))
    if result.is_error:
        raise RuntimeError(text)
    return text


@asynccontextmanager
async def listen_to(session: ClientSession, uri: str) -> AsyncIterator[AsyncIterator[str]]:
    async with listen(session, resource_subscriptions=[uri]) as subscription:
        yield (str(getattr(event, "uri", event)) async for event in subscription)
