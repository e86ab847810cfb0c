"""Making the app's session manager use our public session id as its own.

FastMCP keys its state by the session id that the MCP SDK minted, and authors are told to key theirs by the header:
so the inner id should **be** the public id. All three generations (SDK v1, SDK v2, FastMCP on either) mint it with
`uuid4().hex` in one module, and end a session in `StreamableHTTPServerTransport.terminate`, whatever the cause: DELETE,
idle expiry, a crash. Both names are replaced there by ones that ask a context variable and tell us of the end.

The SDK is never imported: a process that has not loaded it has no sessions of it. These names are not promised by
the SDK, so `tests/node/test_inner_ids.py` holds each generation to them; an app whose ids cannot be set, or a
future release that mints differently, gets a mapped id instead, and sessions work all the same.
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

logger = logging.getLogger("mooring.sessions")

_MANAGER_MODULE: Final = "mcp.server.streamable_http_manager"
_TRANSPORT: Final = "StreamableHTTPServerTransport"

_next_id: ContextVar[list[str] | None] = ContextVar("mooring_next_session_id", default=None)
"""At most one id, taken out by whatever mints first: the session's own tasks inherit this context."""
_when_ended: dict[str, Callable[[str], None]] = {}


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


def forget(session_id: str) -> None:
    """Stop watching for the end of this session."""
    _when_ended.pop(session_id, None)


def _install() -> None:
    module = sys.modules.get(_MANAGER_MODULE)
    if module is None or getattr(module, "_mooring_installed", False):
        return
    module._mooring_installed = True  # type: ignore[attr-defined]
    transport = getattr(module, _TRANSPORT, None)
    if not hasattr(module, "uuid4") or not hasattr(transport, "terminate"):
        logger.warning("this release of the MCP SDK mints session ids in an unknown way: they are mapped instead")
        return
    module.uuid4 = _minter(module.uuid4)  # type: ignore[attr-defined]
    transport.terminate = _telling(transport.terminate)  # type: ignore[union-attr]


def _minter(uuid4: Callable[[], Any]) -> Callable[[], Any]:
    @functools.wraps(uuid4)
    def mint() -> Any:
        next_id = _next_id.get()
        return SimpleNamespace(hex=next_id.pop()) if next_id else uuid4()

    return mint


def _telling(terminate: Callable[[Any], Awaitable[None]]) -> Callable[[Any], Awaitable[None]]:
    @functools.wraps(terminate)
    async def terminate_and_tell(transport: Any) -> None:
        try:
            await terminate(transport)
        finally:
            tell = _when_ended.pop(transport.mcp_session_id, None)
            if tell is not None:
                tell(transport.mcp_session_id)

    return terminate_and_tell
