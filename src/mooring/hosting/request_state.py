"""One key for `requestState` on all nodes: what one node has sealed, every other can open.

In the modern era a tool that asks the user hands its progress to the client, sealed (specification 2026-07-28,
requestState), and the next request may land on any node. SDK v2 seals with a key that it makes for each process, unless
the author gives it one; FastMCP as well, and under a name that it makes up. So the second node refuses what the first
one sealed. Here both get a key that is derived from the cluster's secret, and one audience.

The SDK is never imported. It makes its own key by calling `RequestStateSecurity.ephemeral`; that is marked when its
module is loaded, so that an author's own keys are left alone. `tests/hosting/test_request_state.py` holds the SDK and
FastMCP to these names.
"""

from __future__ import annotations

import functools
import importlib.util
import logging
import sys
from collections.abc import Iterator, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Final

from mooring.core.ids import derive_key
from mooring.errors import SettingsError
from mooring.settings import Settings

logger = logging.getLogger("mooring.serve")

_MODULE: Final = "mcp.server.request_state"
_MARK: Final = "_mooring_ephemeral"
_AUDIENCE: Final = "mooring"
"""The same on every node; which cluster it is, is in the key."""

_own_keys: Final = {"made": 0, "replaced": 0}
"""How many keys servers have made themselves in this process, and how many servers got the cluster's."""


def share_request_state(server: Any, settings: Settings | None = None) -> None:
    """Let every node open the `requestState` that this server seals, whatever key it had before.

    For a server whose app you make yourself, before it serves: `mooring serve` and `mooring up` do this by themselves.
    Without a secret, and so without a second node, nothing changes.

    Args:
        server: SDK v2's `MCPServer` or `Server`, or a `FastMCP`.
        settings: by default those of the environment and `mooring.toml`.

    Raises:
        SettingsError: there may be other nodes, and there is no secret, which the key is made of.
    """
    chosen = settings or Settings.load()
    keys = keys_of(chosen)
    if not keys:
        if chosen.redis_url is not None:
            raise SettingsError("secret", None, "needed to share requestState among nodes, the same on every node")
        return
    if not _seal_with(keys, server, own_keys_too=True):
        logger.warning(
            "%s seals no requestState that could be shared: give a server of the MCP SDK 2 or of FastMCP",
            type(server).__name__,
        )


def keys_of(settings: Settings) -> list[bytes]:
    """The keys of this cluster: the first seals, all open. None where there is no secret, and so no second node."""
    return [derive_key(secret, f"request state {settings.key_prefix}") for secret in settings.secrets]


def share_own_keys(server: Any, *keys: bytes) -> None:
    """The same for a server that made its key itself; one that was given any keeps that."""
    if _seal_with(keys, server, own_keys_too=False):
        logger.debug("requestState is sealed with the cluster's key")


def warn_of_own_keys() -> None:
    """Of an app around a server that made its key itself. Which server that is cannot be seen: its author must say."""
    if _own_keys["made"] and not _own_keys["replaced"]:
        logger.warning(
            "the target's server seals requestState with a key that other nodes do not have, so that questions to the "
            "user fail: call mooring.share_request_state(server) before its app is made, or name the server as the "
            "target"
        )


def watch_for_own_keys() -> None:
    """From now on it is known which servers make their keys themselves. Call it before they are made."""
    module = sys.modules.get(_MODULE)
    if module is not None:
        _mark_in(module)
    elif not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def _seal_with(keys: Sequence[bytes], server: Any, *, own_keys_too: bool) -> int:
    """How many of the server's boundaries seal with these keys from now on."""
    shared = 0
    for boundary in _boundaries(server):
        policy = boundary._security
        if own_keys_too or getattr(policy, _MARK, False):
            policy.codec = type(policy)(keys=list(keys)).codec
            boundary._audience = policy.audience or _AUDIENCE
            shared += 1
    _own_keys["replaced"] += shared
    return shared


def _boundaries(server: Any) -> Iterator[Any]:
    """What seals and opens: a middleware of the low-level server."""
    holders = (server, getattr(server, "_lowlevel_server", None), getattr(server, "_mcp_server", None))
    seen: set[int] = set()  # a server may show its low-level server's middleware as its own
    for holder in holders:
        for middleware in getattr(holder, "middleware", None) or ():
            is_one = hasattr(middleware, "_audience") and hasattr(getattr(middleware, "_security", None), "codec")
            if is_one and id(middleware) not in seen:
                seen.add(id(middleware))
                yield middleware


def _mark_in(module: ModuleType) -> None:
    policy = getattr(module, "RequestStateSecurity", None)
    ephemeral = getattr(getattr(policy, "ephemeral", None), "__func__", None)
    if ephemeral is None:
        logger.warning(
            "this release of the MCP SDK seals requestState in an unknown way: nodes do not share its key; "
            "set one on the server"
        )
    elif not hasattr(ephemeral, "__wrapped__"):
        policy.ephemeral = classmethod(_marking(ephemeral))  # type: ignore[union-attr]


def _marking(ephemeral: Any) -> Any:
    @functools.wraps(ephemeral)
    def marked(cls: Any, *args: Any, **options: Any) -> Any:
        policy = ephemeral(cls, *args, **options)
        setattr(policy, _MARK, True)
        _own_keys["made"] += 1
        return policy

    return marked


class _Finder(MetaPathFinder):
    """Waits for the SDK's module, once."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != _MODULE:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _MarkingLoader(spec.loader)
        return spec


class _MarkingLoader(Loader):
    """Loads a module as its own loader does, and marks what is in it."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        _mark_in(module)
