from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mooring.core.handle_search import unwrapped_headers
from mooring.core.handles import Handles
from mooring.core.unwrapping import unwrapped, unwrapped_text

PROPERTY = settings(deadline=None, max_examples=200)
HANDLES = Handles("sixteen letters and more")
own_ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
ESCAPED = ['a"quoted"id', "C:\\id", "two\nlines", "\\", '"', "\\u0041"]


def handle_of(own_id: str) -> str:
    handle = HANDLES.wrap("abcde", own_id)
    assert handle is not None
    return handle


def within(value: Any, depth: int) -> Any:
    """JSON in a text of JSON, so often."""
    return within({"in": [json.dumps(value)]}, depth - 1) if depth else value


def read(value: Any, depth: int) -> Any:
    return read(json.loads(value["in"][0]), depth - 1) if depth else value


def body_with(*arguments: Any) -> bytes:
    return json.dumps({"id": 1, "method": "tools/call", "params": {"arguments": arguments}}).encode()


@PROPERTY
@given(own_ids, st.integers(0, 3), st.text(max_size=20))
@example('a"quoted"id', 1, "")
@example("C:\\id", 2, '"{')
def test_an_own_id_comes_back_as_it_was_however_deep_in_json_it_stands(own_id: str, depth: int, other: str) -> None:
    handle = handle_of(own_id)
    told = {"session": handle, "note": f"it is {handle}, so", "other": other, handle: 1}
    expected = {"session": own_id, "note": f"it is {own_id}, so", "other": other, own_id: 1}
    changed = json.loads(unwrapped(body_with(within(told, depth)), {handle: own_id}))
    assert read(changed["params"]["arguments"][0], depth) == expected


@pytest.mark.parametrize("own_id", ESCAPED)
def test_in_a_text_that_is_no_json_an_own_id_stands_as_it_is_whatever_is_quoted_there(own_id: str) -> None:
    handle = handle_of(own_id)
    for text in ('call "%s" now', '{"half": "%s', "[%s]", '"a" or "%s"'):
        changed = json.loads(unwrapped(body_with(text % handle), {handle: own_id}))
        assert changed["params"]["arguments"] == [text % own_id]
        assert unwrapped_text(text % handle, {handle: own_id}) == text % own_id


@pytest.mark.parametrize("own_id", ESCAPED)
def test_a_header_says_the_same_as_the_argument_that_it_mirrors(own_id: str) -> None:
    handle = handle_of(own_id)
    argument = json.dumps({"session": handle, "n": 1.50}, indent=1).replace("\n", "")
    changed = json.loads(unwrapped(body_with(argument), {handle: own_id}))["params"]["arguments"][0]
    assert json.loads(changed) == {"session": own_id, "n": 1.5}
    [(_, value)] = unwrapped_headers([(b"mcp-param-what", argument.encode())], {handle: own_id}, None)
    assert value.decode() == changed


def test_nothing_else_is_spelled_differently() -> None:
    handle = handle_of('"')
    body = b'{"n" : 1e400, "a":"\\u00e9\\/", "a": [ 1.0, "%s" ], "big": %s}' % (handle.encode(), b"9" * 5000)
    assert unwrapped(body, {handle: '"'}) == body.replace(handle.encode(), b'\\"')


@pytest.mark.parametrize("own_id", ESCAPED)
@pytest.mark.parametrize("broken", [b'{"half": ["%s"', b'{"not utf-8": "\xff", "id": "%s"}'])
def test_a_body_that_cannot_be_read_has_it_in_its_own_texts(own_id: str, broken: bytes) -> None:
    handle = handle_of(own_id)
    assert unwrapped(broken % handle.encode(), {handle: own_id}) == broken % json.dumps(own_id)[1:-1].encode()


def test_a_body_of_many_texts_takes_little_more_than_reading_it() -> None:
    ids = {handle_of(f'a"{number}'): f'a"{number}' for number in range(100)}
    body = body_with(["a"] * 200_000, list(ids))
    assert json.loads(unwrapped(body, ids))["params"]["arguments"][1] == list(ids.values())
    assert _best_seconds(lambda: unwrapped(body, ids)) < 80 * _best_seconds(lambda: json.loads(body))


def _best_seconds(work: Callable[[], object]) -> float:
    """Of several tries: others are busy on this machine, too."""
    taken = []
    for _ in range(3):
        began = time.process_time()
        work()
        taken.append(time.process_time() - began)
    return min(taken)
