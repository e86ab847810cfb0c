"""Making the app's session manager use our public session id as its own, ask us before it serves, and end a session.

FastMCP keys its state by the session id that the MCP SDK minted, and authors are told to key theirs by the header:
so the inner id should **be** the public id. All three generations (SDK v1, SDK v2, FastMCP on either) do three things
in one place each, and what they call there is replaced:

    uuid4().hex in the session manager's module    mints the id: it asks a context variable
    StreamableHTTPServerTransport.handle_request   serves one request of a session: it asks that session's guard.
                                                   Authentication has run by then, and nothing was carried out
    StreamableHTTPServerTransport.terminate        ends a session, whatever the cause (DELETE, idle expiry, a crash):
                                                   it tells us. Where a session has another owner, we call it

The SDK is never imported: a process that has not loaded it has no sessions of it. These names are not promised by
the SDK, so `tests/node/membership/test_inner_ids.py` holds each generation to them. An app whose ids cannot be set, or
a future release that mints differently, gets a mapped id instead, and sessions work all the same; one that serves
differently is checked as any other app is (`mooring.node.requests.in_session`).
"""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import SimpleNamespace
from typing import Any, Final

from mooring.asgi import Receive, Scope, Send

logger = logging.getLogger("mooring.sessions")

_MANAGER_MODULE: Final = "mcp.server.streamable_http_manager"
_TRANSPORT: Final = "StreamableHTTPServerTransport"

Guard = Callable[[Scope, Send], Awaitable[bool]]
"""Whether this request may be served. Where it answers False it has answered the request, too."""

_next_id: ContextVar[list[str] | None] = ContextVar("mooring_next_session_id", default=None)
"""At most one id, taken out by whatever mints first: the session's own tasks inherit this context."""
_when_ended: dict[str, Callable[[str], None]] = {}
_guards: dict[str, Guard] = {}
"""By session id, from `guard` to `forget`, or to the session's end."""
_transports: dict[str, Any] = {}
"""By session id, from the first time that its guard is asked, and as long as that."""


@contextmanager
def minting(session_id: str) -> Iterator[None]:
    """Within this context the SDK's next session gets `session_id`, if the SDK is here and is what we know."""
    _install()
    token = _next_id.set([session_id])
    try:
        yield
    finally:
        _next_id.reset(token)


def on_end(session_id: str, tell: Callable[[str], None]) -> None:
    """Call `tell(session_id)` once, when the SDK ends this session for whatever reason."""
    _when_ended[session_id] = tell


def guard(session_id: str, ask: Guard) -> None:
    """Ask before the SDK serves a request of this session, whichever path it came by; in place of who was asked so far.

    It is for the caller to find out whether the SDK asks at all: one of an unknown shape does not, nor does another
    app.
    """
    _guards[session_id] = ask


def forget(session_id: str) -> None:
    """Stop asking before requests of this session, and watching for its end."""
    _when_ended.pop(session_id, None)
    _guards.pop(session_id, None)
    _transports.pop(session_id, None)


async def end(session_id: str) -> bool:
    """Have the SDK end this session and cancel what runs in it; returns whether it is one that asks us."""
    transport = _transports.pop(session_id, None)
    if transport is None:
        return False
    await transport.terminate()
    return True


def _install() -> None:
    module = sys.modules.get(_MANAGER_MODULE)
    if module is None or getattr(module, "_mooring_installed", False):
        return
    module._mooring_installed = True  # type: ignore[attr-defined]
    transport: Any = getattr(module, _TRANSPORT, None)
    if not hasattr(module, "uuid4") or not hasattr(transport, "terminate"):
        logger.warning("this release of the MCP SDK mints session ids in an unknown way: they are mapped instead")
        return
    module.uuid4 = _minter(module.uuid4)  # type: ignore[attr-defined]
    transport.terminate = _telling(transport.terminate)
    if not hasattr(transport, "handle_request"):
        logger.warning(
            "this release of the MCP SDK serves sessions in an unknown way: who asks is checked as for any other app"
        )
        return
    transport.handle_request = _asking(transport.handle_request)


def _minter(uuid4: Callable[[], Any]) -> Callable[[], Any]:
    @functools.wraps(uuid4)
    def mint() -> Any:
        next_id = _next_id.get()
        return SimpleNamespace(hex=next_id.pop()) if next_id else uuid4()

    return mint


def _asking(
    handle_request: Callable[[Any, Scope, Receive, Send], Awaitable[None]],
) -> Callable[[Any, Scope, Receive, Send], Awaitable[None]]:
    @functools.wraps(handle_request)
    async def ask_and_handle(transport: Any, scope: Scope, receive: Receive, send: Send) -> None:
        ask = _guards.get(transport.mcp_session_id)
        if ask is not None:
            _transports[transport.mcp_session_id] = transport
        if ask is None or await ask(scope, send):
            await handle_request(transport, scope, receive, send)

    return ask_and_handle


def _telling(terminate: Callable[[Any], Awaitable[None]]) -> Callable[[Any], Awaitable[None]]:
    @functools.wraps(terminate)
    async def terminate_and_tell(transport: Any) -> None:
        try:
            await terminate(transport)
        finally:
            _guards.pop(transport.mcp_session_id, None)  # it serves nobody from now on
            _transports.pop(transport.mcp_session_id, None)
            tell = _when_ended.pop(transport.mcp_session_id, None)
            if tell is not None:
                tell(transport.mcp_session_id)

    return terminate_and_tell
