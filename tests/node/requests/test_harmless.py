"""What may be carried out again: only what somebody promises to change nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mooring.asgi import Receive, Scope, Send
from mooring.core.stream_ids import StreamKind
from mooring.node.requests.harmless import _PAGES, ToolHints
from mooring.store import MemoryStore
from mooring.store.journal import Call
from tests.fakes import FlakyStore
from tests.node.apps import answer
from tests.node.requests.test_settling import Owner

SCOPE: Scope = {"type": "http", "method": "POST", "path": "/mcp", "headers": [], "query_string": b""}


class Tools:
    """An app that lists a page with one tool after another; the last of them is asked for."""

    def __init__(self, count: int, hints: Any) -> None:
        self.count = count
        self.hints = hints
        self.pages = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        message = json.loads((await receive())["body"])
        page = int(message.get("params", {}).get("cursor", 0))
        self.pages += 1
        name = "work" if page == self.count - 1 else f"other-{page}"
        result: Any = {"tools": [{"name": name, "annotations": self.hints}, "no tool"]}
        result |= {"nextCursor": str(page + 1)} if page < self.count - 1 else {}
        await answer(send, 200, json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}).encode())


async def may_run_again(app: Any, method: str = "tools/call", kind: StreamKind = StreamKind.CALL) -> bool:
    owner = Owner(FlakyStore(MemoryStore()), 2)
    call = Call("stream", "9", method, "work", b"", 0.0)
    return await ToolHints(owner.node, owner.session, app, SCOPE).changes_nothing(call, kind)


@pytest.mark.parametrize(
    ("hints", "may"),
    [
        ({"readOnlyHint": True}, True),
        ({"idempotentHint": True}, True),
        ({"readOnlyHint": "true"}, False),
        ({"destructiveHint": False}, False),
        ({}, False),
        (None, False),
        ([], False),
    ],
)
async def test_a_tool_says_so_itself(hints: Any, may: bool) -> None:
    assert await may_run_again(Tools(1, hints)) is may


async def test_a_tool_is_looked_for_on_so_many_pages() -> None:
    for pages in (2, _PAGES):
        assert await may_run_again(Tools(pages, {"readOnlyHint": True}))
    app = Tools(_PAGES + 1, {"readOnlyHint": True})
    assert not await may_run_again(app)
    assert app.pages == _PAGES


async def test_a_method_says_so_and_nobody_is_asked() -> None:
    app = Tools(1, {})
    assert await may_run_again(app, "tools/list", StreamKind.SAFE)
    assert not await may_run_again(app, "tasks/cancel")
    assert app.pages == 0
