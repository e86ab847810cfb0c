"""Tools that speak to their client while they run, as every revision up to 2025-11-25 allows: one text for all SDKs.

The parameter `ctx` is each SDK's own context object, which the SDK recognizes by its annotation: `for_context` puts
it there. What the tools use of it is named alike in all three SDKs, and listed in `ToolContext`.
"""

import asyncio
import json
from collections.abc import Callable
from types import FunctionType
from typing import Any, Final, Protocol

from mcp.types import SamplingMessage, TextContent

from tests.servers import fixtures
from tests.servers.sessions import Session, Sessions

SESSIONS: Final = Sessions()
_MAX_TOKENS: Final = 100


class ToolContext(Protocol):
    @property
    def request_id(self) -> str: ...
    @property
    def session(self) -> Any: ...
    @property
    def request_context(self) -> Any: ...
    async def info(self, message: str, /) -> None: ...
    async def report_progress(self, progress: float, total: float | None = None) -> None: ...
    async def close_sse_stream(self) -> None: ...


def session_of(ctx: ToolContext) -> Session:
    return SESSIONS.of(ctx.request_context.request.headers.get("mcp-session-id"))


async def count(ctx: ToolContext) -> int:
    """Counts the calls of this session, in the memory of this process."""
    return session_of(ctx).next_count()


async def log_level(ctx: ToolContext) -> str:
    """Answers with the log level that this session last set."""
    return session_of(ctx).log_level


async def progress(steps: int, ctx: ToolContext) -> str:
    """Reports progress as many times as asked."""
    for step in range(1, steps + 1):
        await ctx.report_progress(step, steps)
    return f"{steps} steps"


async def touch(uri: str, ctx: ToolContext) -> bool:
    """Tells this session that a resource changed, if it has subscribed to it; answers whether it has."""
    subscribed = uri in session_of(ctx).subscriptions
    if subscribed:
        await ctx.session.send_resource_updated(uri)
    return subscribed


async def ask_name(ctx: ToolContext) -> str:
    """Asks the user for a name and answers with it."""
    answer = await ctx.session.elicit_form("What is your name?", fixtures.NAME_SCHEMA, ctx.request_id)
    return str((answer.content or {}).get("name", answer.action))


async def sample(text: str, ctx: ToolContext) -> str:
    """Answers with what the client's model says to a text."""
    # Without the request's id the question would go to the standalone GET stream, which may not be open.
    result = await ctx.session.create_message(
        messages=[SamplingMessage(role="user", content=TextContent(type="text", text=text))],
        max_tokens=_MAX_TOKENS,
        related_request_id=ctx.request_id,
    )
    return str(getattr(result.content, "text", result.content))


async def test_tool_with_logging(ctx: ToolContext) -> str:
    """Logs three lines while it runs."""
    for line in fixtures.LOG_LINES:
        await ctx.info(line)
        await asyncio.sleep(fixtures.STEP_SECONDS)
    return "Tool with logging executed"


async def test_tool_with_progress(ctx: ToolContext) -> str:
    """Reports progress three times while it runs."""
    for step in fixtures.PROGRESS_STEPS:
        await ctx.report_progress(step, fixtures.PROGRESS_STEPS[-1])
        await asyncio.sleep(fixtures.STEP_SECONDS)
    return "Tool with progress executed"


async def test_sampling(prompt: str, ctx: ToolContext) -> str:
    """Asks the client's model."""
    return f"LLM response: {await sample(prompt, ctx)}"


async def _elicit(ctx: ToolContext, message: str, schema: fixtures.Json) -> str:
    answer = await ctx.session.elicit_form(message, schema, ctx.request_id)
    return f"action={answer.action}, content={json.dumps(answer.content or {})}"


async def test_elicitation(message: str, ctx: ToolContext) -> str:
    """Asks the user for two strings."""
    return f"User response: {await _elicit(ctx, message, fixtures.USER_SCHEMA)}"


async def test_elicitation_sep1034_defaults(ctx: ToolContext) -> str:
    """Asks the user with a default for every primitive type."""
    return f"Elicitation completed: {await _elicit(ctx, 'Please review', fixtures.DEFAULTS_SCHEMA)}"


async def test_elicitation_sep1330_enums(ctx: ToolContext) -> str:
    """Asks the user to choose, with every kind of enumeration."""
    return f"Elicitation completed: {await _elicit(ctx, 'Please choose', fixtures.ENUMS_SCHEMA)}"


async def test_reconnection(ctx: ToolContext) -> str:
    """Closes its own stream and goes on: the client fetches the answer with a GET."""
    await ctx.info("Before disconnect")
    await ctx.close_sse_stream()
    await asyncio.sleep(2 * fixtures.STEP_SECONDS)
    await ctx.info("After reconnect")
    return "Reconnection test completed"


async def test_logging_tool(ctx: ToolContext) -> str:
    """Logs one line, which a modern client sees only if it asked for logs."""
    await ctx.info(fixtures.LOG_LINES[0])
    return "Logged"


# What the modern era does alike.
TOOLS: Final[tuple[Callable[..., Any], ...]] = (
    count,
    log_level,
    progress,
    test_tool_with_logging,
    test_tool_with_progress,
    test_sampling,
    test_elicitation,
    test_elicitation_sep1034_defaults,
    test_elicitation_sep1330_enums,
    test_reconnection,
    test_logging_tool,
)
# What it does by other means.
LEGACY_TOOLS: Final[tuple[Callable[..., Any], ...]] = (touch, ask_name, sample)


def for_context(tool: Callable[..., Any], context_class: type[Any]) -> Callable[..., Any]:
    """A copy of a tool whose `ctx` is annotated with an SDK's context class."""
    assert isinstance(tool, FunctionType)
    copy = FunctionType(tool.__code__, tool.__globals__, tool.__name__, tool.__defaults__, tool.__closure__)
    copy.__doc__ = tool.__doc__
    copy.__annotations__ = tool.__annotations__ | {"ctx": context_class}
    return copy
