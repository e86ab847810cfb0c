"""A server of the official SDK's second generation (`mcp>=2`), for both eras of the protocol."""

from typing import Annotated, Any

from mcp.server.mcpserver import Context, Elicit, MCPServer, Resolve, Sample
from mcp.server.mcpserver.tools import Tool
from mcp.types import (
    Completion,
    CreateMessageResult,
    InputRequiredResult,
    SamplingMessage,
    TextContent,
    ToolAnnotations,
)
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

import mooring
from tests.servers import changes, context_tools, fixtures, handlers, input_required, plain
from tests.servers.event_store import RETRY_MILLISECONDS, MemoryEventStore


def _tools() -> list[Tool]:
    tools = [Tool.from_function(tool) for tool in (*plain.TOOLS, *changes.TOOLS)]
    tools += [
        Tool.from_function(tool, annotations=ToolAnnotations(read_only_hint=True)) for tool in plain.READ_ONLY_TOOLS
    ]
    schema_tool = Tool.from_function(plain.json_schema_2020_12_tool)
    schema_tool.parameters = fixtures.JSON_SCHEMA_2020_12
    rounds = [input_required.as_tool(name, take_turn) for name, take_turn in input_required.TOOLS.items()]
    in_context = (*context_tools.TOOLS, *changes.CONTEXT_TOOLS, *rounds)
    return [*tools, schema_tool, *(Tool.from_function(context_tools.for_context(tool, Context)) for tool in in_context)]


server = MCPServer(
    fixtures.SERVER_NAME,
    version=fixtures.SERVER_VERSION,
    tools=_tools(),
    log_level="WARNING",
    subscriptions=changes.BUS,
)
mooring.share_request_state(server)
mooring.share_changes(server)
handlers.add_legacy_handlers(server._lowlevel_server)  # MCPServer has no public way to it
for prompt in plain.PROMPTS:
    server.prompt()(prompt)
for uri, media_type, resource in plain.RESOURCES:
    server.resource(uri, mime_type=media_type)(resource)


@server.prompt(input_required.PROMPT)
async def prompt_with_question(ctx: Context[Any]) -> list[fixtures.Json] | InputRequiredResult:
    """A prompt that asks the user first."""
    answer = input_required.prompt_context(input_required.Turn.of(ctx))
    return [fixtures.user_message(fixtures.text_content(answer))] if isinstance(answer, str) else answer


@server.completion()  # type: ignore[no-untyped-call, untyped-decorator]
async def complete(ref: Any, argument: Any, context: Any) -> Completion:
    return Completion(values=plain.completions(argument.value))


class _Name(BaseModel):
    name: str


async def _the_name() -> Elicit[_Name]:
    return Elicit("What is your name?", _Name)


async def _the_sample(text: str) -> Sample:
    return Sample([SamplingMessage(role="user", content=TextContent(type="text", text=text))], max_tokens=100)


# The SDK puts these two questions in each era's own way.
@server.tool()
async def ask_name(answer: Annotated[_Name, Resolve(_the_name)]) -> str:
    """Asks the user for a name and answers with it."""
    return answer.name


@server.tool()
async def sample(text: str, answer: Annotated[CreateMessageResult, Resolve(_the_sample)]) -> str:
    """Answers with what the client's model says to a text."""
    return str(getattr(answer.content, "text", answer.content))


@server.custom_route("/where", methods=["GET"])  # type: ignore[untyped-decorator]
async def other_traffic(_: Request) -> Response:
    """A page beside MCP: says which process answers."""
    return PlainTextResponse(str(plain.where()["pid"]))


app = server.streamable_http_app(event_store=MemoryEventStore(), retry_interval=RETRY_MILLISECONDS)
