"""What a server asks its client is answered in the incarnation that asked it, or in none."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mooring.core.questions import named, restored

ids = st.one_of(st.integers(-(2**53), 2**53), st.text(max_size=20), st.floats(allow_nan=False, allow_infinity=False))
texts = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text()),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)


def question(request_id: Any, method: str = "elicitation/create", **params: Any) -> str:
    return json.dumps({"jsonrpc": "2.0", "id": request_id, "method": method, "params": params})


def answer(request_id: Any, result: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": request_id, "result": result}).encode()


@given(ids, st.integers(1, 10**9), texts)
def test_an_answer_finds_its_question(request_id: Any, incarnation: int, said: Any) -> None:
    asked = json.loads(named(question(request_id, said=said), incarnation))
    assert asked["params"] == {"said": said}
    assert str(asked["id"]).startswith(f"mooring:{incarnation}:")
    back = restored(answer(asked["id"], said), incarnation)
    assert back is not None
    assert json.loads(back) == json.loads(answer(request_id, said))
    assert restored(answer(asked["id"], said), incarnation + 1) is None


@pytest.mark.parametrize(
    "given_id", [7, "7", "seven", "mooring:1:7", "mooring:3", "mooring:3:", "mooring:3:x", "mooring:3:true", 7.5, None]
)
def test_an_answer_to_another_incarnation_is_to_nobody(given_id: Any) -> None:
    assert restored(answer(given_id, {}), 3) is None


@pytest.mark.parametrize(
    "body",
    [
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call"}',
        b'{"jsonrpc":"2.0","method":"notifications/initialized"}',
        b'[{"jsonrpc":"2.0","id":1,"method":"tools/call"}, 7]',
        b"no JSON",
        b"",
    ],
)
def test_what_is_no_answer_is_left_as_it_is(body: bytes) -> None:
    assert restored(body, 3) == body


@pytest.mark.parametrize("data", ["no JSON", "[1]", '{"jsonrpc":"2.0","id":1,"result":{"method":"x"}}', question(True)])
def test_what_is_no_question_is_left_as_it_is(data: str) -> None:
    assert named(data, 3) == data


def test_a_question_that_is_taken_back_is_named_the_same() -> None:
    cancelled = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 7}}
    taken_back = json.loads(named(json.dumps(cancelled), 3))
    assert taken_back["params"]["requestId"] == json.loads(named(question(7), 3))["id"]


def progress(token: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": token, "progress": 1}}


@pytest.mark.parametrize("token", [7, "seven", 7.5])
def test_progress_with_a_question_finds_it_too(token: Any) -> None:
    shown = json.loads(named(question(7, _meta={"progressToken": token, "more": 1}), 3))["params"]["_meta"]
    assert shown["more"] == 1
    body = json.dumps(progress(shown["progressToken"])).encode()
    back = restored(body, 3)
    assert back is not None
    assert json.loads(back) == progress(token)
    assert restored(body, 4) is None
    assert restored(json.dumps(progress(token)).encode(), 3) is None
    back = restored(json.dumps([progress(token), progress(shown["progressToken"])]).encode(), 3)
    assert back is not None
    assert json.loads(back) == [progress(token)]


@pytest.mark.parametrize("meta", [None, 7, [], {}, {"progressToken": True}, {"progressToken": None}])
def test_a_question_without_a_token_gets_none(meta: Any) -> None:
    assert json.loads(named(question(7, _meta=meta), 3))["params"]["_meta"] == meta


@pytest.mark.parametrize("params", [{}, None, 7, {"progressToken": [7]}])
def test_progress_with_nothing_is_to_nobody(params: Any) -> None:
    body = json.dumps({"jsonrpc": "2.0", "method": "notifications/progress", "params": params}).encode()
    assert restored(body, 3) is None


def test_half_a_character_can_be_sent_on() -> None:
    said = named('{"jsonrpc":"2.0","id":7,"method":"sampling/createMessage","params":{"text":"\\ud83d"}}', 3)
    assert json.loads(said.encode())["params"] == {"text": "\ud83d"}


LARGE = "x" * 100_000


@pytest.mark.parametrize("size", [1, 100_000])
@pytest.mark.parametrize("request_id", ["x" * 500, "质" * 40, '"' * 300, "x" * 9_000])
def test_a_long_id_finds_its_question_as_well(request_id: str, size: int) -> None:
    asked = json.loads(named(question(request_id), 3))
    back = restored(answer(asked["id"], "x" * size), 3)
    assert back is not None
    assert json.loads(back)["id"] == request_id


@pytest.mark.parametrize("size", [1, 100_000])
@pytest.mark.parametrize("given_id", [rb"\ud800", rb"mooring:3:\ud800", rb"mooring:3:\q", rb"mooring:3:\u00"])
def test_an_id_that_nobody_can_write_is_of_no_question(given_id: bytes, size: int) -> None:
    body = b'{"jsonrpc":"2.0","id":"%b","result":"%b"}' % (given_id, b"x" * size)
    assert restored(body, 3) in (None, body)


@pytest.mark.parametrize("id_first", [True, False])
@pytest.mark.parametrize("asked", [7, "seven", 'with "quotes" and \\ in it', "ä"])
def test_a_large_answer_is_restored_without_being_read(
    id_first: bool, asked: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = json.loads(named(question(asked), 3))["id"]
    parts = [("jsonrpc", "2.0"), ("result", {"content": LARGE})]
    parts.insert(0 if id_first else 2, ("id", shown))
    body = json.dumps(dict(parts)).encode()
    monkeypatch.setattr("mooring.core.jsonrpc.read_message", None)
    back = restored(body, 3)
    late = restored(body, 4)
    monkeypatch.undo()
    assert late is None
    assert back is not None
    assert json.loads(back) == dict(parts) | {"id": asked}


def test_a_large_answer_of_another_name_is_to_nobody() -> None:
    assert restored(answer(7, LARGE), 3) is None
    assert restored(answer("mooring:3:{}", LARGE), 3) is None


def test_what_is_nested_too_deep_raises_nothing() -> None:
    for depth in (500, 900, 5_000, 20_000):
        deep = "[" * depth + "]" * depth
        shown = '"mooring:3:7"'
        restored(f'{{"id":{shown},"result":{deep}}}'.encode(), 3)
        named(f'{{"id":7,"method":"x","params":{deep}}}', 3)


def test_a_batch_of_questions_is_answered_in_the_incarnation_that_asked_them() -> None:
    note = {"jsonrpc": "2.0", "method": "notifications/progress", "params": {}}
    asked = json.loads(named(json.dumps([json.loads(question(7)), note, json.loads(question("b"))]), 3))
    assert asked[1] == note
    assert [asked[0]["id"], asked[2]["id"]] == ["mooring:3:7", 'mooring:3:"b"']
    answers = [json.loads(answer(one["id"], {})) for one in (asked[0], asked[2])]
    back = restored(json.dumps(answers).encode(), 3)
    assert back is not None
    assert [one["id"] for one in json.loads(back)] == [7, "b"]


@pytest.mark.parametrize("size", [1, 100_000])
def test_of_a_batch_late_answers_are_left_out_and_the_rest_goes_on(size: int) -> None:
    late = [{"jsonrpc": "2.0", "id": given_id, "result": {"x": "y" * size}} for given_id in (7, "mooring:2:7")]
    assert restored(json.dumps(late).encode(), 3) is None
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}
    back = restored(json.dumps([late[0], call, late[1]]).encode(), 3)
    assert back is not None
    assert json.loads(back) == [call]


@pytest.mark.parametrize("id_first", [True, False])
def test_a_very_large_answer_that_speaks_of_a_method_finds_its_question(id_first: bool) -> None:
    said = {"result": {"method": "x" * 1_200_000}}
    named_id = {"id": "mooring:3:7"}
    body = json.dumps(named_id | said if id_first else said | named_id).encode()
    back = restored(body, 3)
    assert back is not None
    assert json.loads(back) == said | {"id": 7}
    assert restored(body, 4) is None


def test_a_very_large_message_is_not_read() -> None:
    filling = b"{}," * 2_000_000
    for body in (b"[" + filling + b"{}]", b'{"id":7,"method":"tools/call","params":[' + filling + b"{}]}"):
        began = time.process_time()
        assert restored(body, 3) == body
        assert time.process_time() - began < 0.1
