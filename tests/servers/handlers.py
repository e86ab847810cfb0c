"""Requests of the legacy era that the second generation of the SDK leaves to the server: log level, subscriptions."""

from typing import Any

from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.types import EmptyResult, SetLevelRequestParams, SubscribeRequestParams, UnsubscribeRequestParams

from tests.servers.context_tools import SESSIONS
from tests.servers.sessions import Session


def _session(ctx: ServerRequestContext[Any, Any]) -> Session:
    return SESSIONS.of(ctx.request.headers.get("mcp-session-id") if ctx.request else None)


async def set_log_level(ctx: ServerRequestContext[Any, Any], params: SetLevelRequestParams) -> EmptyResult:
    _session(ctx).log_level = params.level
    return EmptyResult()


async def subscribe(ctx: ServerRequestContext[Any, Any], params: SubscribeRequestParams) -> EmptyResult:
    _session(ctx).subscriptions.add(str(params.uri))
    return EmptyResult()


async def unsubscribe(ctx: ServerRequestContext[Any, Any], params: UnsubscribeRequestParams) -> EmptyResult:
    _session(ctx).subscriptions.discard(str(params.uri))
    return EmptyResult()


def add_legacy_handlers(protocol: Server[Any]) -> None:
    protocol.add_request_handler("logging/setLevel", SetLevelRequestParams, set_log_level)
    protocol.add_request_handler("resources/subscribe", SubscribeRequestParams, subscribe)
    protocol.add_request_handler("resources/unsubscribe", UnsubscribeRequestParams, unsubscribe)
