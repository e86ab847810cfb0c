"""Answers of every shape wait until what their call changed is on record."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from mooring import Mooring, session_state
from mooring.asgi import Scope, Send
from mooring.errors import NoSession
from mooring.node.membership.session import LocalSession
from mooring.store import MemoryStore
from tests.node.apps import ScriptedApp
from tests.node.direct import Request, initialize, joined

CALL = b'{"jsonrpc": "2.0", "id": 9, "method": "tools/call", "params": {"name": "any"}}'
ANSWER = b'{"jsonrpc": "2.0", "id": 9, "result": {}}'


class Written:
    """One request of a session, whose app is written here: what it sends, and what leaves."""

    def __init__(self, mooring: Mooring, app: ScriptedApp, store: MemoryStore, session: str) -> None:
        self.mooring = mooring
        self.store = store
        self.session = session
        self._app = app

    async def post(self, serve: Callable[[Send], Awaitable[None]], body: bytes = CALL) -> Request:
        async def on_session(scope: Scope, body: bytes, send: Send) -> None:
            await serve(send)

        self._app.on_session = on_session
        request = Request(session=self.session, pieces=[body])
        with contextlib.suppress(OSError):
            await request.to(self.mooring)
        return request

    @property
    async def kept(self) -> Any:
        kept, _ = await self.store.journal.load_state(self.session)
        return json.loads(kept or b"{}").get("own")

    @property
    async def calls(self) -> list[Any]:
        return await self.store.journal.calls(self.session)

    @property
    def local(self) -> LocalSession:
        found = self.mooring._node.sessions.find(self.session)
        assert found is not None
        return found


@pytest.fixture
async def written(app: ScriptedApp, store: MemoryStore) -> AsyncIterator[Written]:
    async with joined(app, store) as mooring:
        yield Written(mooring, app, store, (await initialize().to(mooring)).session_id)


async def start(send: Send, kind: bytes, *more: tuple[bytes, bytes]) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind), *more]})


async def piece(send: Send, body: bytes, *, more: bool = False) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": more})


async def test_of_a_stream_that_cannot_be_read_each_piece_waits_for_what_was_changed_before_it(
    written: Written,
) -> None:
    """An app that compresses it: nobody sees which piece has the answer."""
    seen: list[Any] = []

    async def serve(send: Send) -> None:
        await start(send, b"text/event-stream", (b"content-encoding", b"gzip"))
        await piece(send, b"begins", more=True)
        seen.append(await written.kept)
        session_state()["n"] = 1
        await piece(send, b"may be the answer", more=True)
        seen.append(await written.kept)
        session_state()["n"] = 2
        await piece(send, b"the end")

    request = await written.post(serve)
    assert request.body == b"beginsmay be the answerthe end"
    assert seen == [None, {"n": 1}]
    assert await written.kept == {"n": 2}
    [settled] = await written.calls
    assert b"answer_lost" in settled.outcome


async def test_of_a_stream_that_cannot_be_read_nothing_more_leaves_where_it_cannot_be_kept(written: Written) -> None:
    async def serve(send: Send) -> None:
        await start(send, b"text/event-stream", (b"content-encoding", b"gzip"))
        session_state()["n"] = {1}
        await piece(send, b"may be the answer", more=True)
        await piece(send, b"the end")

    request = await written.post(serve)
    assert (request.body, request.sent[-1]["more_body"]) == (b"", False)
    assert await written.kept is None


async def test_an_answer_in_json_that_begins_before_the_state_is_asked_for_is_held_as_well(written: Written) -> None:
    async def serve(send: Send) -> None:
        await start(send, b"application/json")
        session_state()["n"] = {1}
        await piece(send, ANSWER[:5], more=True)
        await piece(send, ANSWER[5:])

    request = await written.post(serve)
    assert "not JSON serializable" in json.loads(request.body)["result"]["content"][0]["text"]
    assert await written.kept is None


async def test_an_answer_in_json_a_part_of_which_has_left_has_no_end_where_it_cannot_be_kept(written: Written) -> None:
    async def serve(send: Send) -> None:
        await start(send, b"application/json")
        await piece(send, ANSWER[:5], more=True)
        session_state()["n"] = {1}
        await piece(send, ANSWER[5:])

    request = await written.post(serve)
    assert request.body == ANSWER[:5]
    assert request.sent[-1]["more_body"]


async def test_an_answer_in_json_a_part_of_which_has_left_ends_once_it_is_kept(written: Written) -> None:
    async def serve(send: Send) -> None:
        await start(send, b"application/json")
        await piece(send, ANSWER[:5], more=True)
        session_state()["n"] = 1
        await piece(send, ANSWER[5:])

    assert (await written.post(serve)).body == ANSWER
    assert await written.kept == {"n": 1}


@pytest.mark.parametrize("answer", [b"\x1f\x8b compressed", b'{"jsonrpc":"2.0","id":8,"result":{}}'])
async def test_what_is_no_answer_to_the_call_is_not_told_to_whoever_sends_it_again(
    written: Written, answer: bytes
) -> None:
    async def serve(send: Send) -> None:
        session_state()["n"] = 1
        await start(send, b"application/json", (b"content-encoding", b"gzip"))
        await piece(send, answer)

    assert (await written.post(serve)).body == answer
    [settled] = await written.calls
    assert json.loads(settled.outcome)["error"]["data"]["reason"] == "answer_lost"


async def test_an_error_in_the_place_of_a_compressed_answer_is_not_said_to_be_compressed(written: Written) -> None:
    async def serve(send: Send) -> None:
        session_state()["n"] = {1}
        await start(send, b"application/json", (b"content-encoding", b"gzip"), (b"content-length", b"3"))
        await piece(send, b"\x1f\x8b ")

    request = await written.post(serve)
    assert b"content-encoding" not in request.headers
    assert int(request.headers[b"content-length"]) == len(request.body)
    assert json.loads(request.body)["result"]["isError"]


@pytest.mark.parametrize("raises", [True, False])
async def test_a_call_that_ends_without_an_answer_is_on_record_with_what_it_changed(
    written: Written, raises: bool
) -> None:
    async def serve(send: Send) -> None:
        session_state()["n"] = 1
        if raises:
            raise OSError("the app is broken")

    await written.post(serve)
    assert await written.kept == {"n": 1}
    [settled] = await written.calls
    assert json.loads(settled.outcome)["error"]["data"]["reason"] == "outcome_unknown"
    assert written.local.state._users == set()


@pytest.mark.parametrize("is_large", [True, False])
async def test_a_batch_has_no_state(written: Written, is_large: bool) -> None:
    async def serve(send: Send) -> None:
        with pytest.raises(NoSession, match="a batch"):
            session_state()
        await start(send, b"application/json")
        await piece(send, b"[]")

    padding = " " * (2 * 1024 * 1024 if is_large else 1)
    request = await written.post(serve, f" [{padding}{CALL.decode()}]".encode())
    assert request.body == b"[]"
