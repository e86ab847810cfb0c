"""The seal of `requestState`, held against the SDK and FastMCP: one key for all nodes, and no author's key lost."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from fastmcp import FastMCP
from fastmcp.client.transports.config import MCPConfigTransport
from mcp.server.mcpserver import MCPServer, RequestStateSecurity

from mooring.errors import SettingsError
from mooring.hosting.request_state import _boundaries, keys_of, share_own_keys, share_request_state
from mooring.settings import Settings

SECRET = "a secret for tests, nowhere else"
KEY = b"k" * 32
OWN = "an author's own key of 32 bytes or more"


def settings(**more: Any) -> Settings:
    return Settings.load(secret=SECRET, **more)


def boundary(server: Any) -> Any:
    (found,) = _boundaries(server)
    return found


def opens(second: Any, first: Any) -> bool:
    """Whether one server opens what the other has sealed, for the same audience."""
    token = boundary(first)._security.codec.seal(b"progress")
    try:
        return bool(boundary(second)._security.codec.unseal(token) == b"progress") and (
            boundary(first)._audience == boundary(second)._audience
        )
    except Exception:
        return False


@pytest.fixture(autouse=True)
def own_keys() -> Iterator[None]:
    """Other tests run `mooring serve` in this process."""
    share_own_keys()
    yield
    share_own_keys()


@pytest.mark.parametrize("make", [lambda: MCPServer("a"), MCPServer, lambda: FastMCP("a"), FastMCP])
def test_two_nodes_open_what_the_other_has_sealed(make: Any) -> None:
    assert not opens(make(), make())
    share_own_keys(KEY)
    first, second = make(), make()
    assert opens(second, first)
    assert opens(first, second)


@pytest.mark.parametrize("make", [MCPServer, FastMCP])
def test_servers_of_one_app_do_not_open_what_the_other_has_sealed(make: Any) -> None:
    share_own_keys(KEY)
    assert not opens(make("alpha"), make("beta"))
    servers = make("alpha"), make("beta")
    for server in servers:
        share_request_state(server, settings())
    assert not opens(*servers)


def test_what_passes_on_to_several_servers_opens_what_the_other_has_sealed() -> None:
    """FastMCP makes a server of its own between them and the client."""
    config = {"mcpServers": {name: {"url": f"http://{name}/mcp"} for name in ("a", "b")}}
    share_own_keys(KEY)
    first, second = (
        FastMCP("router", request_state_security=MCPConfigTransport(config)._request_state_security) for _ in range(2)
    )
    assert opens(second, first)


@pytest.mark.parametrize("make", [MCPServer, FastMCP])
def test_an_authors_own_key_is_left_alone(make: Any) -> None:
    share_own_keys(KEY)
    own = make("a", request_state_security=RequestStateSecurity(keys=[OWN]))
    assert opens(make("a", request_state_security=RequestStateSecurity(keys=[OWN])), own)
    assert not opens(make("a"), own)


@pytest.mark.parametrize("make", [MCPServer, FastMCP])
def test_an_authors_own_audience_is_left_alone(make: Any) -> None:
    own = make(request_state_security=RequestStateSecurity(keys=[OWN], audience="mine-0123"))
    share_request_state(own, settings())
    assert boundary(own)._audience == "mine-0123"


@pytest.mark.parametrize("make", [MCPServer, FastMCP])
def test_an_author_who_asks_for_it_gets_it(make: Any) -> None:
    servers = [make("a"), make("a", request_state_security=RequestStateSecurity(keys=[OWN]))]
    for server in servers:
        share_request_state(server, settings())
    assert opens(*servers)


def test_a_key_is_of_one_cluster() -> None:
    of_clusters = (settings(), settings(key_prefix="other"), Settings.load(secret=SECRET + "2"))
    keys = {key for chosen in of_clusters for key in keys_of(chosen)}
    assert len(keys) == 3
    assert keys_of(Settings.load()) == []
    assert SECRET.encode() not in keys


def test_while_the_secret_is_changed_each_opens_what_the_next_seals() -> None:
    new = "a new secret for the same cluster"
    servers = []
    for secret in (SECRET, f"{SECRET}\n{new}", f"{new}\n{SECRET}", new):
        servers.append(MCPServer("a"))
        share_request_state(servers[-1], Settings.load(secret=secret))
    for before, after in pairwise(servers):
        assert opens(before, after)
        assert opens(after, before)
    assert not opens(servers[0], servers[-1])


def test_without_a_secret_there_is_nothing_to_share() -> None:
    servers = MCPServer("a"), MCPServer("a")
    for server in servers:
        share_request_state(server, Settings.load())
    assert not opens(*servers)
    with pytest.raises(SettingsError, match="secret"):
        share_request_state(MCPServer("a"), Settings.load(redis_url="redis://h"))


def test_a_server_that_seals_nothing_is_said_to(caplog: pytest.LogCaptureFixture) -> None:
    share_request_state(object(), settings())
    assert "seals no requestState" in caplog.text


SCRIPT = """
import json, sys
from mooring.hosting.request_state import share_own_keys, _boundaries
share_own_keys(b"not this one, of 32 bytes or more")
share_own_keys(b"k" * 32)
assert "mcp" not in sys.modules
from mcp.server.mcpserver import MCPServer
(found,) = _boundaries(MCPServer("a"))
print(json.dumps(found._security.codec.seal(b"progress")))
"""


@pytest.mark.real
def test_the_sdk_is_waited_for_until_it_is_loaded() -> None:
    """As in `mooring serve`, which knows no SDK until the target brings one."""
    printed = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, check=True, timeout=60)
    share_own_keys(KEY)
    here = MCPServer("a")
    assert boundary(here)._security.codec.unseal(json.loads(printed.stdout)) == b"progress"
