"""The seal of `requestState`, held against the SDK and FastMCP: one key for all nodes, and no author's key lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import pairwise
from typing import Any

import pytest
from fastmcp import FastMCP
from mcp.server.mcpserver import MCPServer, RequestStateSecurity

from mooring.errors import SettingsError
from mooring.hosting.request_state import _boundaries, keys_of, share_own_keys, share_request_state, watch_for_own_keys
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
def watched() -> None:
    watch_for_own_keys()


@pytest.mark.parametrize("make", [lambda: MCPServer("a"), MCPServer, lambda: FastMCP("a"), FastMCP])
def test_two_nodes_open_what_the_other_has_sealed(make: Any) -> None:
    first, second = make(), make()
    assert not opens(second, first)
    for server in (first, second):
        share_own_keys(server, KEY)
    assert opens(second, first)
    assert opens(first, second)


@pytest.mark.parametrize("make", [MCPServer, FastMCP])
def test_an_authors_own_key_is_left_alone(make: Any) -> None:
    server = make("a", request_state_security=RequestStateSecurity(keys=[OWN]))
    share_own_keys(server, KEY)
    assert opens(make("a", request_state_security=RequestStateSecurity(keys=[OWN])), server)


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


@pytest.mark.parametrize(
    ("lines", "warned"),
    [
        ("server = MCPServer('a')", True),
        ("server = MCPServer('a'); share_own_keys(server, b'k' * 32)", False),
        ("server = MCPServer('a'); mooring.share_request_state(server)", False),
        (f"server = MCPServer('a', request_state_security=RequestStateSecurity(keys=[{OWN!r}]))", False),
        ("", False),
    ],
)
@pytest.mark.real
def test_an_app_whose_server_has_a_key_of_its_own_is_warned_of(lines: str, warned: bool) -> None:
    script = f"""
import logging, mooring
from mooring.hosting.request_state import share_own_keys, warn_of_own_keys, watch_for_own_keys
logging.basicConfig()
watch_for_own_keys()
from mcp.server.mcpserver import MCPServer, RequestStateSecurity
{lines}
warn_of_own_keys()
"""
    environment = {**os.environ, "MOORING_SECRET": SECRET}
    ended = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert ("mooring.share_request_state(server)" in ended.stderr) is warned


SCRIPT = """
import json, sys
from mooring.hosting.request_state import watch_for_own_keys, share_own_keys, _boundaries
watch_for_own_keys()
watch_for_own_keys()
assert "mcp" not in sys.modules
from mcp.server.mcpserver import MCPServer
server = MCPServer("a")
share_own_keys(server, b"k" * 32)
(found,) = _boundaries(server)
print(json.dumps(found._security.codec.seal(b"progress")))
"""


@pytest.mark.real
def test_the_sdk_is_watched_for_before_it_is_loaded() -> None:
    """As in `mooring serve`, which knows no SDK until the target brings one."""
    printed = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, check=True, timeout=60)
    here = MCPServer("a")
    share_own_keys(here, KEY)
    assert boundary(here)._security.codec.unseal(json.loads(printed.stdout)) == b"progress"
