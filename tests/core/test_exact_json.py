from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mooring.core.exact_json import Members, is_text, read, write

values: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


@settings(deadline=None, max_examples=300)
@given(values, st.booleans())
def test_what_is_read_is_written_with_the_same_meaning(value: Any, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    again = write(read(text))
    again.encode()
    assert json.dumps(json.loads(again)) == json.dumps(json.loads(text))


@pytest.mark.parametrize(
    "text",
    ["1.50", "1e400", "-0", "123456789012345678901234567890", '{"a":1,"a":2}', "NaN", '"\\ud800"', "[]", '{"a":[]}'],
)
def test_spelling_and_doubles_stay(text: str) -> None:
    assert write(read(text)) == text


def test_a_number_is_no_text() -> None:
    assert is_text(read('"1"'))
    assert not is_text(read("1"))
    assert Members([("a", 1), ("a", 2), ("b", 3)]).all("a") == [1, 2]


@pytest.mark.parametrize("text", ["", "{", "[1,]", "nothing"])
def test_what_is_no_json_is_told(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        read(text)
