"""The seam of the SDK's subscriptions, held against the SDK and FastMCP, and what becomes of an author's own bus."""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from fastmcp import FastMCP
from mcp.server.lowlevel import Server
from mcp.server.mcpserver import MCPServer
from mcp.server.subscriptions import (
    InMemorySubscriptionBus,
    ListenHandler,
    PromptsListChanged,
    ResourcesListChanged,
    ResourceUpdated,
    ServerEvent,
    ToolsListChanged,
)
from mcp.types import SubscriptionsListenRequestParams

from mooring.core.server_events import LISTS, UPDATED
from mooring.core.server_events import ServerEvent as Told
from mooring.node import subscription_buses
from mooring.node.subscription_buses import SharedBus, share_changes, take_buses

EVENTS: list[tuple[ServerEvent, Told]] = [
    (ToolsListChanged(), Told("a", LISTS[0])),
    (PromptsListChanged(), Told("a", LISTS[1])),
    (ResourcesListChanged(), Told("a", LISTS[2])),
    (ResourceUpdated("test://a"), Told("a", UPDATED, "test://a")),
]


def sdk_server() -> tuple[Any, InMemorySubscriptionBus]:
    """As it comes; `ctx.notify_…` publishes on this very bus."""
    server = MCPServer("a")
    bus = server._subscriptions
    assert isinstance(bus, InMemorySubscriptionBus)
    return server, bus


def low_level_server() -> tuple[Any, InMemorySubscriptionBus]:
    bus = InMemorySubscriptionBus()
    return Server("a", on_subscriptions_listen=ListenHandler(bus)), bus


def fastmcp_server() -> tuple[Any, InMemorySubscriptionBus]:
    """FastMCP serves no such stream by itself; an author who wants one has it so."""
    server, bus = FastMCP("a"), InMemorySubscriptionBus()
    server._mcp_server.add_request_handler("subscriptions/listen", SubscriptionsListenRequestParams, ListenHandler(bus))
    return server, bus


MAKERS = pytest.mark.parametrize("make", [sdk_server, low_level_server, fastmcp_server])


@pytest.fixture(autouse=True)
def nobody_waits() -> Iterator[None]:
    take_buses()
    yield
    take_buses()


def shared(server: Any) -> list[SharedBus]:
    share_changes(server)
    return take_buses()


def test_the_sdk_knows_no_other_events_than_we_do() -> None:
    assert {kind.__name__ for kind in typing.get_args(ServerEvent)} == set(subscription_buses._KINDS)
    kind = InMemorySubscriptionBus
    assert (kind.__module__, kind.__name__) == subscription_buses._IN_MEMORY


@MAKERS
@pytest.mark.parametrize(("event", "told"), EVENTS)
async def test_a_change_is_told_and_heard_here(make: Any, event: ServerEvent, told: Told) -> None:
    server, bus = make()
    heard: list[ServerEvent] = []
    bus.subscribe(heard.append)
    (one,) = shared(server)
    tells: list[Told] = []
    one.connect(tells.append)
    await bus.publish(event)
    assert tells == [told]
    assert heard == [event]


@MAKERS
@pytest.mark.parametrize(("event", "told"), EVENTS)
async def test_a_change_elsewhere_is_heard_here_and_told_no_further(make: Any, event: ServerEvent, told: Told) -> None:
    server, bus = make()
    heard: list[ServerEvent] = []
    bus.subscribe(heard.append)
    (one,) = shared(server)
    tells: list[Told] = []
    one.connect(tells.append)
    await one.deliver(told)
    assert heard == [event]
    assert tells == []


@MAKERS
async def test_another_node_in_this_process_takes_over(make: Any) -> None:
    server, bus = make()
    before: list[Told] = []
    after: list[Told] = []
    for tells in (before, after):
        shared(server)[0].connect(tells.append)
    await bus.publish(ToolsListChanged())
    assert (before, after) == ([], [Told("a", LISTS[0])])


def test_each_server_is_taken_once() -> None:
    server, _ = sdk_server()
    share_changes(server)
    share_changes(server)
    assert len(take_buses()) == 1
    assert take_buses() == []


async def test_one_bus_of_two_servers_tells_once() -> None:
    bus = InMemorySubscriptionBus()
    for name in ("a", "b"):
        share_changes(MCPServer(name, subscriptions=bus))
    (one,) = take_buses()
    tells: list[Told] = []
    one.connect(tells.append)
    await bus.publish(ToolsListChanged())
    assert tells == [Told("a", LISTS[0])]


class OwnBus(InMemorySubscriptionBus):
    """An author's, over something that all nodes share."""


@pytest.mark.parametrize(
    "server",
    [
        MCPServer("a", subscriptions=OwnBus()),
        MCPServer("a", subscriptions=False),
        FastMCP("a"),
        Server("a"),
        object(),
    ],
)
def test_what_has_no_bus_of_the_sdk_is_left_alone(server: Any, caplog: pytest.LogCaptureFixture) -> None:
    assert shared(server) == []
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: MCPServer("notes"), "notes"),
        (MCPServer, "mcp-server"),
        (lambda: _listening(FastMCP("notes")), "notes"),
        (lambda: _listening(FastMCP()), "FastMCP"),
    ],
)
def test_a_server_has_the_same_name_on_every_node(make: Callable[[], Any], name: str) -> None:
    assert [one.server for _ in range(2) for one in shared(make())] == [name, name]


def _listening(server: Any) -> Any:
    handler = ListenHandler(InMemorySubscriptionBus())
    server._mcp_server.add_request_handler("subscriptions/listen", SubscriptionsListenRequestParams, handler)
    return server


def release(handler: Any) -> Any:
    """A server of a release to come."""
    return SimpleNamespace(get_request_handler=lambda method: SimpleNamespace(handler=handler))


def of_the_sdk(**attributes: Any) -> Any:
    return type("ListenHandler", (), {"__module__": "mcp.server.subscriptions", **attributes})()


def bus_without_publish() -> Any:
    return type("InMemorySubscriptionBus", (), {"__module__": "mcp.server.subscriptions"})()


@pytest.mark.parametrize("handler", [of_the_sdk(), of_the_sdk(_bus=bus_without_publish())])
def test_a_release_that_moved_the_seam_is_warned_of(handler: Any, caplog: pytest.LogCaptureFixture) -> None:
    assert shared(release(handler)) == []
    assert caplog.text.count("tells of changes in an unknown way") == 1


def test_an_authors_own_way_to_serve_them_is_none_of_our_business(caplog: pytest.LogCaptureFixture) -> None:
    assert shared(release(lambda ctx, params: None)) == []
    assert caplog.text == ""
