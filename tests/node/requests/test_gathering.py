"""Logins at OAuth servers inside the app, over three nodes, with a random node for each request."""

from __future__ import annotations

import base64
import hashlib
import random
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import fastmcp
import pytest
from fastmcp.server.auth.providers.in_memory import InMemoryOAuthProvider
from mcp.server.auth.settings import AuthSettings, ClientRegistrationOptions
from mcp.server.mcpserver import MCPServer
from pydantic import AnyHttpUrl
from starlette.applications import Starlette

from mooring.asgi import App
from tests.cluster_in_process import RunningNode, running_nodes
from tests.node.apps import ScriptedApp
from tests.node.http_sse_streams import streaming
from tests.node.rpc import INITIALIZE, RawClient
from tests.waiting import until

_BASE = "http://127.0.0.1:9"
_BACK = "http://127.0.0.1:1/back"
_REGISTRATION = {
    "redirect_uris": [_BACK],
    "grant_types": ["authorization_code", "refresh_token"],
    "response_types": ["code"],
    "token_endpoint_auth_method": "client_secret_post",
    "client_name": "raw",
}


def _provider() -> InMemoryOAuthProvider:
    return InMemoryOAuthProvider(base_url=_BASE, client_registration_options=ClientRegistrationOptions(enabled=True))


def _whoami() -> str:
    return "somebody"


def _fastmcp_app() -> App:
    server = fastmcp.FastMCP("test", auth=_provider())
    server.tool()(_whoami)
    return server.http_app(path="/mcp")


def _sdk_app() -> App:
    url = AnyHttpUrl(f"{_BASE}/mcp")
    auth = AuthSettings(
        issuer_url=AnyHttpUrl(_BASE),
        resource_server_url=url,
        validate_token_resource=False,
        client_registration_options=ClientRegistrationOptions(enabled=True),
    )
    server = MCPServer("test", auth_server_provider=_provider(), auth=auth)
    server.tool()(_whoami)
    return server.streamable_http_app()


def _late_app() -> App:
    """Has its routes once it has started."""
    inner: Any = _fastmcp_app()

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        app.mount("/", inner)
        async with inner.router.lifespan_context(inner):
            yield

    return Starlette(lifespan=lifespan)


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as http:
        yield http


async def _login(
    http: aiohttp.ClientSession, nodes: Sequence[RunningNode], *, in_turn: bool = False
) -> tuple[int, str]:
    """A whole login, as the SDK's clients do it; the status at which it ended, and the access token."""
    urls = iter([(nodes[n % len(nodes)] if in_turn else random.choice(nodes)).url for n in range(4)])
    async with http.get(f"{next(urls)}/.well-known/oauth-authorization-server") as answer:
        assert answer.status == 200
    async with http.post(f"{next(urls)}/register", json=_REGISTRATION) as answer:
        client = await answer.json()
        assert answer.status == 201, client
    verifier = secrets.token_urlsafe(48)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    asked = {
        "response_type": "code",
        "client_id": client["client_id"],
        "redirect_uri": _BACK,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
        "state": "s",
    }
    async with http.get(f"{next(urls)}/authorize", params=asked, allow_redirects=False) as answer:
        if answer.status != 302:
            return answer.status, ""
        code = parse_qs(urlsplit(answer.headers["location"]).query)["code"][0]
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": _BACK,
        "client_id": client["client_id"],
        "client_secret": client["client_secret"],
        "code_verifier": verifier,
    }
    async with http.post(f"{next(urls)}/token", data=form) as answer:
        token = await answer.json()
        return answer.status, token.get("access_token", "")


@pytest.mark.parametrize("make_app", [_fastmcp_app, _sdk_app, _late_app])
async def test_ten_logins_work_whichever_node_each_request_reaches(
    make_app: Callable[[], App], http: aiohttp.ClientSession, raw: RawClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="mooring")
    async with running_nodes(make_app, one_node_paths="login,/mcp") as nodes:
        for _ in range(10):
            status, token = await _login(http, nodes)
            assert status == 200
            bearer = {"authorization": f"Bearer {token}"}
            session = await raw.open(random.choice(nodes).url, headers=bearer)
            for node in nodes:
                reply = await raw.send("POST", f"{node.url}/mcp", session=session, body=_CALL, headers=bearer)
                assert reply.status == 200
                assert reply.json["result"]["content"][0]["text"] == "somebody"
        assert [len(node.mooring._node.sessions) for node in nodes] == [10, 0, 0]
    said = [record.getMessage() for record in caplog.records if "the app keeps logins" in record.getMessage()]
    assert len(said) == 3
    assert "/authorize /token /register" in said[0]


_CALL: dict[str, Any] = {
    "jsonrpc": "2.0",
    "id": 2,
    "method": "tools/call",
    "params": {"name": "_whoami", "arguments": {}},
}


async def test_a_token_in_memory_is_known_on_one_node_alone(http: aiohttp.ClientSession, raw: RawClient) -> None:
    """What the documentation says of such servers: the login works, and its token not on every node."""
    async with running_nodes(_fastmcp_app) as nodes:
        status, token = await _login(http, nodes)
        assert status == 200
        bearer = {"authorization": f"Bearer {token}"}
        statuses = [
            (await raw.send("POST", f"{node.url}/mcp", body=INITIALIZE, headers=bearer)).status for node in nodes
        ]
        assert sorted(statuses) == [200, 401, 401]


async def test_without_the_setting_a_login_fails_that_meets_two_nodes(http: aiohttp.ClientSession) -> None:
    async with running_nodes(_fastmcp_app, one_node_paths="") as nodes:
        for node in nodes:
            assert (await _login(http, [node]))[0] == 200
        assert [await _login(http, nodes, in_turn=True) for _ in range(3)] == [(400, "")] * 3


async def test_another_node_takes_over_when_the_one_dies(http: aiohttp.ClientSession) -> None:
    async with running_nodes(_fastmcp_app) as nodes:
        assert (await _login(http, nodes))[0] == 200
        await nodes[0].vanish()

        async def works() -> bool:
            async with http.post(f"{nodes[1].url}/register", json=_REGISTRATION) as answer:
                return answer.status == 201

        await until(works, what="the next node's turn")
        assert [(await _login(http, nodes[1:]))[0] for _ in range(3)] == [200] * 3


async def test_a_silent_node_is_answered_as_a_failure_that_may_pass(http: aiohttp.ClientSession) -> None:
    async with running_nodes(_fastmcp_app, 2, hold_seconds=0.2, lease_seconds=60.0) as nodes:
        await nodes[0].vanish()
        async with http.post(f"{nodes[1].url}/register", json=_REGISTRATION) as answer:
            assert answer.status == 503
            assert answer.headers["retry-after"] == "3"
            assert "try again" in await answer.text()


async def test_paths_of_the_settings_go_to_one_node_whether_endpoints_are_found_or_not(
    http: aiohttp.ClientSession,
) -> None:
    apps: list[ScriptedApp] = []

    def make_app() -> ScriptedApp:
        apps.append(ScriptedApp())
        return apps[-1]

    async with running_nodes(make_app, one_node_paths="/jobs/*", find_endpoints=False) as nodes:
        for node in nodes:
            for method, headers in [("GET", {}), ("POST", {"mcp-protocol-version": "2026-07-28"}), ("PUT", {})]:
                url = f"{node.url}/jobs/1?q=%20"
                async with http.request(method, url, data=b"x" * 100_000, headers=headers) as answer:
                    assert (answer.status, await answer.text()) == (200, '{"other": true}')
            async with http.get(f"{node.url}/elsewhere") as answer:
                assert answer.status == 200
    assert [len(app.asked) for app in apps] == [10, 1, 1]
    assert {scope["query_string"] for scope in apps[0].scopes} == {b"q=%20", b""}
    assert not any(name.startswith(b"mooring") for scope in apps[0].scopes for name, _ in scope["headers"])


def _stream_app() -> App:
    server = fastmcp.FastMCP("test", auth=_provider())
    server.tool()(_whoami)
    return server.http_app(transport="sse")


async def test_streams_of_the_older_transport_go_with_the_logins_where_their_tokens_are_in_memory(
    http: aiohttp.ClientSession,
) -> None:
    async with running_nodes(_stream_app, one_node_paths="login,/sse,/messages") as nodes:
        for _ in range(3):
            status, token = await _login(http, nodes)
            assert status == 200
            bearer = {"authorization": f"Bearer {token}"}
            async with streaming(http, random.choice(nodes).url, headers=bearer) as client:
                await client.initialize(random.choice(nodes).url, headers=bearer)
                for node in nodes:
                    result = await client.call(node.url, "tools/call", _CALL["params"], headers=bearer)
                    assert result["content"][0]["text"] == "somebody"
