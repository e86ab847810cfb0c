"""What a call is named on record: whoever sends the same one again finds it, and nobody takes it for another."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mooring import Settings
from mooring.asgi import WholeBody
from mooring.core.stream_ids import StreamFacts
from mooring.node.membership.session import LocalSession
from mooring.node.node import Node
from mooring.node.requests import call_names
from mooring.node.requests.bodies import RememberedBody
from mooring.node.requests.call_names import CallName, name_of
from mooring.store import MemoryStore
from tests.cluster_in_process import SECRET


@pytest.fixture
def node() -> Node:
    return Node(Settings.load(node_name="node-1", secret=SECRET), MemoryStore())


def a_session(incarnation: int = 0) -> LocalSession:
    return LocalSession("a session", "shard", "inner", 0, 0, 0, "", "", "", b"{}", 1, incarnation=incarnation)


async def a_body(message: Any, limit_bytes: int = 1_000) -> RememberedBody:
    body = RememberedBody(WholeBody(json.dumps(message).encode()).receive, limit_bytes)
    await body.receive()
    return body


def call(request_id: Any = 1, word: str = "a") -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": request_id, "method": "tools/call", "params": {"name": word}}


async def test_the_same_request_has_the_same_name_on_every_node_and_says_what_it_asks(node: Node) -> None:
    other = Node(Settings.load(node_name="node-2", secret=SECRET), MemoryStore())
    name = name_of(node, "a session", 3, await a_body(call()))
    assert name == name_of(other, "a session", 3, await a_body(call()))
    facts = node.streams.ids.read("a session", name)
    assert isinstance(facts, StreamFacts)
    assert (facts.request_id, facts.incarnation) == (1, 3)


async def test_another_one_has_another_name(node: Node) -> None:
    bodies = [await a_body(one) for one in (call(), call(2), call("1"), call(1, "b"))]
    names = {name_of(node, "a session", 0, body) for body in bodies}
    names |= {name_of(node, "a session", 1, bodies[0]), name_of(node, "another", 0, bodies[0])}
    assert len(names) == 6


async def test_of_several_with_the_same_id_and_words_the_first_alone_has_the_name(node: Node) -> None:
    session = a_session()
    first = CallName(node, session, await a_body(call()))
    second = CallName(node, session, await a_body(call()))
    assert first.take() == name_of(node, "a session", 0, await a_body(call()))
    assert second.take() == ""
    assert first.take() != ""
    assert CallName(node, a_session(1), await a_body(call())).take() != ""


async def test_one_that_is_carried_out_again_keeps_its_name(node: Node) -> None:
    name = CallName(node, a_session(1), await a_body(call()))
    name.give("as before")
    assert name.take() == "as before"


async def test_what_asks_nothing_or_is_too_large_or_not_there_yet_has_none(node: Node) -> None:
    session = a_session()
    notification = {"jsonrpc": "2.0", "method": "notifications/cancelled"}
    assert CallName(node, session, await a_body(notification)).take() == ""
    assert CallName(node, session, await a_body(call(), limit_bytes=10)).take() == ""
    body = RememberedBody(WholeBody(json.dumps(call()).encode()).receive, 1_000)
    name = CallName(node, session, body)
    assert name.take() == ""
    await body.receive()
    assert name.take() != ""


async def test_a_name_that_a_stream_has_is_taken(node: Node) -> None:
    name = name_of(node, "a session", 0, await a_body(call()))
    node.streams.open("a session", node.streams.ids.read("a session", name), 1, name)  # type: ignore[arg-type]
    assert CallName(node, a_session(), await a_body(call())).take() == ""


async def test_so_many_are_remembered(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_names, "_REMEMBERED", 3)
    session = a_session()
    for number in range(10):
        assert CallName(node, session, await a_body(call(number))).take() != ""
    assert len(session.call_names) == 3
    assert CallName(node, session, await a_body(call(9))).take() == ""
