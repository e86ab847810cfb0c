from __future__ import annotations

import base64
import json
import time
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mooring.core.handles import Handles, found_in
from mooring.core.unwrapping import unwrapped
from mooring.core.wrapping import Wrapping

HANDLES = Handles("sixteen letters and more")
PROPERTY = settings(deadline=None, max_examples=200)
own_ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30).filter(lambda text: text.strip())


def wrap(own_id: str) -> str | None:
    return HANDLES.wrap("abcde", own_id)


def wrapped(result: Any, *fields: str, **options: Any) -> Any:
    """What a result becomes; None where it stays."""
    text = Wrapping(wrap, fields or ("session_id",), **options).message(json.dumps({"id": 1, "result": result}))
    return None if text is None else json.loads(text)["result"]


@PROPERTY
@given(own_ids, st.floats(allow_nan=False), st.text(max_size=20))
@example("00000\\", 0.0, "")
@example('quoted"id', 0.0, 'a "quoted"id" in it')
@example("café-00", 0.0, "")
def test_an_id_goes_out_as_a_handle_and_comes_back_as_it_was(own_id: str, number: float, other: str) -> None:
    structured = {"session_id": own_id, "n": number, "other": {"deep": [other]}}
    result = wrapped({"structuredContent": structured, "content": [{"type": "text", "text": json.dumps(structured)}]})
    handle = result["structuredContent"]["session_id"]
    assert json.loads(result["content"][0]["text"])["session_id"] == handle
    assert result["structuredContent"]["n"] == number
    read = HANDLES.read(handle)
    assert read is not None
    assert read.own_id == own_id
    body = json.dumps({"params": {"arguments": {"session_id": handle, "n": number, "x": other}}}).encode()
    back = json.loads(unwrapped(body, {handle: own_id}))
    assert back["params"]["arguments"] == {"session_id": own_id, "n": number, "x": other}


def test_known_ids_are_wrapped_in_longer_text_where_they_stand_by_themselves() -> None:
    handle = wrap("browser-1")
    result = wrapped(
        {
            "structuredContent": {"session_id": "browser-1", "hint": "use browser-1, not browser-12 or xbrowser-1"},
            "content": [{"type": "text", "text": "Session browser-1."}],
        }
    )
    assert result["structuredContent"]["hint"] == f"use {handle}, not browser-12 or xbrowser-1"
    assert result["content"][0]["text"] == f"Session {handle}."


def test_a_short_id_is_wrapped_where_it_is_the_fields_value_and_nowhere_else() -> None:
    structured = {"session_id": "1", "count": "1", "hint": "1 of 10"}
    result = wrapped({"structuredContent": structured, "content": [{"type": "text", "text": json.dumps(structured)}]})
    expected = {**structured, "session_id": wrap("1")}
    assert result["structuredContent"] == expected
    assert json.loads(result["content"][0]["text"]) == expected


@pytest.mark.parametrize("slash", ["/", "\\/"])
def test_urls_that_people_open_keep_the_servers_own_id(slash: str) -> None:
    view = "https://view.example.org/sessions/browser-1?tab=2"
    structured = {"session_id": "browser-1", "view": view, "hint": f"See {view} or use browser-1"}
    text = json.dumps(structured).replace("/", slash)
    result = wrapped({"structuredContent": structured, "content": [{"type": "text", "text": text}]})
    handle = wrap("browser-1")
    expected = {"session_id": handle, "view": view, "hint": f"See {view} or use {handle}"}
    assert result["structuredContent"] == json.loads(result["content"][0]["text"]) == expected


@pytest.mark.parametrize("mark", ["|", "`"])
def test_an_id_beside_a_url_is_wrapped(mark: str) -> None:
    """As in a table: what no URL holds ends one (RFC 3986, appendix A)."""
    text = f"{mark}https://view.example.org{mark}browser-1{mark}"
    result = wrapped({"content": [{"type": "text", "text": text}]}, known={"browser-1": "H"})
    assert result["content"][0]["text"] == text.replace("browser-1", "H")


def test_no_id_is_wrapped_in_another_handle() -> None:
    """Of another node, whose server counts as this one does; a call may name both."""
    other = HANDLES.wrap("other", "browser-1")
    text = f"There is no {other}, but browser-1. See x://{other}/page"
    result = wrapped({"content": [{"type": "text", "text": text}]}, known={"browser-1": "H"})
    assert result["content"][0]["text"] == f"There is no {other}, but H. See x://{other}/page"


def test_a_question_that_opens_a_page_keeps_its_address() -> None:
    question = {"mode": "url", "message": "Sign in for browser-1", "url": "https://a.example/?s=browser-1"}
    asked = {"inputRequests": {"q": {"method": "elicitation/create", "params": question}}}
    params = wrapped(asked, known={"browser-1": "H"})["inputRequests"]["q"]["params"]
    assert params == {**question, "message": "Sign in for H"}


def test_resources_that_are_read_by_a_url_are_named_by_handles() -> None:
    result = {"content": [{"type": "resource_link", "uri": "https://a.example/browser-1", "name": "n"}]}
    assert wrapped(result, known={"browser-1": "H"})["content"][0]["uri"] == "https://a.example/H"


@pytest.mark.parametrize(
    ("own_id", "in_uri"),
    [
        ("My Notebook", "My%20Notebook"),
        ("Küche 12", "K%C3%BCche%2012"),
        ("lab/42:x", "lab%2F42%3Ax"),
        ("lab/42 x", "lab/42%20x"),
        ("it's (one)", "it's%20(one)"),
        ("a@b.org 1", "a@b.org%201"),
    ],
)
def test_an_id_in_percents_is_wrapped_and_comes_back_in_percents(own_id: str, in_uri: str) -> None:
    uri = f"book://{in_uri}/cells"
    result = wrapped(
        {
            "structuredContent": {"session_id": own_id, "cells": uri, "page": f"https://example.org/{in_uri}"},
            "content": [{"type": "resource_link", "uri": uri, "name": "cells"}, {"type": "text", "text": f"see {uri}"}],
        }
    )
    link = result["content"][0]["uri"]
    handle = link.removeprefix("book://").removesuffix("/cells")
    read = HANDLES.read(handle)
    assert read is not None
    assert read.own_id == in_uri
    assert result["structuredContent"] == {
        "session_id": wrap(own_id),
        "cells": link,
        "page": f"https://example.org/{in_uri}",
    }
    assert result["content"][1]["text"] == f"see {link}"
    asked = {"contents": [{"uri": uri, "text": f"cells of {own_id}"}]}
    assert wrapped(asked, known={in_uri: handle})["contents"] == [{"uri": link, "text": f"cells of {wrap(own_id)}"}]


def test_an_id_that_has_percents_of_its_own_is_no_other() -> None:
    handle = wrap("50%25 done") or ""
    result = wrapped({"content": [{"type": "text", "text": "50%25 done: 50% done"}]}, known={"50%25 done": handle})
    assert result["content"][0]["text"] == f"{handle}: 50% done"


def test_an_id_that_is_a_word_garbles_no_text() -> None:
    structured = {"session_id": "default", "hint": "the default page", "title": "default"}
    content = [{"type": "text", "text": json.dumps(structured)}, {"type": "text", "text": "your default session"}]
    result = wrapped({"structuredContent": structured, "content": content})
    expected = {**structured, "session_id": wrap("default")}
    assert result["structuredContent"] == json.loads(result["content"][0]["text"]) == expected
    assert result["content"][1] == content[1]


def test_a_long_id_of_letters_is_no_word() -> None:
    own_id = "kqjxwzptabkqjxwzptabkqjx"
    result = wrapped({"structuredContent": {"session_id": own_id, "hint": f"use {own_id}."}})
    assert result["structuredContent"]["hint"] == f"use {wrap(own_id)}."


def test_a_whole_text_may_be_the_id() -> None:
    result = wrapped({"content": [{"type": "text", "text": "a b"}, {"type": "text", "text": "c"}]}, "")
    assert [HANDLES.read(block["text"]).own_id for block in result["content"]] == ["a b", "c"]  # type: ignore[union-attr]


@pytest.mark.parametrize("own_id", ["1", "browser-1"])
@pytest.mark.parametrize("field", ["", "result"])
def test_what_a_tool_returns_alone_is_wrapped_as_text_and_as_structured_content(field: str, own_id: str) -> None:
    """SDK v2 and FastMCP say it twice: as a text, and as the member `result`."""
    result = wrapped({"content": [{"type": "text", "text": own_id}], "structuredContent": {"result": own_id}}, field)
    handle = wrap(own_id)
    assert result == {"content": [{"type": "text", "text": handle}], "structuredContent": {"result": handle}}


@pytest.mark.parametrize("own_id", ["1", "browser-1"])
@pytest.mark.parametrize("around", ['"%s"', "%s\n", ' "%s"\n'])
def test_a_whole_text_that_is_an_id_keeps_what_is_around_it(own_id: str, around: str) -> None:
    """SDK v2 writes a UUID in quotes, and programs end a line."""
    result = wrapped({"content": [{"type": "text", "text": around % own_id}]}, "")
    assert result == {"content": [{"type": "text", "text": around % wrap(own_id)}]}


def test_a_whole_text_in_quotes_may_be_an_id_with_quotes_in_it() -> None:
    result = wrapped({"content": [{"type": "text", "text": json.dumps('a "b"')}]}, "")
    handle = json.loads(result["content"][0]["text"])
    assert HANDLES.read(handle).own_id == 'a "b"'  # type: ignore[union-attr]


@pytest.mark.parametrize("text", ['["1", "2"]', None])
def test_a_list_that_a_tool_returns_alone_is_wrapped_as_text_and_as_structured_content(text: str | None) -> None:
    """FastMCP says it as one text in JSON, SDK v2 as one for each."""
    texts = ["1", "2"] if text is None else [text]
    content = [{"type": "text", "text": one} for one in texts]
    result = wrapped({"content": content, "structuredContent": {"result": ["1", "2"]}}, "result.*")
    handles = [wrap("1"), wrap("2")]
    said = [block["text"] for block in result["content"]]
    assert result["structuredContent"] == {"result": handles}
    assert (said if text is None else json.loads(said[0])) == handles


@pytest.mark.parametrize(
    ("own_id", "text"),
    [
        ("sessions/42/of/ann", r'{"session_id":"sessions\/42\/of\/ann","note":"for sessions\/42\/of\/ann alone"}'),
        ("YWJjZGVmMQ==", r'{"session_id":"YWJjZGVmMQ\u003d\u003d","note":"for YWJjZGVmMQ\u003d\u003d alone"}'),
        ("café-00042", r'{"session_id":"caf\u00E9-00042","note":"for caf\u00E9-00042 alone"}'),
    ],
    ids=["slashes", "what html has", "upper case"],
)
def test_ids_in_json_are_wrapped_however_their_servers_language_spells_them(own_id: str, text: str) -> None:
    result = wrapped({"content": [{"type": "text", "text": text}]})
    assert json.loads(result["content"][0]["text"]) == {"session_id": wrap(own_id), "note": f"for {wrap(own_id)} alone"}


def test_json_that_spells_something_else_differently_stays_as_it_is_written() -> None:
    text = '{ "session_id" : "browser-1",\n "at": "a\\/b \\u00e9" }'
    result = wrapped({"content": [{"type": "text", "text": text}]})
    assert result["content"][0]["text"] == text.replace("browser-1", wrap("browser-1") or "")


@pytest.mark.parametrize("before", ["\n", "\t", "said:\r\n", "\f", "会话", "C:\\n/"])
def test_an_id_behind_an_escape_is_wrapped_in_text_that_is_json_too(before: str) -> None:
    """Where the last letter of an escape looks like one of a longer word."""
    told = {"session_id": "browser-1", "log": f"{before}browser-1 is open", "path": "C:\\nbrowser-1"}
    result = wrapped({"structuredContent": told, "content": [{"type": "text", "text": json.dumps(told)}]})
    handle = wrap("browser-1")
    expected = {"session_id": handle, "log": f"{before}{handle} is open", "path": "C:\\nbrowser-1"}
    assert result["structuredContent"] == expected
    assert json.loads(result["content"][0]["text"]) == expected


@pytest.mark.parametrize("own_id", ["browser-1", "default", "x1", 'a "quoted"\\id', "café-00"])
def test_a_tool_that_returns_json_as_a_text_is_read_in_structured_content_too(own_id: str) -> None:
    """SDK v2 and FastMCP have what is no object as `result` there."""
    said = json.dumps({"session_id": own_id, "more": json.dumps({"session_id": own_id, "is": f"default \n{own_id}"})})
    result = wrapped({"structuredContent": {"result": said}, "content": [{"type": "text", "text": said}]})
    handle = wrap(own_id)
    for text in (result["structuredContent"]["result"], result["content"][0]["text"]):
        found = json.loads(text)
        inner = json.loads(found["more"])
        assert (found["session_id"], inner["session_id"]) == (handle, handle)
        assert inner["is"] == f"default \n{own_id if own_id in ('default', 'x1') else handle}"


@pytest.mark.parametrize("depth", [300, 600, 900, 100_000])
@pytest.mark.parametrize("own_id", ["browser-1", "x1"])
def test_json_in_a_text_that_is_nested_too_deep_keeps_no_id_beside_it_from_being_wrapped(
    depth: int, own_id: str
) -> None:
    deep = f'{"[" * depth}"line\\n of {own_id}"{"]" * depth}'
    result = wrapped({"structuredContent": {"session_id": own_id}, "content": [{"type": "text", "text": deep}]})
    assert result["structuredContent"]["session_id"] == wrap(own_id)
    assert result["content"][0]["text"] == (deep if own_id == "x1" else deep.replace(own_id, wrap(own_id) or ""))


@pytest.mark.parametrize("depth", [600, 100_000])
def test_an_answer_that_is_nested_too_deep_stays_as_it_is_and_that_is_told(depth: int) -> None:
    told: list[str] = []
    deep = f'{"[" * depth}"browser-1"{"]" * depth}'
    text = f'{{"jsonrpc":"2.0","id":1,"result":{{"structuredContent":{{"session_id":"browser-1","deep":{deep}}}}}}}'
    assert Wrapping(wrap, ("session_id",), tell=told.append).message(text) is None
    assert told == ["its answer is nested too deep to be looked through"]


@pytest.mark.parametrize("own_id", ["browser-1", 'win/1 é"', "a, b\\c"])
def test_an_object_that_has_ids_for_names_has_handles_for_names_in_texts_and_in_structured_content(own_id: str) -> None:
    handle = wrap(own_id) or ""
    structured = {"by_id": {own_id: 1, "browser": {f"of {own_id}": 2}, "default": 3, "session_id": "default"}}
    result = wrapped(
        {"structuredContent": structured, "content": [{"type": "text", "text": json.dumps(structured)}]},
        "by_id.session_id",
        known={own_id: handle},
    )
    names = {handle: 1, "browser": {f"of {handle}": 2}, "default": 3, "session_id": wrap("default")}
    assert result["structuredContent"] == {"by_id": names}
    assert json.loads(result["content"][0]["text"]) == {"by_id": names}


def test_the_text_of_an_error_is_no_id() -> None:
    assert wrapped({"content": [{"type": "text", "text": "too many browsers"}], "isError": True}, "") is None


def test_lists_of_ids_are_wrapped_one_by_one() -> None:
    result = wrapped({"structuredContent": {"all": [{"id": "one-by-one"}, {"id": "another"}]}}, "all.*.id")
    assert [one["id"] for one in result["structuredContent"]["all"]] == [wrap("one-by-one"), wrap("another")]


def test_binary_content_and_meta_stay() -> None:
    binary = base64.b64encode(b"browser-1").decode()
    result: dict[str, Any] = {
        "structuredContent": {"session_id": binary},
        "content": [
            {"type": "image", "data": binary, "mimeType": "image/png"},
            {"type": "audio", "data": binary, "mimeType": "audio/wav"},
            {"type": "resource", "resource": {"uri": f"x://{binary}", "blob": binary}},
        ],
        "_meta": {"note": binary},
    }
    changed = wrapped(result)
    assert changed["content"][:2] == result["content"][:2]
    assert changed["content"][2]["resource"] == {"uri": f"x://{wrap(binary)}", "blob": binary}
    assert changed["_meta"] == result["_meta"]


def test_what_the_server_was_told_is_wrapped_in_errors_and_progress_too() -> None:
    handle = wrap("browser-1") or ""
    wrapping = Wrapping(wrap, (), {"browser-1": handle})
    for message, text in (
        ({"error": {"code": 1, "message": "no browser-1", "data": {"id": "browser-1"}}}, f"no {handle}"),
        (
            {"method": "notifications/progress", "params": {"message": "at browser-1", "progressToken": "browser-1"}},
            handle,
        ),
    ):
        changed = wrapping.message(json.dumps(message))
        assert changed is not None
        assert text in changed
    assert changed is not None
    assert json.loads(changed)["params"]["progressToken"] == "browser-1"


@pytest.mark.parametrize(
    "result",
    [
        {"messages": [{"role": "user", "content": {"type": "text", "text": "Use browser-1."}}], "description": "x"},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "browser-1"}]}]},
        {"messages": [], "description": "What browser-1 does"},
        {"contents": [{"uri": "x://browser-1/log", "text": '{"id": "browser-1"}'}]},
        {"completion": {"values": ["browser-1", "other"], "total": 2}},
        {"inputRequests": {"q": {"method": "elicitation/create", "params": {"message": "Close browser-1?"}}}},
        {"content": [{"type": "resource_link", "uri": "x://browser-1", "name": "n", "description": "Of browser-1"}]},
    ],
    ids=["prompt", "prompts", "description", "resource", "completion", "question", "link"],
)
def test_what_the_server_was_told_is_wrapped_in_whatever_it_answers(result: Any) -> None:
    handle = wrap("browser-1") or ""
    changed = wrapped(result, known={"browser-1": handle})
    assert changed == json.loads(json.dumps(result).replace("browser-1", handle))


def test_what_is_binary_in_prompts_and_resources_stays() -> None:
    image = {"role": "user", "content": {"type": "image", "data": "browser-1", "mimeType": "image/png"}}
    result = {"messages": [image], "contents": [{"uri": "x://y", "blob": "browser-1"}]}
    assert wrapped(result, known={"browser-1": wrap("browser-1")}) is None


def test_what_is_told_of_a_resource_is_told_by_the_name_that_its_client_knows() -> None:
    handle = wrap("browser-1") or ""
    said = {"method": "notifications/resources/updated", "params": {"uri": "x://browser-1/log"}}
    changed = Wrapping(wrap, (), {"browser-1": handle}).message(json.dumps(said))
    assert changed is not None
    assert json.loads(changed)["params"]["uri"] == f"x://{handle}/log"


def test_ids_of_tasks_are_wrapped_once() -> None:
    result = wrapped({"taskId": "t1", "task": {"taskId": "t1", "statusMessage": "t1"}}, members=("taskId",))
    assert result == {"taskId": wrap("t1"), "task": {"taskId": wrap("t1"), "statusMessage": "t1"}}
    assert wrapped(result, members=("taskId",)) is None


def test_so_are_those_of_tasks_in_a_list() -> None:
    """Revision 2025-11-25 has `tasks/list`, and a server without sessions may know it."""
    result = wrapped({"tasks": [{"taskId": "t1", "status": "working"}, "t2"]}, members=("taskId",))
    assert result == {"tasks": [{"taskId": wrap("t1"), "status": "working"}, "t2"]}


@pytest.mark.parametrize(
    "result",
    [{}, [], "x", None, {"structuredContent": {"session_id": 7}}, {"content": [3, {"type": "text", "text": 5}]}],
)
def test_what_holds_no_id_stays_as_it_is(result: Any) -> None:
    assert wrapped(result) is None


@pytest.mark.parametrize("text", ["", "no json", "[1]", "7", "[" * 50_000])
def test_what_is_no_message_stays_as_it_is(text: str) -> None:
    assert Wrapping(wrap, ("session_id",)).message(text) is None


@PROPERTY
@given(st.lists(own_ids, min_size=1, max_size=4, unique=True))
def test_no_handle_is_wrapped_into_another(ids: list[str]) -> None:
    structured = {"all": ids, "text": " and ".join(ids)}
    result = wrapped({"structuredContent": structured}, "all.*")
    for own_id, handle in zip(ids, result["structuredContent"]["all"], strict=True):
        assert HANDLES.read(handle).own_id == own_id  # type: ignore[union-attr]
    assert all(HANDLES.read(found) is not None for found in found_in(result["structuredContent"]["text"]))


@pytest.mark.parametrize("form", ["session-{:06}", "session:{:06}"])
def test_thousands_of_ids_take_no_longer_than_they_are_long(form: str) -> None:
    ids = [form.format(number) for number in range(2000)]
    listed = [{"id": own_id, "title": f"What {own_id} is for, which is quite long"} for own_id in ids]
    content = [{"type": "text", "text": json.dumps({"all": listed})}]
    began = time.perf_counter()
    result = wrapped({"structuredContent": {"all": listed}, "content": content}, "all.*.id")
    assert time.perf_counter() - began < 2.0
    assert json.loads(result["content"][0]["text"]) == result["structuredContent"]
    for own_id, one in zip(ids, result["structuredContent"]["all"], strict=True):
        assert one == {"id": wrap(own_id), "title": f"What {wrap(own_id)} is for, which is quite long"}
