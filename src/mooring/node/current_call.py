"""What the author's code can ask for within a call: the state of its session, and of handles. And which tools change
nothing but the first.

A tool finds its call without a parameter for it, in each SDK by the way that leads from the request to the tool there:

    SDK                              the tool runs in            so its call is found by
    -------------------------------  --------------------------  ------------------------------------------------------
    v2, and FastMCP around it        the request's own context   a context variable, set around the app
    v1, and FastMCP around it        its session's context       the SDK's `request_ctx`, which has the request, and
                                                                 its scope: what is in there came with the request

Functions that are not async run in a thread with a copy of that context, or on the event loop itself.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, MutableMapping
from contextvars import ContextVar
from typing import Any, Final, TypeVar, overload

from mooring.core.kept_state import StateUse
from mooring.errors import NoHandle, NoSession
from mooring.node.current import Serving, served_with, what_is_served

_Tool = TypeVar("_Tool")

_V1_MODULE: Final = "mcp.server.lowlevel.server"

_transactional: Final[set[str]] = set()
"""Names of tools, of all servers in this process."""


def _served_now() -> Serving | None:
    contexts = getattr(sys.modules.get(_V1_MODULE), "request_ctx", None)
    if isinstance(contexts, ContextVar):
        served = served_with(getattr(getattr(contexts.get(None), "request", None), "scope", {}))
        if served is not None:
            return served
    return what_is_served()


def use_now() -> StateUse | None:
    """That of the call that asks; None where there is none, or it is on no session."""
    served = _served_now()
    return None if served is None else served.use


def session_state() -> MutableMapping[str, Any]:
    """What the server keeps of the session of this call: JSON values, which survive the node.

    Read and change it like any dict, however deep; there is nothing to save. What the call changed is written in one
    step with its answer, before the answer leaves. All calls of a session have the same mapping, and see each other's
    changes. Do not keep it beyond the call.

    Where it is more than `state_bytes`, or no JSON, or cannot be written, the call is answered with an error, and
    everything stays as it was.

    Raises:
        NoSession: there is none here: outside of a call, in a call that was answered, or in a request that is on no
            session (revision 2026-07-28, a stateless server, HTTP+SSE, or an app without Mooring around it).
        StoreUnavailable: what is kept of this session cannot be read.
    """
    use = use_now()
    if use is None:
        raise NoSession(
            "there is no session here to keep anything of. Call session_state() in a tool, resource or prompt, while "
            "it is asked over Streamable HTTP in a session, with Mooring around the app. A request of revision "
            "2026-07-28, and one to a stateless server, is on no session: keep its state under a handle "
            "(mooring.state), and give that to the client"
        )
    return use.part()


def state(handle: str) -> MutableMapping[str, Any]:
    """What the server keeps of a handle that `new_handle` made: JSON values, which survive the node, and the handle.

    As `session_state()`, in both eras: a dict to read and to change in place, written in one step before the answer of
    the call leaves. It begins empty, in the call that mints the handle or as long as the handle is in this process. As
    soon as there is something in it, the handle goes on at another node when this one is gone: what else it stands for
    in this process is not there then.

    Raises:
        NoHandle: it is none, has ended, or is another principal's; or this is no call, or was answered. Where a model
            sent the handle, that is an error for the model to read.
        StoreUnavailable: what is kept of it cannot be read.
    """
    served = _served_now()
    if served is None or served.handles is None:
        raise NoHandle(
            "this is no call that could change the state of a handle. Call mooring.state(handle) in a tool, resource "
            "or prompt, while it is asked over Streamable HTTP, with Mooring around the app"
        )
    return served.handles.part(handle)


@overload
def transactional(tool: _Tool, *, name: str | None = None) -> _Tool: ...
@overload
def transactional(tool: None = None, *, name: str | None = None) -> Callable[[_Tool], _Tool]: ...
def transactional(tool: Any = None, *, name: str | None = None) -> Any:
    """Say of a tool that it changes nothing but what it changes in `session_state()`.

    A decorator, below the server's own. Such a call, where its node died before it was answered, left nothing behind:
    so it is carried out again, and its effect is there exactly once. For that it is written to Redis before it is
    carried out. Without this word such a call ends with `outcome_unknown`.

    Args:
        tool: the function; it is given back as it is.
        name: under which the server lists it, where that is not the function's own. It counts for every server in this
            process.

    Raises:
        TypeError: it has no name of its own (`functools.partial`), and none was given.
    """
    if tool is None:
        return lambda given: transactional(given, name=name)
    known_as = name or getattr(tool, "name", None) or getattr(tool, "__name__", None)
    if not isinstance(known_as, str):
        raise TypeError(
            f"{tool!r} has no name: say under which the server lists it: transactional(name='put in basket')"
        )
    _transactional.add(known_as)
    return tool


def is_transactional(name: str) -> bool:
    """Whether a tool's author says so."""
    return name in _transactional


def has_transactional_tools() -> bool:
    """Whether there are any."""
    return bool(_transactional)
