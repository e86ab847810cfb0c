"""One key for `requestState` on all nodes: what one node has sealed, every other can open.

In the modern era a tool that asks the user hands its progress to the client, sealed (specification 2026-07-28,
requestState), and the next request may land on any node. SDK v2 seals with a key that it makes for each process, unless
the author gives it one; FastMCP as well, and, where it has no name, under one that it makes up. So the second node
refuses what the first one sealed. Here all get a key that is derived from the cluster's secret. What keeps the servers
of one app from opening each other's is their name, as in the SDK; a name that was made up is left out.

The SDK is never imported. It makes its own key by calling `RequestStateSecurity.ephemeral`; that is replaced when its
module is loaded, so that an author's own keys are left alone, and whatever seals in this process has the cluster's:
servers, those within an app, and what FastMCP makes to pass on to several others.
`tests/hosting/test_request_state.py` holds the SDK and FastMCP to these names.
"""

from __future__ import annotations

import functools
import importlib.util
import logging
import re
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
_MARK: Final = "_mooring_shares"
_AUDIENCE: Final = "mooring"
"""In the place of a name that each process makes up; which cluster it is, is in the key."""
_MADE_UP: Final = re.compile(r".*-[0-9a-f]{4}")
"""What FastMCP calls a server without a name."""

_keys: Final[list[bytes]] = []
"""What servers of this process get that would make their key themselves; none where they make it."""


def share_request_state(server: Any, settings: Settings | None = None) -> None:
    """Let every node open the `requestState` that this server seals, whatever key it had before.

    Before it serves, where your app runs under a server of your own: `mooring serve` and `mooring up` do this by
    themselves. Without a secret, and so without a second node, nothing changes. The server's name has to be the same on
    all nodes: what a server of another name has sealed is refused.

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
    if not _seal_with(keys, server):
        logger.warning(
            "%s seals no requestState that could be shared: give a server of the MCP SDK 2 or of FastMCP",
            type(server).__name__,
        )


def keys_of(settings: Settings) -> list[bytes]:
    """The keys of this cluster: the first seals, all open. None where there is no secret, and so no second node."""
    return [derive_key(secret, f"request state {settings.key_prefix}") for secret in settings.secrets]


def share_own_keys(*keys: bytes) -> None:
    """From now on, servers that would make a key of their own get these; without any, they make their own again."""
    _keys[:] = keys
    module = sys.modules.get(_MODULE)
    if module is not None:
        _share_in(module)
    elif not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def _seal_with(keys: Sequence[bytes], server: Any) -> int:
    """How many of the server's boundaries seal with these keys from now on."""
    shared = 0
    for boundary in _boundaries(server):
        _give_keys(keys, boundary._security)
        _leave_out_made_up(boundary)
        shared += 1
    return shared


def _give_keys(keys: Sequence[bytes], policy: Any) -> None:
    policy.codec = type(policy)(keys=list(keys)).codec


def _leave_out_made_up(boundary: Any) -> None:
    if boundary._security.audience is None and _MADE_UP.fullmatch(boundary._audience or ""):
        boundary._audience = _AUDIENCE


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


def _share_in(module: ModuleType) -> None:
    policy, boundary = (getattr(module, name, None) for name in ("RequestStateSecurity", "RequestStateBoundary"))
    ephemeral = getattr(getattr(policy, "ephemeral", None), "__func__", None)
    if ephemeral is None or boundary is None:
        logger.warning(
            "this release of the MCP SDK seals requestState in an unknown way: nodes do not share its key; "
            "set one on the server"
        )
    elif not hasattr(ephemeral, "__wrapped__"):
        policy.ephemeral = classmethod(_sharing(ephemeral))  # type: ignore[union-attr]
        boundary.__init__ = _naming(boundary.__init__)


def _sharing(ephemeral: Any) -> Any:
    @functools.wraps(ephemeral)
    def shared(cls: Any, *args: Any, **options: Any) -> Any:
        policy = ephemeral(cls, *args, **options)
        if _keys:
            _give_keys(_keys, policy)
            setattr(policy, _MARK, True)
        return policy

    return shared


def _naming(initialize: Any) -> Any:
    @functools.wraps(initialize)
    def initialize_named(boundary: Any, *args: Any, **options: Any) -> None:
        initialize(boundary, *args, **options)
        if hasattr(boundary._security, _MARK):
            _leave_out_made_up(boundary)

    return initialize_named


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
            spec.loader = _SharingLoader(spec.loader)
        return spec


class _SharingLoader(Loader):
    """Loads a module as its own loader does, and has what is in it share keys."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        _share_in(module)
