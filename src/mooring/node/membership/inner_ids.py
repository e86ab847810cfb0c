"""Making the app's session manager use our public session id as its own, ask us before it serves, and end a session.

FastMCP keys its state by the session id that the MCP SDK minted, and authors are told to key theirs by the header:
so the inner id should **be** the public id. All three generations (SDK v1, SDK v2, FastMCP on either) do three things
in one place each, and what they call there is replaced:

    uuid4().hex in the session manager's module    mints the id: it asks a context variable
    StreamableHTTPServerTransport.handle_request   serves one request of a session: it asks that session's guard.
                                                   Authentication has run by then, and nothing was carried out
    StreamableHTTPServerTransport.terminate        ends a session, whatever the cause (DELETE, idle expiry, a crash):
                                                   it tells us. Where a session has another owner, we call it
    StreamableHTTPSessionManager._discard_session  forgets a session by its id, late: not one that was revived under the
                                                   same id meanwhile

The SDK is never imported: a process that has not loaded it has no sessions of it. These names are not promised by
the SDK, so `tests/node/membership/test_inner_ids.py` holds each generation to them. An app whose ids cannot be set, or
a future release that mints differently, gets a mapped id instead, and sessions work all the same; one that serves
differently is checked as any other app is (`mooring.node.requests.in_session`).
"""

from __future__ import annotations

import functools
import logging
import sys
import weakref
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import SimpleNamespace
from typing import Any, Final

from mooring.asgi import Receive, Scope, Send

logger = logging.getLogger("mooring.sessions")

_MANAGER_MODULE: Final = "mcp.server.streamable_http_manager"
_MANAGER: Final = "StreamableHTTPSessionManager"
_TRANSPORT: Final = "StreamableHTTPServerTransport"

Guard = Callable[[Scope, Send], Awaitable[bool]]
"""Whether this request may be served. Where it answers False it has answered the request, too."""

_next_id: ContextVar[list[str] | None] = ContextVar("mooring_next_session_id", default=None)
"""At most one id, taken out by whatever mints first: the session's own tasks inherit this context."""
_when_ended: dict[str, Callable[[], None]] = {}
"""Another one for each incarnation, which tells them apart."""
_guards: dict[str, Guard] = {}
"""By session id, from `guard` to `forget`, or to the session's end."""
_transports: dict[str, Any] = {}
"""By session id, from the first time that its guard is asked, and as long as that."""
_ended: weakref.WeakSet[Any] = weakref.WeakSet()
"""Transports whose end was told of. A session may be revived under its id while they still wind down."""


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
    _when_ended[session_id] = functools.partial(tell, session_id)


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
    """Have the SDK end this session and cancel what runs in it; returns whether it is one that asks us.

    Nobody is told: the caller knows. The id is free before this waits for anything, for the session's next incarnation.
    """
    transport = _transports.get(session_id)
    forget(session_id)
    if transport is None:
        return False
    await transport.terminate()
    return True


def has_ended(session_id: str) -> bool:
    """Whether the SDK is about to end this session, or has, and nobody was told yet."""
    return _transports.get(session_id) in _ended


def may_mint_again(session_id: str) -> bool:
    """Whether the SDK can take the id of a session that it had before, and may not have forgotten yet."""
    _install()
    manager = getattr(sys.modules.get(_MANAGER_MODULE), _MANAGER, None)
    has_ended_here = any(transport.mcp_session_id == session_id for transport in _ended)
    return not has_ended_here or hasattr(manager, "_discard_session")


def _install() -> None:
    module = sys.modules.get(_MANAGER_MODULE)
    if module is None or getattr(module, "_mooring_installed", False):
        return
    module._mooring_installed = True  # type: ignore[attr-defined]
    transport: Any = getattr(module, _TRANSPORT, None)
    if not hasattr(module, "uuid4") or not hasattr(transport, "terminate"):
        logger.warning(
            "this release of the MCP SDK mints session ids in an unknown way: they are mapped instead; a newer Mooring "
            "may know it"
        )
        return
    module.uuid4 = _minter(module.uuid4)  # type: ignore[attr-defined]
    transport.terminate = _telling(transport.terminate)
    manager: Any = getattr(module, _MANAGER, None)
    if hasattr(manager, "_discard_session"):
        manager._discard_session = _discarding(manager._discard_session)
    if not hasattr(transport, "handle_request"):
        logger.warning(
            "this release of the MCP SDK serves sessions in an unknown way: who asks is checked as for any other app; "
            "a newer Mooring may know it"
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
        session_id = transport.mcp_session_id
        is_news = transport not in _ended and _transports.get(session_id, transport) is transport
        _ended.add(transport)
        tell = _when_ended.get(session_id) if is_news else None
        try:
            await terminate(transport)
        finally:
            # By then the session may have its next incarnation, with everything of its own.
            if tell is not None and _when_ended.get(session_id) is tell:
                forget(session_id)
                tell()

    return terminate_and_tell


def _discarding(
    discard_session: Callable[[Any, str, Any], Awaitable[None]],
) -> Callable[[Any, str, Any], Awaitable[None]]:
    @functools.wraps(discard_session)
    async def discard_its_own(manager: Any, session_id: str, transport: Any) -> None:
        if manager._server_instances.get(session_id, transport) is transport:
            await discard_session(manager, session_id, transport)
        elif not transport.is_terminated:
            await transport.terminate()

    return discard_its_own
