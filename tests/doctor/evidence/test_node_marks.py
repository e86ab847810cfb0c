from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy

from mooring.doctor.client.reply import Reply
from mooring.doctor.evidence.node_marks import MarkKind, MarkSource, find_marks, find_marks_on_page

THREE = ("a", "b", "c", "a", "b", "c")


def reply(*headers: tuple[str, str], body: bytes = b"", says: object = None) -> Reply:
    message = None
    if says is not None:
        result = {"content": [{"type": "text", "text": says if isinstance(says, str) else json.dumps(says)}]}
        message = {"jsonrpc": "2.0", "id": 1, "result": result}
    return Reply(status=200, headers=CIMultiDictProxy(CIMultiDict(headers)), body=body, message=message)


def with_header(name: str, values: Sequence[str]) -> list[Reply]:
    return [reply(("Content-Type", "application/json"), (name, value)) for value in values]


def alike_within(openings: Sequence[Reply]) -> list[list[Reply]]:
    """In each session every answer is as the first."""
    return [[opening] * 3 for opening in openings]


@pytest.mark.parametrize(
    ("name", "values", "is_mark"),
    [
        ("X-Served-By", THREE, True),
        ("x-served-by", ("a", "a"), True),
        ("X-Backend-Server", THREE, True),
        ("X-Upstream", ("10.0.0.1:8000", "10.0.0.2:8000") * 2, True),
        ("Pod-Name", THREE, True),
        ("X-Served-By", ("cache-fra19-FRA", "cache-fra20-FRA") * 3, False),
        ("X-Served-By", ("a", "b", "c", "d"), False),
        ("X-Instance-Id", tuple(f"i-{n}" for n in range(20)), False),
        ("X-Request-Id", THREE, False),
        ("X-Trace-Id", THREE, False),
        ("Date", THREE, False),
        ("Server", THREE, False),
        ("Mcp-Session-Id", THREE, False),
        ("Content-Length", ("1", "2") * 3, False),
    ],
)
def test_a_header_whose_name_says_it(name: str, values: Sequence[str], is_mark: bool) -> None:
    found = find_marks(with_header(name, values))
    assert (found is not None) is is_mark
    if found is not None:
        assert found.openings == tuple(values)
        assert found.nodes == set(values)


def test_a_header_that_is_not_on_every_answer_is_none() -> None:
    assert find_marks([*with_header("X-Served-By", THREE), reply()]) is None


def test_two_sessions_alone_tell_nodes_apart_only_with_more_answers() -> None:
    openings = with_header("X-Served-By", ("a", "b"))
    assert find_marks(openings) is None
    assert find_marks(openings, alike_within(openings)) is not None


def test_the_affinity_cookie_is_a_mark_and_no_other_cookie() -> None:
    openings = [
        reply(("Set-Cookie", f"mcp={value}; Path=/"), ("Set-Cookie", f"id={n}")) for n, value in enumerate(THREE)
    ]
    found = find_marks(openings, cookies=["mcp"])
    assert found is not None
    assert (found.source, found.openings) == (MarkSource(MarkKind.COOKIE, "mcp"), THREE)
    assert find_marks(openings) is None
    assert find_marks(openings, cookies=["id"]) is None


def test_what_tells_several_nodes_is_better_than_what_tells_one() -> None:
    openings = [reply(("X-Served-By", "balancer"), ("Set-Cookie", f"mcp={value}")) for value in THREE]
    found = find_marks(openings, cookies=["mcp"])
    assert found is not None
    assert str(found.source) == "cookie mcp"


def test_any_other_header_has_to_behave_as_a_mark() -> None:
    openings = with_header("X-Color", THREE)
    found = find_marks(openings, alike_within(openings))
    assert found is not None
    assert found.openings == THREE
    assert find_marks(openings) is None, "nothing shows that a session keeps it"
    assert find_marks(openings, [[reply(("X-Color", value)) for value in "abc"] for _ in openings]) is None
    numbers = with_header("X-Color", ("1", "2", "3") * 2)
    assert find_marks(numbers, alike_within(numbers)) is None
    rare = with_header("X-Color", ("a", "a", "a", "b"))
    assert find_marks(rare, alike_within(rare)) is None


def test_a_tools_answer_tells_where_each_session_keeps_to_its_own() -> None:
    openings = [reply() for _ in THREE]
    within = [[reply(says={"pid": ord(node)})] * 2 for node in THREE]
    found = find_marks(openings, within)
    assert found is not None
    assert str(found.source) == "tool's answer"
    assert len(found.nodes) == 3
    counting = [[reply(says={"pid": ord(node), "count": n}) for n in range(2)] for node in THREE]
    assert find_marks(openings, counting) is None
    assert find_marks(openings, within[:-1]) is None
    assert find_marks(openings, [[reply(says="hello")] * 2 for _ in THREE]) is None
    assert find_marks(openings, [[reply(says=f"session {n}")] * 2 for n in range(6)]) is None
    assert find_marks(openings, [[reply(says=node * 600)] * 2 for node in THREE]) is None


def test_a_small_body_tells_on_a_page() -> None:
    pages = [reply(body=json.dumps({"pid": ord(node)}).encode()) for node in THREE]
    found = find_marks_on_page(pages)
    assert found is not None
    assert len(found.nodes) == 3
    assert find_marks_on_page([reply(body=b"hello") for _ in THREE]) is None
    assert find_marks_on_page([reply(body=f"request {n}".encode()) for n in range(6)]) is None
    assert find_marks_on_page([reply(body=node.encode() * 1000) for node in THREE]) is None
    named = find_marks_on_page([reply(("X-Served-By", node), body=b"x") for node in THREE])
    assert named is not None
    assert str(named.source) == "header X-Served-By"


def test_a_long_cookie_is_not_told_whole() -> None:
    assert MarkSource(MarkKind.COOKIE, "c").label("0123456789abcdef") == "0123456789ab…"
    assert MarkSource(MarkKind.COOKIE, "c").label("node-1") == "node-1"
    assert MarkSource(MarkKind.HEADER, "X-Served-By").label("0123456789abcdef") == "0123456789abcdef"
    assert MarkSource(MarkKind.ANSWER).label('{\n  "pid": 1\n}') == '{ "pid": 1 }'


@given(st.lists(st.sampled_from(["node-1", "node-2", "node-3"]), min_size=6, max_size=40))
def test_what_names_nodes_is_always_found(nodes: list[str]) -> None:
    found = find_marks(with_header("X-Served-By", nodes))
    assert found is not None
    assert found.openings == tuple(nodes)


@given(st.lists(st.text(min_size=1), min_size=2, max_size=30, unique=True), st.sampled_from(["X-Served-By", "X-Color"]))
def test_what_never_repeats_is_never_a_mark(values: list[str], name: str) -> None:
    openings = with_header(name, values)
    assert find_marks(openings, [[] for _ in openings], ["c"]) is None


@given(st.lists(st.lists(st.tuples(st.sampled_from(["A", "X-Node", "B-Id"]), st.text()), max_size=3), max_size=8))
def test_whatever_is_found_was_on_every_opening(headers: list[list[tuple[str, str]]]) -> None:
    openings = [reply(*one) for one in headers]
    found = find_marks(openings, alike_within(openings))
    assert found is None or found.openings == tuple(found.source.read(one) for one in openings)
