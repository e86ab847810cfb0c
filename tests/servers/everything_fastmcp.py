"""A server of FastMCP 4, for both eras of the protocol."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from fastmcp import Context, FastMCP
from fastmcp.prompts import Message
from fastmcp.server.event_store import EventStore
from fastmcp.tools import Tool
from mcp.server.context import ServerRequestContext
from mcp.server.subscriptions import ListenHandler
from mcp.types import (
    EmptyResult,
    InputRequiredResult,
    PromptMessage,
    SetLevelRequestParams,
    SubscriptionsListenRequestParams,
    ToolAnnotations,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

import mooring
from tests.servers import changes, context_tools, fixtures, handlers, input_required, plain
from tests.servers.event_store import RETRY_MILLISECONDS


def _tools() -> list[Tool]:
    tools: list[Tool] = [Tool.from_function(tool) for tool in (*plain.TOOLS, *changes.TOOLS)]
    tools += [
        Tool.from_function(tool, annotations=ToolAnnotations(read_only_hint=True)) for tool in plain.READ_ONLY_TOOLS
    ]
    schema_tool = Tool.from_function(plain.json_schema_2020_12_tool)
    schema_tool.parameters = fixtures.JSON_SCHEMA_2020_12
    rounds = [input_required.as_tool(name, take_turn) for name, take_turn in input_required.TOOLS.items()]
    in_context = (*context_tools.TOOLS, *changes.CONTEXT_TOOLS, *rounds)
    return [*tools, schema_tool, *(Tool.from_function(context_tools.for_context(tool, Context)) for tool in in_context)]


def _as_messages(prompt: Callable[..., list[fixtures.Json]]) -> Callable[..., list[Message]]:
    """FastMCP takes messages of its own class only."""

    @wraps(prompt)
    def wrapped(*args: Any, **kwargs: Any) -> list[Message]:
        messages = [PromptMessage.model_validate(message) for message in prompt(*args, **kwargs)]
        return [Message(message.content, role=message.role) for message in messages]

    return wrapped


server = FastMCP(
    fixtures.SERVER_NAME,
    version=fixtures.SERVER_VERSION,
    tools=_tools(),
    dereference_schemas=False,
)
mooring.share_request_state(server)
for prompt in plain.PROMPTS:
    server.prompt()(_as_messages(prompt))
for uri, media_type, resource in plain.RESOURCES:
    server.resource(uri, mime_type=media_type)(resource)


@server.prompt(input_required.PROMPT)
async def prompt_with_question(ctx: Context) -> str | InputRequiredResult:
    """A prompt that asks the user first."""
    return input_required.prompt_context(input_required.Turn.of(ctx))


@server.completion
async def complete(ref: Any, argument: Any, context: Any) -> list[str]:
    return plain.completions(argument.value)


# FastMCP serves neither subscriptions nor `subscriptions/listen` by itself, and keeps the log levels to itself.
_protocol = server._mcp_server
handlers.add_legacy_handlers(_protocol)
_protocol.add_request_handler("subscriptions/listen", SubscriptionsListenRequestParams, ListenHandler(changes.BUS))
mooring.share_changes(server)


async def set_log_level(ctx: ServerRequestContext[Any, Any], params: SetLevelRequestParams) -> EmptyResult:
    await handlers.set_log_level(ctx, params)
    return await server._on_set_logging_level(ctx, params)


_protocol.add_request_handler("logging/setLevel", SetLevelRequestParams, set_log_level)


def _is_modern(ctx: Context) -> bool:
    return ctx.request_context is not None and ctx.request_context.protocol_version in MODERN_PROTOCOL_VERSIONS


@server.tool()
async def ask_name(ctx: Context) -> str | InputRequiredResult:
    """Asks the user for a name and answers with it."""
    return (
        input_required.ask_name(input_required.Turn.of(ctx)) if _is_modern(ctx) else await context_tools.ask_name(ctx)
    )


@server.tool()
async def sample(text: str, ctx: Context) -> str | InputRequiredResult:
    """Answers with what the client's model says to a text."""
    if _is_modern(ctx):
        return input_required.sample(text, input_required.Turn.of(ctx))
    return await context_tools.sample(text, ctx)


app = server.http_app(event_store=EventStore(), retry_interval=RETRY_MILLISECONDS, host_origin_protection=True)
