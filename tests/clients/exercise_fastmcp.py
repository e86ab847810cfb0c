"""Exercises FastMCP's client: python -m tests.clients.exercise_fastmcp URL.

Left to itself it prefers the modern era; here it speaks the legacy one, unless --modern is given.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import httpx2
from fastmcp import Client
from fastmcp.client.transports import StreamableHttpTransport
from mcp import types
from mcp.client.session import IncomingMessage

from tests.clients.matrix import OnProgress, Visit, expect, run_matrix
from tests.clients.report import parse_options
from tests.clients.second_generation import MODERN_VERSION, listen_to, text_of
from tests.clients.wire import cookie_jar

CLIENT = "fastmcp"
_TIMEOUT = httpx2.Timeout(30, read=300)


class FastMCPClient:
    def __init__(self, client: Client[StreamableHttpTransport]) -> None:
        self._client = client

    async def tool_names(self) -> list[str]:
        return [tool.name for tool in await self._client.list_tools()]

    async def call(self, tool: str, arguments: dict[str, Any], on_progress: OnProgress | None = None) -> str:
        async def relay(progress: float, total: float | None, message: str | None) -> None:
            if on_progress is not None:
                await on_progress(progress)

        result = await self._client.call_tool(tool, arguments, progress_handler=relay, raise_on_error=False)
        return text_of(result)

    async def set_log_level(self, level: str) -> None:
        await self._client.set_logging_level(cast(types.LoggingLevel, level))

    # FastMCP's client has no subscriptions of its own; the session below it has.
    async def subscribe(self, uri: str) -> None:
        await self._client.session.subscribe_resource(uri)

    async def unsubscribe(self, uri: str) -> None:
        await self._client.session.unsubscribe_resource(uri)

    @asynccontextmanager
    async def listen(self, uri: str) -> AsyncIterator[AsyncIterator[str]]:
        async with listen_to(self._client.session, uri) as changes:
            yield changes


def _transport(visit: Visit) -> StreamableHttpTransport:
    def http_client(
        headers: dict[str, str] | None = None,
        timeout: httpx2.Timeout | None = None,
        auth: httpx2.Auth | None = None,
        **_: Any,
    ) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(
            headers=headers,
            timeout=timeout or _TIMEOUT,
            auth=auth,
            cookies=cookie_jar(keeps_cookies=visit.options.cookies is not False),
            event_hooks={"response": [visit.wire.note]},
        )

    return StreamableHttpTransport(visit.options.url, httpx_client_factory=http_client)


@asynccontextmanager
async def connect(visit: Visit) -> AsyncIterator[FastMCPClient]:
    async def on_elicitation(message: str, *_: Any) -> dict[str, str]:
        return {"name": await visit.user_answers(message)}

    async def on_sampling(messages: list[types.SamplingMessage], *_: Any) -> str:
        return visit.model_reply(str(getattr(messages[0].content, "text", None)))

    async def on_message(message: IncomingMessage) -> None:
        if isinstance(message, types.ResourceUpdatedNotification):
            await visit.updated_uris.put(str(message.params.uri))

    async with Client(
        _transport(visit),
        mode="auto" if visit.options.modern else "legacy",
        elicitation_handler=on_elicitation,
        sampling_handler=on_sampling,
        message_handler=on_message,
    ) as client:
        expect(client.protocol_version == MODERN_VERSION, visit.options.modern)
        yield FastMCPClient(client)


if __name__ == "__main__":
    run_matrix(CLIENT, parse_options(CLIENT, can_be_modern=True), connect)
