from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mooring.core.text import LONGEST, clean, plain


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("naïve ✓", "naïve ✓"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b[2J\x1b[1;1Hcleared", "cleared"),
        ("\x1b]0;title\x07rest", "rest"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bcreset", "reset"),
        ("bell\x07 back\b\b null\x00", "bell back null"),
        ("a\tb", "a b"),
        ("over\rwritten", "over written"),
        ("\u202eright to left", "right to left"),
        ("c1 \x9b31m", "c1 31m"),
        ("trailing  ", "trailing"),
    ],
)
def test_nothing_that_moves_a_terminal_is_left(text: str, expected: str) -> None:
    assert clean(text) == expected


@given(st.text())
def test_foreign_text_is_printable_and_short(text: str) -> None:
    shown = plain(text)
    assert shown.isprintable()
    assert len(shown) <= LONGEST


def test_what_prints_stays() -> None:
    assert plain("Naïve クライアント [bold] 1.0") == "Naïve クライアント [bold] 1.0"
    assert plain("a\x1b[31m\u202eb\nc") == "ab c"
    assert plain("x" * 100, 10) == "xxxxxxxxx…"
