"""Tools that announce changes to the modern era's listeners, for both second-generation servers."""

from collections.abc import Callable
from typing import Any, Final

from mcp.server.subscriptions import InMemorySubscriptionBus, PromptsListChanged, ResourceUpdated, ToolsListChanged

from tests.servers import context_tools

BUS: Final = InMemorySubscriptionBus()


async def test_trigger_tool_change() -> str:
    """Tells every listener that the tools changed."""
    await BUS.publish(ToolsListChanged())
    return "told"


async def test_trigger_prompt_change() -> str:
    """Tells every listener that the prompts changed."""
    await BUS.publish(PromptsListChanged())
    return "told"


async def touch(uri: str, ctx: context_tools.ToolContext) -> bool:
    """Tells every listener, and this session if it has subscribed, that a resource changed."""
    await BUS.publish(ResourceUpdated(uri))
    return await context_tools.touch(uri, ctx)


TOOLS: Final[tuple[Callable[..., Any], ...]] = (test_trigger_tool_change, test_trigger_prompt_change)
CONTEXT_TOOLS: Final[tuple[Callable[..., Any], ...]] = (touch,)
