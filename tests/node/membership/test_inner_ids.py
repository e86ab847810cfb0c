"""Each generation of the MCP SDK held to the three names that `mooring.node.membership.inner_ids` replaces in it.

The checks are run twice: here for the SDK of this environment and for FastMCP, and by this file as a script, with the
interpreter of the environment that has the SDK's first generation and no test runner.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib
import json
import logging
import subprocess
import sys
import time
import traceback
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

from mooring.node.membership import inner_ids

if TYPE_CHECKING or __name__ != "__main__":
    import pytest

    real = pytest.mark.real
else:
    real = functools.partial(lambda test: test)


PUBLIC = "abcde.AAAAAAAAAAAAAAAAAAAAAA.BBBBBBBBBBB"
OTHER = "fghij.CCCCCCCCCCCCCCCCCCCCCC.DDDDDDDDDDD"
MANAGER = "mcp.server.streamable_http_manager"
IDLE_SECONDS = 0.1
DEADLINE_SECONDS = 10.0
FORGETS_SECONDS = 5.0
"""Longer than an SDK takes to forget a session that ended."""

INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}},
}
CALL_WAIT = {"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": {"name": "wait", "arguments": {}}}
LIST_TOOLS = {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}


class Running:
    """An SDK's app that runs, asked as an ASGI server would ask it."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def ask(self, method: str, message: Any = None, session_id: str | None = None) -> tuple[int, str | None]:
        """The status, and the session id in the answer."""
        headers = [
            (b"host", b"127.0.0.1:8000"),
            (b"content-type", b"application/json"),
            (b"accept", b"application/json, text/event-stream"),
        ]
        if session_id is not None:
            headers.append((b"mcp-session-id", session_id.encode()))
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "scheme": "http",
            "method": method,
            "path": "/mcp",
            "raw_path": b"/mcp",
            "root_path": "",
            "query_string": b"",
            "headers": headers,
            "server": ("127.0.0.1", 8000),
            "client": ("127.0.0.1", 50_000),
            "state": {},
        }
        body = [{"type": "http.request", "body": json.dumps(message).encode() if message else b"", "more_body": False}]
        started: dict[str, Any] = {}

        async def receive() -> dict[str, Any]:
            if body:
                return body.pop()
            await asyncio.Event().wait()
            raise AssertionError("nobody leaves here")

        async def send(sent: dict[str, Any]) -> None:
            if sent["type"] == "http.response.start":
                started.update(sent)

        await asyncio.wait_for(self._app(scope, receive, send), DEADLINE_SECONDS)
        given = {name.decode(): value.decode() for name, value in started["headers"]}
        return started["status"], given.get("mcp-session-id")

    async def open(self) -> str:
        status, session_id = await self.ask("POST", INITIALIZE)
        assert status == 200, status
        assert session_id is not None
        return session_id

    async def is_open(self, session_id: str) -> bool:
        status, _ = await self.ask("POST", LIST_TOOLS, session_id)
        assert status in (200, 404), status
        return status == 200


ledger: list[str] = []
"""What became of the calls of `wait`, as the tool itself saw it."""


async def wait() -> str:
    ledger.append("begun")
    try:
        await asyncio.sleep(DEADLINE_SECONDS)
    except asyncio.CancelledError:
        ledger.append("cancelled")
        raise
    ledger.append("done")
    return "done"


def make_app(kind: str, idle_seconds: float | None) -> Any:
    if kind == "v1":
        fast = importlib.import_module("mcp.server.fastmcp").FastMCP
        server = fast("test", json_response=True, session_idle_timeout=idle_seconds)
        server.tool()(wait)
        return server.streamable_http_app()
    if kind == "v2":
        server = importlib.import_module("mcp.server.mcpserver").MCPServer("test")
        server.tool()(wait)
        return server.streamable_http_app(json_response=True, session_idle_timeout=idle_seconds)
    server = importlib.import_module("fastmcp").FastMCP("test")
    server.tool()(wait)
    return server.http_app(json_response=True, session_idle_timeout=idle_seconds or 600)


@contextlib.asynccontextmanager
async def running(kind: str, idle_seconds: float | None = None) -> AsyncIterator[Running]:
    app = make_app(kind, idle_seconds)
    async with app.router.lifespan_context(app):
        yield Running(app)


async def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        if condition():
            return
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def a_while() -> None:
    """Time for what must not happen."""
    await asyncio.sleep(3 * IDLE_SECONDS)


# The checks: one generation of the SDK at a time.


async def check_the_session_gets_the_id_that_is_minted(kind: str) -> None:
    async with running(kind) as app:
        with inner_ids.minting(PUBLIC):
            assert await app.open() == PUBLIC
        assert await app.is_open(PUBLIC)
        status, said = await app.ask("POST", LIST_TOOLS, PUBLIC)
        assert (status, said) in {(200, PUBLIC), (200, None)}


async def check_the_app_mints_as_ever_where_nothing_is_asked_of_it(kind: str) -> None:
    async with running(kind) as app:
        with inner_ids.minting(PUBLIC):
            await app.open()
        own = [await app.open() for _ in range(3)]
        assert len({PUBLIC, *own}) == 4
        assert all(len(session_id) == 32 for session_id in own)


async def check_an_id_is_minted_once_in_its_context(kind: str) -> None:
    async with running(kind) as app:
        with inner_ids.minting(PUBLIC):
            assert await app.open() == PUBLIC
            assert await app.open() not in {PUBLIC, OTHER}


async def check_nested_contexts_mint_each_their_own(kind: str) -> None:
    async with running(kind) as app:
        with inner_ids.minting(PUBLIC):
            with inner_ids.minting(OTHER):
                assert await app.open() == OTHER
                assert await app.open() not in {PUBLIC, OTHER}
            assert await app.open() == PUBLIC
            assert await app.open() not in {PUBLIC, OTHER}


async def check_tasks_that_inherit_a_context_share_one_id(kind: str) -> None:
    async with running(kind) as app:
        with inner_ids.minting(PUBLIC):
            opened = await asyncio.gather(*(asyncio.create_task(app.open()) for _ in range(4)))
        assert opened.count(PUBLIC) == 1
        assert len(set(opened)) == 4


async def check_a_task_of_the_session_does_not_mint_it_again(kind: str) -> None:
    """What a session starts keeps its context for ever: an app that opens a session in turn gets another id."""
    async with running(kind) as app:
        with inner_ids.minting(PUBLIC):
            assert await app.open() == PUBLIC
            later = asyncio.create_task(app.open())
        assert await later != PUBLIC


async def check_contexts_side_by_side_do_not_mix(kind: str) -> None:
    async with running(kind) as app:

        async def open_as(session_id: str) -> str:
            with inner_ids.minting(session_id):
                await asyncio.sleep(0)
                return await app.open()

        wanted = [f"abcde.{n:022d}.BBBBBBBBBBB" for n in range(10)]
        assert await asyncio.gather(*map(open_as, wanted)) == wanted


async def check_the_end_is_told_once_at_a_delete(kind: str) -> None:
    ended: list[str] = []
    async with running(kind) as app:
        inner_ids.on_end(PUBLIC, ended.append)
        with inner_ids.minting(PUBLIC):
            await app.open()
        assert ended == []
        status, _ = await app.ask("DELETE", session_id=PUBLIC)
        assert status == 200
        await eventually(lambda: bool(ended))
        assert not await app.is_open(PUBLIC)
        await app.ask("DELETE", session_id=PUBLIC)
    assert ended == [PUBLIC]


async def check_the_end_is_told_once_when_a_session_was_idle(kind: str) -> None:
    ended: list[str] = []
    async with running(kind, IDLE_SECONDS) as app:
        inner_ids.on_end(PUBLIC, ended.append)
        with inner_ids.minting(PUBLIC):
            await app.open()
        await eventually(lambda: bool(ended))
        assert not await app.is_open(PUBLIC)
        await a_while()
    assert ended == [PUBLIC]


async def check_the_end_is_told_once_when_the_session_crashes(kind: str) -> None:
    ended: list[str] = []
    crash = asyncio.Event()
    with crashing(crash):
        async with running(kind) as app:
            inner_ids.on_end(PUBLIC, ended.append)
            with inner_ids.minting(PUBLIC):
                await app.open()
            assert ended == []
            crash.set()
            await eventually(lambda: bool(ended))
            assert not await app.is_open(PUBLIC)
    assert ended == [PUBLIC]


@contextlib.contextmanager
def crashing(crash: asyncio.Event) -> Any:
    """The sessions' server loops raise once `crash` is set."""

    def until_crash(loop: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
        async def run(*args: Any, **kwargs: Any) -> None:
            serving = asyncio.ensure_future(loop(*args, **kwargs))
            crashed = asyncio.ensure_future(crash.wait())
            try:
                await asyncio.wait({serving, crashed}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                serving.cancel()
                crashed.cancel()
            raise RuntimeError("a crash in the session's loop, as the test wants it")

        return run

    manager = importlib.import_module(MANAGER)
    owner = manager if hasattr(manager, "serve_loop") else importlib.import_module("mcp.server.lowlevel").Server
    name = "serve_loop" if owner is manager else "run"
    before = getattr(owner, name)
    setattr(owner, name, until_crash(before))
    try:
        yield
    finally:
        setattr(owner, name, before)


async def check_the_end_is_told_when_the_session_never_began(kind: str) -> None:
    """The app refuses what asked for a session, and throws the session away again."""
    ended: list[str] = []
    async with running(kind) as app:
        inner_ids.on_end(PUBLIC, ended.append)
        with inner_ids.minting(PUBLIC):
            status, _ = await app.ask("POST", LIST_TOOLS)
        assert status >= 400, status
        assert not await app.is_open(PUBLIC)
    assert ended == [PUBLIC]


async def check_nobody_is_told_who_does_not_want_to_know(kind: str) -> None:
    ended: list[str] = []
    async with running(kind) as app:
        inner_ids.on_end(PUBLIC, ended.append)
        inner_ids.on_end(OTHER, ended.append)
        with inner_ids.minting(PUBLIC):
            await app.open()
        inner_ids.forget(PUBLIC)
        await app.ask("DELETE", session_id=PUBLIC)
        assert not await app.is_open(PUBLIC)
    assert ended == []
    inner_ids.forget(OTHER)
    inner_ids.forget(OTHER)


async def check_only_the_session_that_ended_is_told_of(kind: str) -> None:
    ended: list[str] = []
    async with running(kind) as app:
        for session_id in (PUBLIC, OTHER):
            inner_ids.on_end(session_id, ended.append)
            with inner_ids.minting(session_id):
                await app.open()
        await app.ask("DELETE", session_id=PUBLIC)
        await eventually(lambda: bool(ended))
        assert ended == [PUBLIC]
        assert await app.is_open(OTHER)
        inner_ids.forget(OTHER)


async def check_a_session_that_is_ended_is_gone_and_what_runs_in_it_is_cancelled(kind: str) -> None:
    async def let_in(scope: Any, send: Any) -> bool:
        return True

    ledger.clear()
    async with running(kind) as app:
        for session_id in (PUBLIC, OTHER):
            inner_ids.guard(session_id, let_in)
            with inner_ids.minting(session_id):
                await app.open()
        call = asyncio.create_task(app.ask("POST", CALL_WAIT, PUBLIC))
        await eventually(lambda: "begun" in ledger)
        assert await inner_ids.end(PUBLIC)
        await eventually(lambda: "cancelled" in ledger)
        assert not await app.is_open(PUBLIC)
        assert not await inner_ids.end(PUBLIC)
        assert await app.is_open(OTHER)
        await asyncio.wait([call])
        inner_ids.forget(OTHER)
    assert ledger == ["begun", "cancelled"]
    assert not inner_ids._transports


async def check_what_asks_nobody_cannot_be_ended_here(kind: str) -> None:
    async with running(kind) as app:
        with inner_ids.minting(PUBLIC):
            await app.open()
        assert not await inner_ids.end(PUBLIC)
        assert await app.is_open(PUBLIC)


async def check_nothing_is_kept_of_a_session_that_ended(kind: str) -> None:
    async def let_in(scope: Any, send: Any) -> bool:
        return True

    ended: list[str] = []
    async with running(kind) as app:
        inner_ids.on_end(PUBLIC, ended.append)
        inner_ids.guard(PUBLIC, let_in)
        with inner_ids.minting(PUBLIC):
            await app.open()
        await app.ask("DELETE", session_id=PUBLIC)
        await eventually(lambda: PUBLIC not in inner_ids._guards)
        assert PUBLIC not in inner_ids._when_ended
        assert PUBLIC not in inner_ids._transports


async def check_the_guard_is_asked_before_anything_is_done(kind: str) -> None:
    """A request that it does not let in is not carried out, whatever its method, and the guard's answer leaves."""
    asked: list[tuple[str, bytes]] = []

    async def turn_away(scope: Any, send: Any) -> bool:
        asked.append((scope["method"], dict(scope["headers"])[b"mcp-session-id"]))
        await send({"type": "http.response.start", "status": 418, "headers": []})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        return False

    ended: list[str] = []
    async with running(kind) as app:
        inner_ids.on_end(PUBLIC, ended.append)
        with inner_ids.minting(PUBLIC):
            await app.open()
        inner_ids.guard(PUBLIC, turn_away)
        for method, message in (("POST", LIST_TOOLS), ("GET", None), ("DELETE", None)):
            status, _ = await app.ask(method, message, PUBLIC)
            assert status == 418
        assert asked == [(method, PUBLIC.encode()) for method in ("POST", "GET", "DELETE")]
        assert ended == []
        inner_ids.forget(PUBLIC)
        assert await app.is_open(PUBLIC)
        assert len(asked) == 3


async def check_the_guard_of_a_session_is_asked_from_its_first_request_on(kind: str) -> None:
    asked: list[str] = []

    def let_in(name: str) -> Callable[[Any, Any], Awaitable[bool]]:
        async def ask(scope: Any, send: Any) -> bool:
            asked.append(name)
            return True

        return ask

    async with running(kind) as app:
        inner_ids.guard(PUBLIC, let_in("first"))
        inner_ids.guard(OTHER, let_in("another session's"))
        with inner_ids.minting(PUBLIC):
            await app.open()
        assert asked == ["first"]
        inner_ids.guard(PUBLIC, let_in("second"))
        assert await app.is_open(PUBLIC)
        assert asked == ["first", "second"]
        await app.open()
        assert asked == ["first", "second"]
    inner_ids.forget(PUBLIC)
    inner_ids.forget(OTHER)


async def check_a_session_revived_right_after_its_end_goes_on(kind: str) -> None:
    """The SDK forgets a session by its id, late. Where it would forget the next one for it, that gets another id."""
    told: list[str] = []

    async def let_in(*_: object) -> bool:
        return True

    async def open_again() -> str:
        inner_ids.on_end(PUBLIC, told.append)
        inner_ids.guard(PUBLIC, let_in)
        with inner_ids.minting(PUBLIC) if inner_ids.may_mint_again(PUBLIC) else contextlib.nullcontext():
            return await app.open()

    async with running(kind) as app:
        again = await open_again()
        for _ in range(3):
            if again == PUBLIC:  # else the next one is not of our making any more
                assert await inner_ids.end(PUBLIC)
                again = await open_again()
        assert again == PUBLIC or kind == "v1"
        deadline = time.monotonic() + FORGETS_SECONDS
        while time.monotonic() < deadline:
            assert await app.is_open(again)
            await asyncio.sleep(0.1)
        assert told == []
    inner_ids.forget(PUBLIC)


async def check_the_end_of_one_incarnation_is_not_taken_for_the_next_ones(kind: str) -> None:
    """The session is opened again while its last incarnation still ends."""
    told: list[str] = []
    asked: list[str] = []
    async with running(kind) as app:

        async def let_in(*_: object) -> bool:
            asked.append("first")
            return True

        async def let_in_again(*_: object) -> bool:
            asked.append("second")
            return True

        inner_ids.on_end(PUBLIC, told.append)
        inner_ids.guard(PUBLIC, let_in)
        with inner_ids.minting(PUBLIC):
            await app.open()
        ending = asyncio.create_task(inner_ids.end(PUBLIC))
        await asyncio.sleep(0)
        inner_ids.on_end(PUBLIC, told.append)
        inner_ids.guard(PUBLIC, let_in_again)
        assert await ending
        assert told == []
        if inner_ids.may_mint_again(PUBLIC):
            with inner_ids.minting(PUBLIC):
                assert await app.open() == PUBLIC
            assert asked[-1] == "second"
            assert await inner_ids.end(PUBLIC)
    inner_ids.forget(PUBLIC)


async def check_the_names_are_replaced_once(kind: str) -> None:
    async with running(kind) as app:
        for _ in range(3):
            with inner_ids.minting(PUBLIC):
                pass
        with inner_ids.minting(PUBLIC):
            assert await app.open() == PUBLIC
    manager = importlib.import_module(MANAGER)
    transport = manager.StreamableHTTPServerTransport
    for replaced in (manager.uuid4, transport.handle_request, transport.terminate):
        assert hasattr(replaced, "__wrapped__")
        assert not hasattr(replaced.__wrapped__, "__wrapped__")


CHECKS = {name.removeprefix("check_"): check for name, check in list(globals().items()) if name.startswith("check_")}


# In this environment: the SDK's second generation, and FastMCP. In the other one: the first.


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """In place of decorators: this file is a script, too, where there is no pytest."""
    if "check" in metafunc.fixturenames:
        metafunc.parametrize("check", list(CHECKS))
    if "kind" in metafunc.fixturenames:
        metafunc.parametrize("kind", ["v2", "fastmcp"])


async def test_the_second_generation_and_fastmcp(kind: str, check: str) -> None:
    await CHECKS[check](kind)


@real
def test_the_first_generation(check: str) -> None:
    from tests.bare import python_for

    results = results_of_the_first_generation(python_for("v1"))
    assert set(results) == set(CHECKS)
    assert results[check] == ""


@functools.cache
def results_of_the_first_generation(python: str) -> dict[str, str]:
    """Check -> what went wrong."""
    ran = subprocess.run([python, "-P", __file__], capture_output=True, text=True, timeout=100, check=False)
    assert ran.returncode == 0, ran.stderr
    results: dict[str, str] = json.loads(ran.stdout)
    return results


# Whatever the SDK is.


def test_an_sdk_of_an_unknown_shape_is_left_alone_and_said_to_be_unknown(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    module = ModuleType(MANAGER)
    transport = SimpleNamespace()
    module.__dict__.update(StreamableHTTPServerTransport=transport, uuid4=object())
    monkeypatch.setitem(sys.modules, MANAGER, module)
    before = module.__dict__["uuid4"]
    for _ in range(3):
        with inner_ids.minting(PUBLIC):
            assert module.__dict__["uuid4"] is before
    assert not vars(transport)
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert [record.name for record in warnings] == ["mooring.sessions"]
    assert "they are mapped instead" in warnings[0].getMessage()


async def test_an_sdk_that_serves_sessions_in_an_unknown_way_mints_and_tells_all_the_same(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Transport:
        mcp_session_id = PUBLIC

        async def terminate(self) -> None: ...

    module = ModuleType(MANAGER)
    module.__dict__.update(StreamableHTTPServerTransport=Transport, uuid4=uuid.uuid4)
    monkeypatch.setitem(sys.modules, MANAGER, module)
    ended: list[str] = []
    inner_ids.on_end(PUBLIC, ended.append)
    for _ in range(3):
        with inner_ids.minting(PUBLIC):
            assert module.__dict__["uuid4"]().hex == PUBLIC
    await Transport().terminate()
    assert ended == [PUBLIC]
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(said) == 1
    assert "who asks is checked as for any other app" in said[0]


async def test_a_transport_that_is_terminated_again_and_again_is_told_of_once(monkeypatch: pytest.MonkeyPatch) -> None:
    class Transport:
        mcp_session_id = PUBLIC
        terminated = 0

        async def terminate(self) -> None:
            Transport.terminated += 1

    module = ModuleType(MANAGER)
    module.__dict__.update(StreamableHTTPServerTransport=Transport, uuid4=uuid.uuid4)
    monkeypatch.setitem(sys.modules, MANAGER, module)
    ended: list[str] = []
    inner_ids.on_end(PUBLIC, ended.append)
    with inner_ids.minting(PUBLIC):
        for _ in range(3):
            await Transport().terminate()
    assert ended == [PUBLIC]
    assert Transport.terminated == 3


async def test_an_end_that_fails_is_told_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    class Transport:
        mcp_session_id = PUBLIC

        async def terminate(self) -> None:
            raise RuntimeError("the SDK's own mistake")

    module = ModuleType(MANAGER)
    module.__dict__.update(StreamableHTTPServerTransport=Transport, uuid4=uuid.uuid4)
    monkeypatch.setitem(sys.modules, MANAGER, module)
    ended: list[str] = []
    inner_ids.on_end(PUBLIC, ended.append)
    transport = Transport()
    with inner_ids.minting(PUBLIC), contextlib.suppress(RuntimeError):
        await transport.terminate()
    assert ended == [PUBLIC]


@real
def test_a_process_without_the_sdk_does_not_get_it_from_us() -> None:
    program = (
        "import sys, mooring, mooring.node.membership.inner_ids as ids\n"
        f"with ids.minting({PUBLIC!r}): ids.on_end({PUBLIC!r}, print)\n"
        "sys.exit(any(name.split('.')[0] in ('mcp', 'fastmcp') for name in sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


def test_the_context_ends_also_where_the_app_raises() -> None:
    assert inner_ids._next_id.get() is None
    with contextlib.suppress(RuntimeError), inner_ids.minting(PUBLIC):
        raise RuntimeError
    assert inner_ids._next_id.get() is None


def main() -> None:
    """Run all checks against the SDK's first generation; what went wrong goes to stdout as JSON."""
    logging.disable()
    results = {}
    for name, check in CHECKS.items():
        try:
            asyncio.run(check("v1"))
            results[name] = ""
        except Exception:
            results[name] = traceback.format_exc()
    print(json.dumps(results))


if __name__ == "__main__":
    main()
