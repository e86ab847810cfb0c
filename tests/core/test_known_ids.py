from __future__ import annotations

import time
from urllib.parse import quote, unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mooring.core.handles import Handles
from mooring.core.known_ids import LEAST_LETTERS, KnownIds, in_percents, out_of_percents

HANDLE = Handles("sixteen letters and more").wrap("abcde", "browser-1") or ""
IDS = [
    "browser-1",
    "browser-12",
    "browser-1:tab",
    "browser-1:tab-2",
    "/pages/1",
    "/pages/1/2",
    "[first]",
    "http://a.b/c",
]
OTHERS = {f"{form}{number}": "never" for number in range(40) for form in ("unlike-", "unlike:")}

ids = st.sampled_from([*IDS, HANDLE, "x", "-", ":", "/", " ", "tab", "http://a.b/", "(", "browser"])


@settings(deadline=None, max_examples=500)
@given(st.lists(ids, max_size=8).map("".join), st.sets(st.sampled_from(IDS), min_size=1), st.booleans())
def test_of_many_the_same_are_found_as_of_few(text: str, known: set[str], in_uri: bool) -> None:
    handles = {own_id: f"<{own_id}>" for own_id in known}
    few, many = KnownIds(handles, in_uri=in_uri), KnownIds({**handles, **OTHERS}, in_uri=in_uri)
    assert many.replaced(text) == few.replaced(text)


@pytest.mark.parametrize("others", [{}, OTHERS], ids=["few", "many"])
def test_an_id_that_stands_by_itself_becomes_its_handle(others: dict[str, str]) -> None:
    known = KnownIds({own_id: f"<{own_id}>" for own_id in IDS[:4]} | others, in_uri=False)
    assert known.replaced("browser-1, (browser-1:tab-2) browser-1:tabs xbrowser-1 browser-123") == (
        "<browser-1>, (<browser-1:tab-2>) <browser-1>:tabs xbrowser-1 browser-123"
    )
    assert known.replaced(f"{HANDLE} http://x/browser-1/") == f"{HANDLE} http://x/browser-1/"
    assert known.replaced("") == ""


def test_none_are_found_where_none_are_known() -> None:
    assert KnownIds({}, in_uri=False).replaced(f"browser-1 {HANDLE}") == f"browser-1 {HANDLE}"


@pytest.mark.parametrize("form", ["session-{:06}", "session:{:06}", "/pages/{:06}/x"])
def test_ten_thousand_take_no_longer_than_they_are_long(form: str) -> None:
    handles = {form.format(number): f"<{number}>" for number in range(10_000)}
    assert min(map(len, handles)) >= LEAST_LETTERS
    text = " ".join(f"what {own_id} is for" for own_id in handles)
    began = time.process_time()
    assert KnownIds(handles, in_uri=False).replaced(text).count("<") == len(handles)
    assert time.process_time() - began < 2.0


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_whatever_stands_in_percents_means_the_id(own_id: str) -> None:
    spelled = in_percents(own_id)
    assert {unquote(one) for one in spelled} <= {own_id}
    assert spelled == {
        quote(own_id, safe=left) for left in ("", "/", "!'()*", "/:@!$&'()*+,;=", "/:@!$&'()*+,;=?#")
    } - {own_id}
    assert {out_of_percents(one) for one in spelled} <= {own_id}


def test_what_a_uri_has_as_it_is_has_no_percents() -> None:
    assert in_percents("browser-1_x.y~z") == set()
    assert in_percents("a/b c") == {"a%2Fb%20c", "a/b%20c"}


def test_percents_that_are_no_text_stay_as_they_are() -> None:
    assert out_of_percents("a%ffb") == "a%ffb"
    assert out_of_percents("50% of %C3%bc") == "50% of ü"
