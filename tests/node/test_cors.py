"""What a browser lets a page from another origin read of Mooring's own answers; Starlette's middleware is the app's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import StreamingResponse

from mooring.asgi import App, HeaderList, Receive, Scope, Send
from tests.node.apps import ScriptedApp
from tests.node.direct import Request, initialize, joined

PAGE, OTHER = b"https://page.example", b"https://other.example"
ALLOW = b"access-control-allow-origin"


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
            b"access-control-expose-headers": b"Mcp-Session-Id, Mcp-Protocol-Version",
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


async def test_the_apps_own_answers_are_its_own(app: ScriptedApp) -> None:
    async with joined(app, cors_origins="*") as mooring:
        answer = await initialize(headers=[(b"origin", PAGE)]).to(mooring)
        assert answer.status == 200
        assert not cors(answer)


async def test_who_is_no_page_gets_no_such_headers(app: ScriptedApp) -> None:
    async with joined(opened(app), cors_origins="*") as mooring:
        assert not cors(await Request(session="forged").to(mooring))


async def test_a_preflight_reaches_the_app_whatever_becomes_of_the_request(app: ScriptedApp) -> None:
    async with joined(opened(app)) as mooring:
        preflight = from_page(method="OPTIONS")
        preflight.scope["headers"].append((b"access-control-request-method", b"POST"))
        await preflight.to(mooring)
        assert preflight.status == 200
        assert cors(preflight)[ALLOW] == PAGE
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


async def test_headers_that_something_around_mooring_adds_are_not_doubled(app: ScriptedApp) -> None:
    async with joined(app) as mooring:
        answer = await from_page().to(opened(mooring))
        assert cors(answer)[ALLOW] == PAGE
