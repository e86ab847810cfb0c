from __future__ import annotations

import json
import time

import pytest

from mooring.core.handles import Handles
from mooring.core.unread_json import PassingSearch, in_text, may_hold_one, without_percents

HANDLES = Handles("sixteen letters and more")
ONE = HANDLES.mint("abcde", "browser", bytes(16))
OTHER = HANDLES.wrap("fghij", "own id") or ""

sizes = pytest.mark.parametrize("size", [1, 7, 50, 10_000])


def passing(data: str, size: int, encoding: str = "utf-8") -> set[str]:
    """What is found in this, in pieces."""
    search, body = PassingSearch(), data.encode(encoding)
    return {one for at in range(0, len(body), size) for one in search.feed(body[at : at + size])}


@sizes
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_one_is_found_in_what_passes_by_however_it_is_spelled(size: int, encoding: str) -> None:
    long = "x" * 5000
    spelled = "".join(rf"\u{ord(letter):04x}" for letter in ONE)
    for text in (ONE, spelled, spelled.upper().replace("U", "u")):
        assert passing(f'{{"a": "{long}", "b": "{text}", "c": "see {ONE}"}}', size, encoding) == {ONE}


@sizes
def test_what_is_made_of_one_is_found_in_what_passes_by(size: int) -> None:
    assert passing(f'{{"a": "{ONE}:tab-2", "b": "{OTHER}:tab"}}', size) == {ONE}
    assert passing(f'{{"a": "{ONE}:caf\\u00e9\\/\\n", "b": "x"}}', size) == {ONE}
    assert passing(f'{{"a": "\\n {ONE} \\t"}}', size) == {ONE}
    assert passing(f'{{"a": "{ONE}:{"x" * 9000}"}}', size) == {ONE}
    assert passing(f'{{"a": "{ONE} is the one", "b": "{ONE}x"}}', size) == set()


BLANKS = [chr(code) for code in range(0x10000) if chr(code).isspace()]


@sizes
@pytest.mark.parametrize("is_ascii", [True, False])
def test_no_blanks_around_one_hide_it(size: int, is_ascii: bool) -> None:
    """Whoever strips what a model wrote would be at another's handle."""
    for before, after in (("".join(BLANKS), ""), ("", "".join(BLANKS)), (" " * 600, "\u00a0 "), ("\u00a0 ", " \u00a0")):
        written = json.dumps(f"{before}{ONE}{after}", ensure_ascii=is_ascii)
        assert passing(f'{{"a": {written}}}', size) == {ONE}, (before, after)
        text = json.dumps([f"{before}{ONE}{after}"], ensure_ascii=is_ascii)
        assert in_text(text) == [ONE]
        assert passing(f'{{"a": {json.dumps(text, ensure_ascii=is_ascii)}}}', size) == {ONE}
    assert passing(json.dumps({"a": f"see {BLANKS[-1]}{ONE}"}), size) == set()


@sizes
@pytest.mark.parametrize("before", ["%20", "%2F", "a%2f", "%C3%A9", "%0A%09"])
def test_percents_beside_one_in_a_uri_hide_it_no_more_than_what_they_stand_for(size: int, before: str) -> None:
    for one in (ONE, ONE.replace("~", "%7E")):
        assert passing(f'{{"uri": "x://{before}{one}%20/y"}}', size) == {ONE}
    assert passing(f'{{"uri": "x://%41{ONE}/y"}}', size) == set()


@sizes
@pytest.mark.parametrize("uri", [f"x://{ONE}", f"x://a b/{ONE}/c d", f"x:{ONE}", f"x/{ONE}/y", f"x://a%20b/{ONE}"])
def test_a_uri_leads_where_the_handle_in_it_does(size: int, uri: str) -> None:
    spellings = [uri, uri.replace("~", "%7E"), uri.replace("mh", "%6d%68"), uri.replace("/", r"\/")]
    for spelled in (*spellings, spellings[1].replace("%", r"\u0025")):
        assert passing(f'{{"note": "some {ONE}", "uri": "{spelled}"}}', size) == {ONE}


@sizes
def test_so_does_json_in_a_text(size: int) -> None:
    for value in ([ONE], {"a": [ONE, "see"]}, [json.dumps([ONE])]):
        for text in (json.dumps(json.dumps(value)), json.dumps(json.dumps(value)).replace("mh~", r"mh\\u007e")):
            assert passing(f'{{"a": {text}}}', size) == {ONE}
        written = json.dumps(json.dumps(value))[1:-1].replace(r"\"", r"\u0022")
        assert passing(f'{{"a": "{written}"}}', size) == {ONE}


@sizes
def test_what_only_tells_of_one_in_what_passes_by_is_none(size: int) -> None:
    assert passing(f'{{"a": "see {ONE}", "b": "note: see\\u0020{ONE}", "c": "{OTHER}"}}', size) == set()
    assert passing("~" * 100, size) == set()


def test_a_text_that_is_json_says_what_its_texts_say() -> None:
    assert in_text(json.dumps([ONE, {"a": OTHER}, ONE])) == [ONE, OTHER]
    assert in_text(json.dumps([f"x://{ONE}", f"see {ONE}"])) == in_text("[]") == []
    assert in_text(f'["{ONE}", \ud800') == [ONE]


def test_percents_of_what_handles_are_made_of_are_taken_out() -> None:
    assert without_percents("x://mh%7Eabcde%2Em%2E%5f/%2f%20%25%7") == "x://mh~abcde.m._////%7"


@pytest.mark.parametrize(
    "filling", [b"~", b"%", b"\\", b"%7", b"\\u0", b'"~', b"mh~", b"x:", b"\\n", b"\\u0041", b"%41"]
)
def test_nothing_takes_long(filling: bytes) -> None:
    data = filling * (1024 * 1024 // len(filling)) + ONE.encode()
    for search in (may_hold_one, PassingSearch().feed, lambda text: in_text(text.decode())):
        began = time.process_time()
        search(data)
        assert time.process_time() - began < 0.5
