"""Exercises the client of the official Python SDK's first generation: python -m tests.clients.exercise_py_v1 URL."""

from contextlib import asynccontextmanager

import httpx
from mcp import ClientSession, types
from mcp.client.streamable_http import streamable_http_client
from pydantic import AnyUrl

from tests.clients.matrix import Visit, run_matrix
from tests.clients.report import parse_options
from tests.clients.wire import cookie_jar

CLIENT = "py_v1"
_TIMEOUT = httpx.Timeout(30, read=300)


class PyV1Client:
    def __init__(self, session: ClientSession) -> None:
        self._session = session

    async def tool_names(self):
        return [tool.name for tool in (await self._session.list_tools()).tools]

    async def call(self, tool, arguments, on_progress=None):
        async def relay(progress, total, message):
            await on_progress(progress)

        result = await self._session.call_tool(tool, arguments, progress_callback=relay if on_progress else None)
        text = result.content[0].text
        if result.isError:
            raise RuntimeError(text)
        return text

    async def set_log_level(self, level):
        await self._session.set_logging_level(level)

    async def subscribe(self, uri):
        await self._session.subscribe_resource(AnyUrl(uri))

    async def unsubscribe(self, uri):
        await self._session.unsubscribe_resource(AnyUrl(uri))


@asynccontextmanager
async def connect(visit: Visit):
    async def on_elicitation(context, params):
        return types.ElicitResult(action="accept", content={"name": await visit.user_answers(params.message)})

    async def on_sampling(context, params):
        text = visit.model_reply(params.messages[0].content.text)
        return types.CreateMessageResult(
            role="assistant", content=types.TextContent(type="text", text=text), model="none"
        )

    async def on_message(message):
        if isinstance(message, types.ServerNotification) and isinstance(
            message.root, types.ResourceUpdatedNotification
        ):
            await visit.updated_uris.put(str(message.root.params.uri))

    async with (
        httpx.AsyncClient(
            timeout=_TIMEOUT,
            cookies=cookie_jar(keeps_cookies=visit.options.cookies is not False),
            event_hooks={"response": [visit.wire.note]},
        ) as http,
        streamable_http_client(visit.options.url, http_client=http) as (read, write, _),
        ClientSession(
            read,
            write,
            elicitation_callback=on_elicitation,
            sampling_callback=on_sampling,
            message_handler=on_message,
        ) as session,
    ):
        await session.initialize()
        yield PyV1Client(session)


if __name__ == "__main__":
    run_matrix(CLIENT, parse_options(CLIENT, can_be_modern=False), connect)
