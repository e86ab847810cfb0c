"""The seam at which the MCP SDK tells listeners of changes, taken hold of so that all nodes can hear.

SDK v2 publishes each change on a `SubscriptionBus`, whose listeners are the streams of `subscriptions/listen`
(specification 2026-07-28). The bus that it makes, `InMemorySubscriptionBus`, knows those of its own process. Here
`publish` of such a bus tells the other nodes as well; what they tell goes through the bus's own `publish`, to its
listeners alone. It is the same object as before, so an author who keeps it and publishes on it is heard everywhere.
A bus of another kind is its author's choice and is left alone.

The SDK is never imported. `tests/node/test_subscription_buses.py` holds it, and FastMCP, to the names used here.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from mooring.core.server_events import LISTS, UPDATED, ServerEvent

logger = logging.getLogger("mooring.changes")

_IN_MEMORY: Final = ("mcp.server.subscriptions", "InMemorySubscriptionBus")
_KINDS: Final = dict(zip(("ToolsListChanged", "PromptsListChanged", "ResourcesListChanged"), LISTS, strict=True)) | {
    "ResourceUpdated": UPDATED
}
"""The SDK's classes, and the notification that each of them becomes."""

_waiting: list[Any] = []
"""Servers that the next node of this process takes."""
_given_back: list[SharedBus] = []
"""Buses of servers whose node has stopped: so does the next one, where the app is started again."""


def share_changes(server: Any) -> None:
    """Let clients on every node hear of this server's changes (`subscriptions/listen`), whichever node they happen on.

    For a server whose app you make yourself, before it serves: `mooring serve` and `mooring up` do this by themselves.
    Without Redis, or where the server has a `SubscriptionBus` of your own, nothing changes.

    Args:
        server: SDK v2's `MCPServer` or `Server`, or a `FastMCP`.
    """
    _waiting.append(server)


def take_buses() -> list[SharedBus]:
    """Those of all servers that were named since this was last asked, and that can be shared."""
    servers, _waiting[:] = list(_waiting), []
    found = {bus.key: bus for bus in _given_back}
    _given_back.clear()
    for server in servers:
        bus = _bus_of(server)
        if bus is not None:
            found.setdefault(id(bus), SharedBus(bus, _name_of(server)))  # several servers may have one
    return list(found.values())


def give_back(buses: Iterable[SharedBus]) -> None:
    """The next node of this process takes them."""
    _given_back.extend(buses)


class SharedBus:
    """
    Args:
        bus: the SDK's.

    Attributes:
        server: the name that it has on every node.
        key: what tells the bus from others of this process.
    """

    def __init__(self, bus: Any, server: str) -> None:
        self._bus = bus
        self.key = id(bus)
        self.server = server

    def connect(self, tell: Callable[[ServerEvent], None]) -> None:
        """From now on call `tell` with each change that happens here; listeners here hear of it as before."""
        publish = type(self._bus).publish

        async def publish_everywhere(event: Any) -> None:
            kind = _KINDS.get(type(event).__name__)
            if kind is not None:
                tell(ServerEvent(self.server, kind, str(getattr(event, "uri", ""))))
            await publish(self._bus, event)

        self._bus.publish = publish_everywhere

    async def deliver(self, event: ServerEvent) -> None:
        """Have the listeners here hear of a change elsewhere."""
        module = sys.modules[type(self._bus).__module__]
        name = next(name for name, kind in _KINDS.items() if kind == event.kind)
        make = getattr(module, name)
        await type(self._bus).publish(self._bus, make(event.uri) if event.kind == UPDATED else make())


def _bus_of(server: Any) -> Any:
    """The bus, if it is the SDK's own and as we know it."""
    for handler in _listen_handlers(server):
        bus = getattr(handler, "_bus", None)
        if bus is None and type(handler).__module__.startswith("mcp."):
            _warn()
        kind = type(bus)
        if (kind.__module__, kind.__name__) != _IN_MEMORY:
            continue
        if hasattr(kind, "publish") and all(hasattr(sys.modules[kind.__module__], name) for name in _KINDS):
            return bus
        _warn()
    return None


def _warn() -> None:
    logger.warning(
        "this release of the MCP SDK tells of changes in an unknown way: nodes do not share them; a newer Mooring may"
    )


def _listen_handlers(server: Any) -> Iterator[Any]:
    for holder in (server, getattr(server, "_lowlevel_server", None), getattr(server, "_mcp_server", None)):
        find = getattr(holder, "get_request_handler", None)
        entry = find("subscriptions/listen") if find is not None else None
        if entry is not None:
            yield getattr(entry, "handler", None)


def _name_of(server: Any) -> str:
    """FastMCP makes a name up in each process, where its author gave none."""
    name = str(getattr(server, "name", ""))
    return re.sub(rf"^({re.escape(type(server).__name__)})-[0-9a-f]{{4}}$", r"\1", name)
