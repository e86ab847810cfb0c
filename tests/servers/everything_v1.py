"""A server of the official SDK's first generation (`mcp<2`) with everything that our clients and the suite ask for."""

from mcp.server.fastmcp import Context, FastMCP
from mcp.server.fastmcp.tools import Tool
from mcp.types import Completion, ToolAnnotations
from pydantic import AnyUrl

from tests.servers import context_tools, fixtures, plain
from tests.servers.event_store import RETRY_MILLISECONDS, MemoryEventStore


def _tools() -> list[Tool]:
    tools = [Tool.from_function(tool) for tool in plain.TOOLS]
    tools += [
        Tool.from_function(tool, annotations=ToolAnnotations(readOnlyHint=True)) for tool in plain.READ_ONLY_TOOLS
    ]
    schema_tool = Tool.from_function(plain.json_schema_2020_12_tool)
    schema_tool.parameters = fixtures.JSON_SCHEMA_2020_12
    in_context = (*context_tools.TOOLS, *context_tools.LEGACY_TOOLS)
    return [*tools, schema_tool, *(Tool.from_function(context_tools.for_context(tool, Context)) for tool in in_context)]


server = FastMCP(
    fixtures.SERVER_NAME,
    tools=_tools(),
    log_level="WARNING",
    event_store=MemoryEventStore(),
    retry_interval=RETRY_MILLISECONDS,
)
for prompt in plain.PROMPTS:
    server.prompt()(prompt)
for uri, media_type, resource in plain.RESOURCES:
    server.resource(uri, mime_type=media_type)(resource)


@server.completion()
async def complete(ref, argument, context):
    return Completion(values=plain.completions(argument.value))


# FastMCP of this generation has no public way to register these three.
_protocol = server._mcp_server


def _session():
    return context_tools.SESSIONS.of(_protocol.request_context.request.headers.get("mcp-session-id"))


@_protocol.set_logging_level()
async def set_log_level(level: str) -> None:
    _session().log_level = level


@_protocol.subscribe_resource()
async def subscribe(uri: AnyUrl) -> None:
    _session().subscriptions.add(str(uri))


@_protocol.unsubscribe_resource()
async def unsubscribe(uri: AnyUrl) -> None:
    _session().subscriptions.discard(str(uri))


app = server.streamable_http_app()
