"""A server of FastMCP 4 as its author writes it for one process: it asks the user, and tells of changes.

FastMCP serves no `subscriptions/listen` by itself; this is how the SDK beneath it has it.
"""

from typing import Any

from fastmcp import Context, FastMCP
from mcp.server.subscriptions import (
    InMemorySubscriptionBus,
    ListenHandler,
    PromptsListChanged,
    ResourceUpdated,
    ServerEvent,
    ToolsListChanged,
)
from mcp.types import ElicitRequest, InputRequiredResult, SubscriptionsListenRequestParams

from tests.servers.fixtures import NAME_SCHEMA

server = FastMCP()
changes = InMemorySubscriptionBus()
server._mcp_server.add_request_handler("subscriptions/listen", SubscriptionsListenRequestParams, ListenHandler(changes))


@server.tool
async def remove(ctx: Context) -> str | InputRequiredResult:
    """Removes a project after asking which, and whether."""
    answers: dict[str, Any] = dict(ctx.input_responses or {})
    known = ctx.request_state
    if known is not None and "sure" in answers:
        return f"removed {known}: {answers['sure'].content['name']}"
    if "which" in answers:
        return _ask("sure", "Really?", answers["which"].content["name"])
    return _ask("which", "Which project?", "asked")


def _ask(name: str, message: str, state: str) -> InputRequiredResult:
    asked = ElicitRequest.model_validate({"params": {"message": message, "requestedSchema": NAME_SCHEMA}})
    return InputRequiredResult(input_requests={name: asked}, request_state=state)


@server.tool
async def change(what: str) -> None:
    """Tells of a change to the tools, the prompts, or the resource of that URI."""
    lists: dict[str, ServerEvent] = {"tools": ToolsListChanged(), "prompts": PromptsListChanged()}
    await changes.publish(lists.get(what) or ResourceUpdated(what))
