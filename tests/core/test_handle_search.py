from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mooring.core import handle_search
from mooring.core.handle_search import (
    decoded,
    encoded,
    in_body,
    in_headers,
    is_argument,
    may_hold_handles,
    only_text,
    unwrapped_headers,
)
from mooring.core.handles import Handles, found_in, is_meant

PROPERTY = settings(deadline=None, max_examples=200)
HANDLES = Handles("sixteen letters and more")
ONE = HANDLES.mint("abcde", "browser", bytes(16))
OTHER = HANDLES.wrap("fghij", "own id") or ""

NAMES = st.text(max_size=5) | st.sampled_from([ONE, OTHER])
json_values: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from([ONE, OTHER, f"see {ONE}."]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=12,
)


def whole_texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for pair in value.items() for member in pair for text in whole_texts(member)]
    if isinstance(value, list):
        return [text for member in value for text in whole_texts(member)]
    return [value] if value in (ONE, OTHER) else []


def each_once(found: list[str]) -> list[str]:
    return list(dict.fromkeys(found))


def call(arguments: Any, **params: Any) -> bytes:
    return json.dumps({"method": "tools/call", "params": {"arguments": arguments, **params}}).encode()


def whole_argument(body: bytes) -> str | None:
    """What is told at a look."""
    text = only_text(body)
    return text if text is not None and is_argument(text, body) else None


def texts(body: bytes, *inside: str, members: tuple[str, ...] = ()) -> list[str]:
    return in_body(body, inside, members) or []


@PROPERTY
@given(st.dictionaries(st.text(max_size=5), json_values, max_size=4), json_values)
def test_what_stands_in_the_arguments_is_found_in_its_order_and_nothing_else_is(arguments: Any, other: Any) -> None:
    body = call(arguments, _meta={"m": other}, name=ONE)
    assert texts(body) == each_once(whole_texts(arguments))
    assert not whole_texts(arguments) or may_hold_handles(body)


@PROPERTY
@given(st.dictionaries(st.text(max_size=5), json_values, min_size=1, max_size=4), st.data())
def test_no_spelling_hides_one_from_a_thorough_look(arguments: Any, data: st.DataObject) -> None:
    arguments["browser"] = ONE
    body = call(arguments).decode()
    for letter in data.draw(st.lists(st.sampled_from("mh~"), max_size=3)):
        escape = data.draw(st.sampled_from(["\\u%04x", "\\u%04X"])) % ord(letter)
        body = body.replace(ONE, ONE.replace(letter, escape, 1), 1) if letter in ONE else body
    for encoding in ("utf-8", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig"):
        raw = body.encode(encoding)
        if encoding == "utf-8-sig":
            continue  # no JSON (RFC 8259, section 8.1)
        assert may_hold_handles(raw), encoding
        assert json.loads(raw)["params"]["arguments"]["browser"] != ONE or ONE in texts(raw)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_a_name_that_stands_twice_counts_twice(encoding: str) -> None:
    body = f'{{"params": {{"arguments": {{"b": "{ONE}"}}, "arguments": {{"b": "{OTHER}", "b": "x"}}}}}}'.encode(
        encoding
    )
    assert texts(body) == [ONE, OTHER]


class Doubled(list[tuple[str, Any]]):
    """An object whose names may stand twice."""


def written(value: Any) -> str:
    if isinstance(value, Doubled):
        return "{" + ", ".join(f"{json.dumps(name)}: {written(member)}" for name, member in value) + "}"
    return "[" + ", ".join(map(written, value)) + "]" if isinstance(value, list) else json.dumps(value)


def texts_with_doubles(value: Any) -> list[str]:
    members = [member for _, member in value] if isinstance(value, Doubled) else value
    if isinstance(members, list):
        return [text for member in members for text in texts_with_doubles(member)]
    return [value] if value in (ONE, OTHER) else []


doubled_values: Any = st.recursive(
    st.integers() | st.sampled_from(["x", "mh~", "a \\ b", ONE, OTHER, f"see {ONE}."]),
    lambda inner: st.lists(inner, max_size=3) | st.lists(st.tuples(st.sampled_from("ab"), inner)).map(Doubled),
    max_leaves=8,
)


@PROPERTY
@given(st.lists(st.tuples(st.sampled_from("ab"), doubled_values), max_size=4).map(Doubled), json_values)
def test_whatever_stands_twice_wherever_all_of_it_counts(arguments: Doubled, other: Any) -> None:
    params = Doubled([("arguments", arguments), ("name", "t"), ("_meta", other)])
    found = texts(written(Doubled([("params", params)])).encode())
    # Which of two of one name comes first is for each reader of JSON to say.
    assert len(found) == len(set(found))
    assert set(found) == set(texts_with_doubles(arguments))


@PROPERTY
@given(
    st.lists(st.tuples(st.sampled_from(["a", "b", ONE]), doubled_values), max_size=3).map(Doubled),
    json_values,
    st.data(),
)
def test_what_is_told_at_a_look_is_what_the_thorough_one_finds(arguments: Doubled, other: Any, data: Any) -> None:
    members = [("arguments", arguments), ("name", "t"), ("uri", other), ("arguments", Doubled())]
    params = Doubled(data.draw(st.lists(st.sampled_from(members), min_size=1, max_size=3)))
    body = written(Doubled([("params", params)])).encode()
    text = whole_argument(body)
    assert text is None or in_body(body, everywhere=True) == ([text] if is_meant(text) else [])


def test_a_handle_is_told_at_a_look_where_it_is_an_argument_and_all_there_is() -> None:
    assert whole_argument(call({"a": 1, "browser": ONE, "note": "a~b"})) == ONE
    assert whole_argument(call({"browser": "mh~ what looks like one"})) == "mh~ what looks like one"
    for no_single_one in (
        call({}),
        call({"browser": ONE, "other": OTHER}),
        call({"browser": [ONE]}),
        call({"browser": {"id": ONE}}),
        call({ONE: 1}),
        call({"browser": f"see {ONE}"}),
        call({"browser": ONE, "note": '"'}),
        call({}, _meta={"browser": ONE}),
        call([ONE]),
        call(None),
        b"[%b]" % call({"browser": ONE}),
        b'"%b"' % ONE.encode(),
        call({"browser": ONE})[:-1],
        b"[" * 100_000 + call({"browser": ONE}),
    ):
        assert whole_argument(no_single_one) is None, no_single_one[:200]


def test_longer_text_is_looked_into_where_a_rule_says_so() -> None:
    body = call({"code": f"goto({OTHER}) and {ONE}", "note": f"see {ONE}"})
    assert texts(body) == []
    assert texts(body, "code") == [OTHER, ONE]


@pytest.mark.parametrize("text", [f"{ONE} is the one I use", f"{OTHER}\nreload", f"{ONE} {OTHER}"])
def test_text_that_begins_with_one_speaks_of_it(text: str) -> None:
    assert texts(call({"note": text})) == []
    assert in_headers([(b"mcp-param-note", encoded(text))]) == []
    assert texts(call({"note": text}), "note") == found_in(text)


@pytest.mark.parametrize("text", [f"{OTHER}:tab-2", f"{OTHER},{ONE}", f"{OTHER}/log", f"{ONE}."])
def test_what_is_made_of_one_leads_where_it_does(text: str) -> None:
    for inside in ((), ("code",)):
        assert texts(call({"code": text}), *inside) == found_in(text)
    assert in_headers([(b"mcp-param-code", text.encode())]) == found_in(text)


@pytest.mark.parametrize("text", [f"{ONE}x", f"{OTHER}_2", "mh~abcde.m.browser"])
def test_what_is_longer_or_shorter_than_one_is_none_that_was_made_here(text: str) -> None:
    assert texts(call({"code": text})) == texts(call({"code": text}), "code") == [text]


def test_members_of_parameters_are_looked_at_where_they_are_asked_for() -> None:
    body = call({}, taskId=ONE, requestState=OTHER)
    assert texts(body) == []
    assert texts(body, members=("taskId",)) == [ONE]


def test_each_message_of_a_batch_is_looked_at() -> None:
    batch = b"[%b, 7, [%b], %b]" % (call({"a": ONE}), call({"a": "x"}), call({"b": OTHER}))
    assert texts(batch) == [ONE, OTHER]


@pytest.mark.parametrize("write", [json.dumps, lambda value: "\n " + json.dumps(value, indent=1)])
@pytest.mark.parametrize("spell", [str, lambda text: text.replace("mh~", r"\u006dh\u007e").replace(".m.", r"\u002em.")])
def test_a_list_or_an_object_in_a_text_says_what_it_would_say_by_itself(
    write: Callable[[Any], str], spell: Callable[[str], str]
) -> None:
    """SDK v2 reads such a text where a tool takes a list or an object; prompts have nothing but texts."""
    values = {"many": [ONE, {"of": f"{OTHER}:tab-2", "note": f"see {ONE}"}], "about": f"{ONE} is the one"}
    body = call({"text": spell(write(values)), "note": f"[not JSON] {ONE}"})
    assert texts(body) == [ONE, OTHER]
    assert texts(call({"text": spell(write([write([ONE])]))})) == [ONE]
    assert texts(call({"text": write([f"see {ONE}", f"x{ONE}", "1" * 5_000])})) == []


def test_blanks_around_one_lead_nowhere_else() -> None:
    """Apps strip them."""
    assert texts(call({"a": f" {ONE}", "b": f"\t{OTHER}\n"})) == [ONE, OTHER]
    assert texts(call({"a": f" see {ONE}"})) == []


@pytest.mark.parametrize(
    "spelled", ["mh%7E", "mh%7e", "%6Dh~", r"mh\u0025\u0037\u0045", r"m\u00258~".replace("8", "68")]
)
def test_one_in_a_uri_is_found_in_percents_as_well(spelled: str) -> None:
    """Servers decode them."""
    for uri in (f"x://{OTHER}/log", f"x:a%20b/{OTHER}/log", f"x://%20{OTHER}/log", f"x:a%2f{OTHER}/log"):
        body = call({"a": "100%"}, uri=uri).replace(b"mh~", spelled.encode())
        assert may_hold_handles(body)
        assert in_body(body, everywhere=True) == [OTHER]
        twice = body.replace(b'"uri"', b'"uri": "y://z", "uri"').replace(b"/log", b"/log", 1)
        assert in_body(twice, everywhere=True) == [OTHER]
        hidden = body.replace(b'/log"', b'/log", "uri": "y://z"')
        assert in_body(hidden, everywhere=True) == [OTHER]


def test_percents_alone_are_no_reason_to_read_a_body() -> None:
    assert not may_hold_handles(call({"url": "https://a/b?c=%20%7B%65\n"}))


def test_the_uri_of_a_resource_is_looked_into_where_a_header_names_it() -> None:
    for uri in (f"x://{OTHER}/log", f"x://{OTHER}/log".replace("~", "%7E")):
        assert in_headers([(b"mcp-name", uri.encode())]) == [OTHER]
        assert in_headers([(b"mcp-param-note", uri.encode())]) == []
        assert unwrapped_headers([(b"mcp-name", uri.encode())], {OTHER: "own"}, 1) == [(b"mcp-name", b"x://own/log")]


def test_what_else_clients_give_back_is_looked_at_where_that_is_asked_for() -> None:
    answers = {"q": {"action": "accept", "content": {"which": ONE}}, "s": {"content": {"text": f"I had {OTHER} open"}}}
    body = call({}, uri=f"x://{OTHER}/log", inputResponses=answers)
    assert texts(body) == []
    assert in_body(body, everywhere=True) == [OTHER, ONE]
    assert in_body(call({}, inputResponses=answers), everywhere=True) == [ONE]


def test_the_uri_of_what_is_to_be_completed_may_have_one() -> None:
    ref = {"type": "ref/resource", "uri": f"x://{ONE}/{{page}}"}
    assert in_body(call({}, ref=ref, argument={"name": "page", "value": ""}), everywhere=True) == [ONE]


def test_what_is_to_be_completed_is_looked_at_once_it_is_whole() -> None:
    """While it is typed it is none, and no forged one either."""
    for length in range(len(ONE)):
        assert in_body(call({}, argument={"name": "browser", "value": ONE[:length]}), everywhere=True) == []
    for value in (ONE, f"{ONE}:tab", OTHER):
        assert in_body(call({}, argument={"name": "browser", "value": value}), everywhere=True) == found_in(value)


@pytest.mark.parametrize(
    "body", [b"", b"mh~abcde.", b"[" * 100_000, b'{"params": "mh~abcde."}', b'["mh~abcde."]', b"\xff"]
)
def test_what_is_no_message_holds_none(body: bytes) -> None:
    assert not in_body(body)


def test_one_request_has_no_more_than_a_bound() -> None:
    many = [f"{ONE[:-3]}{number:03}" for number in range(500)]
    assert texts(call({"all": many})) == many[: handle_search.MOST_HANDLES + 1]
    assert in_headers([(b"mcp-name", one.encode()) for one in many]) == many[: handle_search.MOST_HANDLES + 1]


def test_one_that_stands_there_often_counts_once() -> None:
    assert texts(call({"all": [ONE] * 500, "other": OTHER})) == [ONE, OTHER]
    assert in_headers([(b"mcp-name", ONE.encode())] * 500) == [ONE]


@PROPERTY
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_a_header_carries_any_text(text: str) -> None:
    value = encoded(text)
    assert decoded(value) == text
    assert value.isascii()
    assert b"\n" not in value
    assert b"\r" not in value


def test_headers_are_looked_at_by_name() -> None:
    written = b"=?base64?" + base64.b64encode(ONE.encode()) + b"?="
    headers = [(b"mcp-name", OTHER.encode()), (b"mcp-param-x", written), (b"x-param", ONE.encode())]
    assert in_headers(headers) == [OTHER, ONE]
    assert decoded(b"=?base64?no base64?=") == "=?base64?no base64?="


def test_headers_are_unwrapped_and_say_the_bodys_length() -> None:
    headers = [(b"mcp-name", OTHER.encode()), (b"content-length", b"9"), (b"x", OTHER.encode())]
    assert unwrapped_headers(headers, {OTHER: "own id"}, 12) == [
        (b"mcp-name", b"own id"),
        (b"content-length", b"12"),
        (b"x", OTHER.encode()),
    ]


def test_headers_are_unwrapped_in_longer_text_as_the_body_is_that_they_mirror() -> None:
    own_ids = {OTHER: "own id", ONE: "é"}
    headers = [(b"mcp-param-code", f"goto({OTHER})".encode()), (b"mcp-param-note", encoded(f"{ONE} and {OTHER}\n"))]
    changed = unwrapped_headers(headers, own_ids, 12)
    assert [decoded(value) for _, value in changed] == ["goto(own id)", "é and own id\n"]


def test_many_rare_letters_take_no_longer() -> None:
    body = b"~" * 1024 * 1024
    began = time.process_time()
    assert not may_hold_handles(body)
    assert time.process_time() - began < 0.1


def test_one_is_found_however_deep_the_rest_is_that_could_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """From Python 3.12 on the reader of JSON goes deeper than calls of Python's functions may."""
    deep: Any = ["x"]
    for _ in range(5_000):
        deep = [deep]
    message = {"params": {"arguments": {"browser": ONE, "deep": deep}}}
    monkeypatch.setattr(json, "loads", lambda _: message)
    assert texts(call({"browser": ONE})) == [ONE]


def _best_seconds(work: Callable[[], object]) -> float:
    """Of several tries: others are busy on this machine, too."""
    taken = []
    for _ in range(5):
        began = time.process_time()
        work()
        taken.append(time.process_time() - began)
    return min(taken)


@pytest.mark.parametrize("filling", ["{}", "1", '"[mh~"'])
def test_a_body_that_is_made_to_be_slow_takes_little_more_than_reading_it(filling: str) -> None:
    arguments = f'{{"a":"{ONE}","b":"\\n","c":[{",".join([filling] * 200_000)}]}}'
    body = f'{{"method":"tools/call","params":{{"arguments":{arguments}}}}}'.encode()
    assert in_body(body, everywhere=True) == [ONE]
    assert _best_seconds(lambda: in_body(body, everywhere=True)) < 20 * _best_seconds(lambda: json.loads(body))


def test_a_body_whose_length_nobody_knows_yet_is_one_all_the_same() -> None:
    headers = [(b"content-length", b"5000000"), (b"mcp-param-x", ONE.encode())]
    changed = unwrapped_headers(headers, {ONE: "own"}, None)
    assert changed == [(b"transfer-encoding", b"chunked"), (b"mcp-param-x", b"own")]
