"""Whose session is whose, in apps that are not the SDKs', or that are built around them in some other way."""

from __future__ import annotations

import importlib
import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, AuthenticationBackend, SimpleUser
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import HTTPConnection
from starlette.routing import Route

from mooring import ClosedSession
from mooring.asgi import App, Message, Receive, Scope, Send
from mooring.store import MemoryStore
from tests.cluster_in_process import running_node, running_nodes
from tests.node.apps import ScriptedApp, answer
from tests.node.direct import Request
from tests.node.rpc import RawClient
from tests.node.wrongs import ALICE, BOB, NOBODY, STRANGER, People, call_of
from tests.servers.people import authenticated, make_app

OTHERS = pytest.mark.parametrize("who", [BOB, STRANGER, NOBODY], ids=["bob", "stranger", "nobody"])
METHODS = ("POST", "GET", "PATCH", "DELETE")


def session_in(scope: Scope) -> str | None:
    return next((value.decode() for name, value in scope["headers"] if name == b"mcp-session-id"), None)


class HastyApp(ScriptedApp):
    """Does what it is asked to, by method and session id, before it reads a byte.

    Attributes:
        done: what it did, and to which session.
        refusal: what it answers where it misses the session id.
    """

    def __init__(self, refusal: int = 400) -> None:
        super().__init__()
        self.done: list[tuple[str, str]] = []
        self.refusal = refusal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self.sessions:
            await self._act(scope["method"], session_in(scope), send)
        else:
            await super().__call__(scope, receive, send)

    async def _act(self, method: str, session_id: str | None, send: Send) -> None:
        if session_id is None:
            await answer(send, self.refusal, b"{}")
            return
        self.done.append((method, session_id))
        await answer(send, 200, b"{}", session_id)


class ReadsFirst:
    """Reads the body before anybody has authenticated, as a middleware that logs does."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        messages: list[Message] = [await receive()]
        while messages[-1].get("more_body", False):
            messages.append(await receive())

        async def replay() -> Message:
            return messages.pop(0) if messages else await receive()

        await self._app(scope, replay, send)


class CopiesScope:
    """Hands on a copy of the scope, so that what is put into it later is not seen outside."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(dict(scope), receive, send)


class Renames:
    """Has another name for each session than the SDK behind it."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_renamed(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    (name, b"our-" + value if name == b"mcp-session-id" else value)
                    for name, value in message["headers"]
                ]
            await send(message)

        if scope["type"] == "http":
            headers = [(name, value.removeprefix(b"our-")) for name, value in scope["headers"]]
            scope = {**scope, "headers": headers}
        await self._app(scope, receive, send_renamed)


class GivesNames(AuthenticationBackend):
    """Everybody has this one name, whoever they are."""

    def __init__(self, name: str) -> None:
        self._name = name

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, SimpleUser]:
        return AuthCredentials(), SimpleUser(self._name)


def all_named(name: str) -> Callable[[App], App]:
    return lambda app: AuthenticationMiddleware(app, backend=GivesNames(name))


# Apps of any kind.


@OTHERS
@pytest.mark.parametrize("body", [None, b"{}"], ids=["no body", "a body"])
async def test_an_app_that_acts_before_it_reads_is_not_told_of_the_session(
    who: dict[str, str], body: bytes | None, raw: RawClient
) -> None:
    app, store = HastyApp(), MemoryStore()
    async with running_node(authenticated(app), store) as node:
        session = await raw.open(node.url, headers=ALICE)
        for method in METHODS:
            reply = await raw.send(method, f"{node.url}/mcp", session=session, body=body, headers=who)
            assert (reply.status, reply.reason) == (404, "unknown")
        assert app.done == []
        assert await store.load_session(session) is not None
        for method in METHODS:
            reply = await raw.send(method, f"{node.url}/mcp", session=session, body=body, headers=ALICE)
            assert (reply.status, reply.session_id) == (200, session)
        assert app.done == [(method, "inner-1") for method in METHODS]


@pytest.mark.parametrize("method", ["delete", "post", "Get"])
async def test_whatever_the_case_of_its_method_a_request_is_not_told_of_the_session(
    method: str, raw: RawClient
) -> None:
    app, store = HastyApp(), MemoryStore()
    async with running_node(authenticated(app), store) as node:
        session = await raw.open(node.url, headers=ALICE)
        for who in (BOB, NOBODY):
            headers = [(name.encode(), value.encode()) for name, value in who.items()]
            asked = await Request(method, session=session, headers=headers).to(node.mooring)
            assert (asked.status, asked.reason) == (404, "unknown")
        assert app.done == []
        assert await store.load_session(session) is not None


@OTHERS
@pytest.mark.parametrize("refusal", [400, 404, 405, 406, 409, 422])
async def test_whatever_it_answers_for_want_of_a_session_the_session_is_unknown(
    refusal: int, who: dict[str, str], raw: RawClient
) -> None:
    app = HastyApp(refusal)
    async with running_node(authenticated(app), MemoryStore()) as node:
        session = await raw.open(node.url, headers=ALICE)
        for method in METHODS:
            assert (await raw.send(method, f"{node.url}/mcp", session=session, headers=who)).reason == "unknown"


@pytest.mark.parametrize("status", [401, 403, 413, 421, 429, 500, 503])
async def test_what_may_be_said_to_anybody_is_said(status: int, raw: RawClient) -> None:
    """It may be the principal who hears it: with a token that is no longer valid, or too soon, or in a bad moment."""
    app, store = HastyApp(status), MemoryStore()
    async with running_node(authenticated(app), store) as node:
        session = await raw.open(node.url, headers=ALICE)
        for method in METHODS:
            assert (await raw.send(method, f"{node.url}/mcp", session=session, headers=STRANGER)).status == status
        assert await store.load_session(session) is not None


async def test_an_app_that_raises_ends_nothing_for_somebody_else(raw: RawClient) -> None:
    async def crash(scope: Scope, body: bytes, send: Send) -> None:
        raise RuntimeError("the app's own bug")

    app, store = ScriptedApp(), MemoryStore()
    async with running_node(authenticated(app), store) as node:
        session = await raw.open(node.url, headers=ALICE)
        app.unread = crash
        url = f"{node.url}/mcp"
        assert (await raw.send("DELETE", url, session=session, headers=BOB)).status == 500
        assert await store.load_session(session) is not None
        assert (await raw.send("DELETE", url, session=session, headers=ALICE)).status == 500
        assert await store.load_session(session) is None


@OTHERS
async def test_the_body_may_be_read_before_anybody_has_authenticated(who: dict[str, str], raw: RawClient) -> None:
    app = ScriptedApp()
    async with running_node(ReadsFirst(authenticated(app)), MemoryStore()) as node:
        session = await raw.open(node.url, headers=ALICE)
        for method in ("POST", "GET"):
            assert (await raw.send(method, f"{node.url}/mcp", session=session, headers=ALICE)).status == 200
            assert app.asked[-1][:2] == (method, "inner-1")
        app.asked.clear()
        for method in METHODS:
            assert (await raw.send(method, f"{node.url}/mcp", session=session, headers=who)).reason == "unknown"
        assert {inner_id for _, inner_id, _ in app.asked} <= {None}
        assert app.sessions == {"inner-1"}


async def test_who_is_there_only_in_a_copy_of_the_scope_is_nobody_to_us(raw: RawClient) -> None:
    """The session is nobody's then, and the app's to guard: `docs/embedding.md` says so."""
    app, store = ScriptedApp(), MemoryStore()
    async with running_node(CopiesScope(authenticated(app)), store) as node:
        session = await raw.open(node.url, headers=ALICE)
        record = await store.load_session(session)
        assert record is not None
        assert record.principal == ""
        assert (await raw.call(node.url, session, headers=ALICE)).status == 200


async def test_a_stranger_does_not_keep_a_session_from_being_forgotten(raw: RawClient) -> None:
    app = HastyApp()
    async with running_node(authenticated(app), MemoryStore()) as node:
        session = await raw.open(node.url, headers=ALICE)
        local = node.mooring._node.sessions.find(session)
        assert local is not None
        seen = local.last_seen
        for who in (BOB, NOBODY):
            for method in METHODS:
                await raw.send(method, f"{node.url}/mcp", session=session, headers=who)
        assert (local.last_seen, local.ends_as) == (seen, "ended")
        await raw.call(node.url, session, headers=ALICE)
        assert local.last_seen > seen


async def test_an_sdks_session_of_another_name_is_nobodys_too_where_the_scope_was_copied(raw: RawClient) -> None:
    store = MemoryStore()
    async with running_node(Renames(make_app("v2", "starlette")), store) as node:
        people = People(raw, [node.url])
        session = await people.open(ALICE)
        record = await store.load_session(session)
        assert record is not None
        assert record.principal == ""
        assert (await people.count(session, ALICE)).status == 200


# Apps around an SDK's.


@pytest.mark.parametrize("sdk", ["v2", "fastmcp"])
async def test_the_sdk_says_who_asks_also_where_the_scope_was_copied(sdk: Any, raw: RawClient) -> None:
    async with running_nodes(lambda: CopiesScope(make_app(sdk, "starlette")), 2) as nodes:
        people = People(raw, [node.url for node in nodes])
        for who in (BOB, NOBODY):
            await people.try_everything(who, 404)


async def test_an_sdks_body_may_be_read_before_anybody_has_authenticated(raw: RawClient) -> None:
    async with running_node(ReadsFirst(make_app("v2", "starlette")), MemoryStore()) as node:
        people = People(raw, [node.url])
        for who in (BOB, NOBODY):
            await people.try_everything(who, 404)


async def test_an_sdk_whose_sessions_go_by_other_names_outside_is_treated_as_any_other_app(raw: RawClient) -> None:
    async with running_nodes(lambda: authenticated(Renames(make_app("v2", "nobody"))), 2) as nodes:
        people = People(raw, [node.url for node in nodes])
        for who in (BOB, NOBODY):
            await people.try_everything(who, 404)


async def test_an_sdk_that_does_not_ask_is_treated_as_any_other_app(
    raw: RawClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    transport = importlib.import_module("mcp.server.streamable_http_manager").StreamableHTTPServerTransport
    unguarded = transport.handle_request
    while hasattr(unguarded, "__wrapped__"):
        unguarded = unguarded.__wrapped__
    monkeypatch.setattr(transport, "handle_request", unguarded)
    closed: list[ClosedSession] = []
    async with running_node(make_app("v2", "starlette"), MemoryStore()) as node:
        node.mooring.on_close(closed.append)
        people = People(raw, [node.url])
        for who in (BOB, NOBODY):
            await people.try_everything(who, 404)
        assert {session.reason for session in closed} == {"deleted"}


@OTHERS
async def test_another_path_to_the_same_sessions_is_guarded_as_well(who: dict[str, str], raw: RawClient) -> None:
    """Mooring leaves it alone, but for the sessions, which are asked for by their public ids."""
    inner = make_app("v2", "nobody")
    assert isinstance(inner, Starlette)
    endpoint = next(route.endpoint for route in inner.routes if isinstance(route, Route) and route.path == "/mcp")
    inner.router.routes.append(Route("/elsewhere", endpoint=endpoint))
    async with running_node(authenticated(inner), MemoryStore()) as node:
        people = People(raw, [node.url])
        session = await people.open(ALICE)
        for method, body in (("POST", call_of("count")), ("GET", None), ("DELETE", None)):
            reply = await raw.send(method, f"{node.url}/elsewhere", session=session, body=body, headers=who)
            assert (reply.status, reply.reason) == (404, "unknown")
        assert await people.ledger() == []
        assert node.mooring._node.tally.refused["principal"] == 3
        url = f"{node.url}/elsewhere"
        assert (await raw.send("POST", url, session=session, body=call_of("count"), headers=ALICE)).status == 200
        assert await people.ledger() == ["counted"]


@pytest.mark.parametrize("names", [("gate-1", "gate-2"), ("n" * 3000, "n" * 3000)], ids=["two", "a long one"])
async def test_whom_the_first_node_knows_decides_nothing(names: tuple[str, str], raw: RawClient) -> None:
    """Around Mooring each node has a name of its own for everybody; who somebody really is, the app finds out."""
    store = MemoryStore()
    async with (
        running_node(make_app("v2", "bearer"), store, "node-1", around=all_named(names[0])) as first,
        running_node(make_app("v2", "bearer"), store, "node-2", around=all_named(names[1])) as second,
    ):
        for node in (first, second):
            await node.mooring._node.keeper.beat()
        people = People(raw, [second.url, first.url])
        await people.try_everything(BOB, 404)
        await people.try_everything(NOBODY, 401)


async def test_a_refusal_is_logged_without_the_session_id(raw: RawClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "mooring")
    async with running_node(make_app("v2", "starlette"), MemoryStore()) as node:
        people = People(raw, [node.url])
        session = await people.open(NOBODY)
        await people.count(session, ALICE)
        await people.count(session, BOB)
    said = [record.getMessage() for record in caplog.records if record.name == "mooring.sessions"]
    assert any("belongs to whoever signed in" in line for line in said)
    assert any("belongs to another principal" in line for line in said)
    assert session not in json.dumps(said)
