"""What a browser lets a page from another origin read of Mooring's own answers; Starlette's middleware is the app's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import StreamingResponse

from mooring.asgi import App, HeaderList, Receive, Scope, Send
from mooring.core.routing import Reason
from mooring.node.requests.answers import refuse
from mooring.store import MemoryStore
from tests.cluster_in_process import running_node
from tests.node.apps import ScriptedApp
from tests.node.apps import answer as respond_with
from tests.node.direct import Request, initialize, joined
from tests.node.rpc import RawClient

PAGE, OTHER = b"https://page.example", b"https://other.example"
ALLOW = b"access-control-allow-origin"
EXPOSE, EXPOSED = b"access-control-expose-headers", b"Mcp-Session-Id, Mcp-Protocol-Version, WWW-Authenticate"


def opened(app: App, **options: object) -> App:
    return CORSMiddleware(app, allow_origins=[PAGE.decode()], allow_methods=["*"], **options)  # type: ignore[arg-type]


def from_page(origin: bytes = PAGE, session: str = "forged", method: str = "POST", path: str = "/mcp") -> Request:
    return Request(method, path, session=session, headers=[(b"origin", origin), (b"host", b"mcp.example")])


def cors(request: Request) -> dict[bytes, bytes]:
    pairs: HeaderList = request.sent[0]["headers"]
    found = [(name.lower(), value) for name, value in pairs if name.lower().startswith(b"access-control-")]
    assert len(found) == len(dict(found)), "a header is there twice"
    return dict(found)


@pytest.mark.parametrize(("method", "path"), [("POST", "/mcp"), ("GET", "/healthz"), ("GET", "/readyz")])
async def test_an_origin_that_the_app_allows_may_read_why(app: ScriptedApp, method: str, path: str) -> None:
    async with joined(opened(app, allow_credentials=True)) as mooring:
        answer = await from_page(method=method, path=path).to(mooring)
        assert cors(answer) == {
            ALLOW: PAGE,
            b"access-control-allow-credentials": b"true",
            EXPOSE: EXPOSED,
        }
        assert answer.headers[b"vary"] == b"Origin"
        assert not cors(await from_page(OTHER, method=method, path=path).to(mooring))


async def test_an_app_that_allows_nobody_opens_nothing(app: ScriptedApp) -> None:
    async with joined(app) as mooring:
        refused = await from_page().to(mooring)
        assert (refused.status, refused.reason) == (404, "forged")
        assert not cors(refused)


@pytest.mark.parametrize(
    ("setting", "origin", "allowed"),
    [
        (PAGE.decode(), PAGE, PAGE),
        (f"https://a.example,{PAGE.decode()}", PAGE, PAGE),
        (PAGE.decode(), OTHER, None),
        (PAGE.decode(), PAGE + b".evil.example", None),
        ("*", OTHER, b"*"),
    ],
)
async def test_the_setting_comes_before_the_app(
    app: ScriptedApp, setting: str, origin: bytes, allowed: bytes | None
) -> None:
    async with joined(opened(app), cors_origins=setting) as mooring:
        assert cors(await from_page(origin).to(mooring)).get(ALLOW) == allowed


def preflight(origin: bytes = PAGE, path: str = "/mcp", asks_for: bytes = b"content-type,mcp-session-id") -> Request:
    request = from_page(origin, method="OPTIONS", path=path)
    request.scope["headers"] += [
        (b"access-control-request-method", b"POST"),
        (b"access-control-request-headers", asks_for),
    ]
    return request


async def test_the_setting_opens_an_app_that_knows_nothing_of_pages(app: ScriptedApp) -> None:
    """Its preflights, which most apps refuse, and its answers."""
    async with joined(app, cors_origins=PAGE.decode()) as mooring:
        asked = await preflight().to(mooring)
        assert (asked.status, app.scopes) == (200, [])
        assert cors(asked) == {
            ALLOW: PAGE,
            b"access-control-allow-methods": b"GET, POST, DELETE",
            b"access-control-allow-headers": b"content-type,mcp-session-id",
            b"access-control-max-age": b"600",
        }
        opened_there = await initialize(headers=[(b"origin", PAGE)]).to(mooring)
        assert opened_there.status == 200
        assert cors(opened_there)[ALLOW] == PAGE
        assert b"Mcp-Session-Id" in cors(opened_there)[b"access-control-expose-headers"]


async def test_the_setting_opens_nothing_else(app: ScriptedApp) -> None:
    """Neither to other origins, nor what else the app has."""
    async with joined(app, cors_origins=PAGE.decode()) as mooring:
        assert not cors(await preflight(OTHER).to(mooring))
        assert not cors(await initialize(headers=[(b"origin", OTHER)]).to(mooring))
        assert not cors(await preflight(path="/elsewhere").to(mooring))
        assert not cors(await from_page(method="GET", path="/elsewhere").to(mooring))
    assert [scope["path"] for scope in app.scopes] == ["/mcp", "/mcp", "/elsewhere", "/elsewhere"]


async def test_without_the_setting_the_apps_own_answers_are_its_own(app: ScriptedApp) -> None:
    async with joined(app) as mooring:
        answer = await initialize(headers=[(b"origin", PAGE)]).to(mooring)
        assert answer.status == 200
        assert not cors(answer)


async def test_what_the_app_says_stands(app: ScriptedApp) -> None:
    async with joined(opened(app, allow_credentials=True), cors_origins=f"{PAGE.decode()},{OTHER.decode()}") as mooring:
        answer = await initialize(headers=[(b"origin", PAGE), (b"cookie", b"a=b")]).to(mooring)
        assert cors(answer) == {ALLOW: PAGE, b"access-control-allow-credentials": b"true", EXPOSE: EXPOSED}
        answer = await initialize(headers=[(b"origin", OTHER)]).to(mooring)
        assert cors(answer)[ALLOW] == OTHER
        assert b"access-control-allow-credentials" not in cors(answer), "the app gives them to its own origins alone"


@pytest.mark.parametrize(
    ("options", "is_told"),
    [({}, True), ({"expose_headers": ["x-a", "MCP-Session-Id"]}, False), ({"expose_headers": ["*"]}, False)],
)
async def test_an_app_that_does_not_show_pages_their_sessions_is_told_once(
    app: ScriptedApp, options: dict[str, list[str]], is_told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async with joined(opened(app, **options)) as mooring:
        for _ in range(2):
            answer = await initialize(headers=[(b"origin", PAGE)]).to(mooring)
            assert cors(answer).get(EXPOSE, b"").decode().split(", ") == options.get("expose_headers", [""])
    assert caplog.text.count("expose Mcp-Session-Id, or set cors_origins") == is_told


@pytest.mark.parametrize("by_setting", [True, False])
async def test_a_page_of_an_operator_may_read_the_status_page(app: ScriptedApp, by_setting: bool) -> None:
    """It sends a token, so that a browser asks before."""
    token = "sixteen-or-more-of-them"
    around, origins = (app, PAGE.decode()) if by_setting else (opened(app, allow_headers=["authorization"]), "")
    async with joined(around, status_token=token, cors_origins=origins) as mooring:
        asked = await preflight(path="/mooring/status", asks_for=b"authorization").to(mooring)
        assert (asked.status, cors(asked)[ALLOW]) == (200, PAGE)
        assert b"authorization" in cors(asked)[b"access-control-allow-headers"].lower()
        for sent, status in ((token, 200), ("another-of-that-length", 401)):
            page = Request("GET", "/mooring/status", headers=[(b"origin", PAGE)])
            page.scope["headers"].append((b"authorization", f"Bearer {sent}".encode()))
            assert ((await page.to(mooring)).status, cors(page)[ALLOW]) == (status, PAGE)


async def test_options_that_are_no_preflight_are_of_no_session(app: ScriptedApp) -> None:
    """The SDK's refusal names a session that it has thrown away."""

    async def refusing(scope: Scope, body: bytes, send: Send) -> None:
        await respond_with(send, 405, b"", "inner-9")

    app.unread = refusing
    async with joined(app) as mooring:
        answer = await Request("OPTIONS", session="whatever").to(mooring)
        assert answer.status == 405
        assert b"mcp-session-id" not in answer.headers
        assert b"mcp-session-id" not in dict(app.scopes[-1]["headers"])


async def test_what_the_owner_says_by_its_port_for_peers_may_be_read(raw: RawClient) -> None:
    store = MemoryStore()
    async with (
        running_node(opened(ScriptedApp()), store, "node-1", peer_ports="any") as owner,
        running_node(opened(ScriptedApp()), store, "node-2", peer_ports="any") as other,
    ):
        await other.mooring._node.keeper.beat()
        session = await raw.open(owner.url)
        await raw.send("DELETE", f"{owner.url}/mcp", session=session)
        for node in (owner, other):
            refused = await raw.call(node.url, session, headers={"origin": PAGE.decode()})
            assert (refused.status, refused.reason) == (404, "expired")
            assert refused.headers.getall("access-control-allow-origin") == [PAGE.decode()]


async def test_who_is_no_page_gets_no_such_headers(app: ScriptedApp) -> None:
    async with joined(opened(app), cors_origins="*") as mooring:
        assert not cors(await Request(session="forged").to(mooring))


async def test_a_preflight_reaches_the_app_whatever_becomes_of_the_request(app: ScriptedApp) -> None:
    async with joined(opened(app)) as mooring:
        asked = await preflight(asks_for=b"content-type").to(mooring)
        assert asked.status == 200
        assert cors(asked)[ALLOW] == PAGE
        assert app.scopes == []


async def test_an_app_is_asked_once_for_each_origin(app: ScriptedApp) -> None:
    asked: list[str] = []
    within = opened(app)

    async def counting(scope: Scope, receive: Receive, send: Send) -> None:
        asked.append(scope["type"] if scope["type"] != "http" else scope["method"])
        await within(scope, receive, send)

    async with joined(counting) as mooring:
        for origin in (PAGE, OTHER, PAGE, OTHER):
            await from_page(origin).to(mooring)
    assert asked.count("OPTIONS") == 2


async def test_an_app_that_failed_is_asked_again() -> None:
    asked: list[bytes] = []

    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        asked.append(dict(scope["headers"])[b"origin"])
        raise RuntimeError("no preflights here")

    async with joined(failing) as mooring:
        for _ in range(3):
            assert not cors(await from_page().to(mooring))
    assert asked == [PAGE] * 3


@pytest.mark.parametrize("forever", [False, True])
async def test_an_app_that_streams_its_answer_to_a_preflight_holds_nothing(forever: bool) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"a piece"
        if forever:
            await asyncio.Event().wait()

    async def streaming(scope: Scope, receive: Receive, send: Send) -> None:
        await StreamingResponse(pieces())({**scope, "asgi": {"spec_version": "2.3"}}, receive, send)

    async with joined(streaming) as mooring:
        async with asyncio.timeout(5):
            assert (await from_page().to(mooring)).reason == "forged"


async def test_what_an_app_says_of_one_path_is_not_taken_for_another(app: ScriptedApp) -> None:
    within = opened(app)

    async def split(scope: Scope, receive: Receive, send: Send) -> None:
        await (within if scope["path"].startswith("/mcp") else app)(scope, receive, send)

    async with joined(split) as mooring:
        assert not cors(await from_page(method="GET", path="/healthz").to(mooring))
        assert cors(await from_page().to(mooring))[ALLOW] == PAGE


async def test_what_mooring_says_within_the_app_gets_no_second_headers() -> None:
    """As where a session's guard refuses, inside an SDK: the app's middleware sees that answer first."""

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        await refuse(send, Reason.PRINCIPAL)

    async with joined(opened(guarded)) as mooring:
        for path in ("/mcp", "/elsewhere"):
            answer = await initialize(path=path, headers=[(b"origin", PAGE)]).to(mooring)
            assert (answer.status, cors(answer)) == (404, {ALLOW: PAGE})


async def test_headers_that_something_around_mooring_adds_are_not_doubled(app: ScriptedApp) -> None:
    async with joined(app) as mooring:
        answer = await from_page().to(opened(mooring))
        assert cors(answer)[ALLOW] == PAGE


async def test_nobody_is_asked_for_an_origin_as_long_as_a_book(app: ScriptedApp) -> None:
    """Of a thousand it is known what the app says, and a client writes there what it likes."""
    async with joined(CORSMiddleware(app, allow_origins=["*"])) as mooring:
        assert cors(await from_page(b"https://" + b"a" * 200).to(mooring))[ALLOW] == b"*"
        assert not cors(await from_page(b"https://" + b"a" * 100_000).to(mooring))
        assert not cors(await from_page(path="/mcp/" + "a" * 50_000).to(mooring))
