"""Exercises the client of the official Python SDK's second generation: python -m tests.clients.exercise_py_v2 URL.

Left to itself it prefers the modern era; here it speaks the legacy one, unless --modern is given.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import httpx2
from mcp import Client, types
from mcp.client.session import ClientRequestContext, IncomingMessage
from mcp.client.streamable_http import streamable_http_client

from tests.clients.matrix import OnProgress, Visit, expect, run_matrix
from tests.clients.report import parse_options
from tests.clients.second_generation import MODERN_VERSION, listen_to, text_of
from tests.clients.wire import cookie_jar

CLIENT = "py_v2"
_TIMEOUT = httpx2.Timeout(30, read=300)


class PyV2Client:
    def __init__(self, client: Client) -> None:
        self._client = client

    async def tool_names(self) -> list[str]:
        return [tool.name for tool in (await self._client.list_tools()).tools]

    async def call(self, tool: str, arguments: dict[str, Any], on_progress: OnProgress | None = None) -> str:
        async def relay(progress: float, total: float | None, message: str | None) -> None:
            if on_progress is not None:
                await on_progress(progress)

        return text_of(await self._client.call_tool(tool, arguments, progress_callback=relay if on_progress else None))

    async def set_log_level(self, level: str) -> None:
        await self._client.set_logging_level(cast(types.LoggingLevel, level))

    async def subscribe(self, uri: str) -> None:
        await self._client.subscribe_resource(uri)

    async def unsubscribe(self, uri: str) -> None:
        await self._client.unsubscribe_resource(uri)

    @asynccontextmanager
    async def listen(self, uri: str) -> AsyncIterator[AsyncIterator[str]]:
        async with listen_to(self._client.session, uri) as changes:
            yield changes


@asynccontextmanager
async def connect(visit: Visit) -> AsyncIterator[PyV2Client]:
    async def on_elicitation(context: ClientRequestContext, params: types.ElicitRequestParams) -> types.ElicitResult:
        return types.ElicitResult(action="accept", content={"name": await visit.user_answers(params.message)})

    async def on_sampling(
        context: ClientRequestContext, params: types.CreateMessageRequestParams
    ) -> types.CreateMessageResult:
        text = visit.model_reply(str(getattr(params.messages[0].content, "text", None)))
        content = types.TextContent(type="text", text=text)
        return types.CreateMessageResult(role="assistant", content=content, model="none")

    async def on_message(message: IncomingMessage) -> None:
        if isinstance(message, types.ResourceUpdatedNotification):
            await visit.updated_uris.put(str(message.params.uri))

    async with (
        httpx2.AsyncClient(
            timeout=_TIMEOUT,
            cookies=cookie_jar(keeps_cookies=visit.options.cookies is not False),
            event_hooks={"response": [visit.wire.note]},
        ) as http,
        Client(
            streamable_http_client(visit.options.url, http_client=http),
            mode="auto" if visit.options.modern else "legacy",
            elicitation_callback=on_elicitation,
            sampling_callback=on_sampling,
            message_handler=on_message,
        ) as client,
    ):
        expect(client.protocol_version == MODERN_VERSION, visit.options.modern)
        yield PyV2Client(client)


if __name__ == "__main__":
    run_matrix(CLIENT, parse_options(CLIENT, can_be_modern=True), connect)
