"""Handles for authors of servers: minted while a request is served, and ended when what they stand for is."""

from __future__ import annotations

import functools
import logging
import secrets
import sys
from contextvars import ContextVar
from typing import Any, Final

from mooring.core.handles import RANDOM_BYTES, Handles
from mooring.core.ids import SHARD_LENGTH, shard_from_entropy
from mooring.node.current import Serving, minted_early, nodes_here, what_is_served
from mooring.node.requests.principal import NOBODY, USER, principal_of

logger = logging.getLogger("mooring.handles")

_SDK_MODULE: Final = "mcp.server.auth.middleware.auth_context"


def new_handle(kind: str = "handle", *, survives: bool = False) -> str:
    """A handle for something that this process holds from now on: give it to the model as a tool's result.

    Each call that names it in its arguments, or in the headers that mirror them, is brought to this process. It is for
    the principal alone whose call is being served, or whose task runs (FastMCP), if there is one.

    Args:
        kind: what it stands for, in a word that models read: lower-case letters, digits and `_`.
        survives: what it stands for is kept outside of this process, where the author finds it by the handle. If this
            process dies, calls reach another one; else they are answered that the handle is gone.

    Raises:
        ValueError: a kind of other letters.
        LookupError: several nodes are in this process, and no request of either is being served.
    """
    serving = what_is_served() or _only_node()
    if serving is None:
        alone = _alone().mint(_own_shard(), kind, secrets.token_bytes(RANDOM_BYTES), survives=survives)
        minted_early(kind)  # where one joins later
        return alone
    session = None if serving.session_id is None else serving.node.sessions.find(serving.session_id)
    principal = principal_of(serving.scope) or (NOBODY if session is None else session.principal)
    minted: str = serving.node.mint_handle(
        kind, principal, None if session is None else session.shard, survives=survives
    )
    return minted


def end(handle: str) -> None:
    """What the handle stands for is gone: from now on calls that name it are told so. `on_close` is called for it.

    In a process that does not hold it, nothing happens.
    """
    for node in nodes_here():
        node.end_handle(handle)


def _only_node() -> Serving | None:
    nodes = nodes_here()
    if len(nodes) > 1:
        raise LookupError("which of the nodes in this process mints it? Call new_handle while a request is served")
    return Serving(nodes[0], {USER: _who_is_signed_in()}) if nodes else None


def _who_is_signed_in() -> Any:
    """The user for whom a task works, which has no request any more: FastMCP names him where the SDK does."""
    signed_in = getattr(sys.modules.get(_SDK_MODULE), "auth_context_var", None)
    return signed_in.get(None) if isinstance(signed_in, ContextVar) else None


@functools.cache
def _alone() -> Handles:
    """Of a process without Mooring, as in tests of a server: they look like any other."""
    logger.info("no node of Mooring is in this process: its handles are known here alone")
    return Handles(secrets.token_hex(32))


@functools.cache
def _own_shard() -> str:
    return shard_from_entropy(secrets.token_bytes(SHARD_LENGTH))
