from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mooring.processes.lines import LONGEST_LINE, Lines


def test_lines_are_cut_wherever_the_bytes_were() -> None:
    text = "one\r\ntwo: ✓\n\nthree"
    data = text.encode()
    for size in range(1, len(data) + 1):
        lines = Lines()
        cut = [line for start in range(0, len(data), size) for line in lines.feed(data[start : start + size])]
        assert cut + lines.feed(b"", final=True) == ["one", "two: ✓", "three"]


def test_a_line_without_an_end_is_shown_in_pieces() -> None:
    lines = Lines()
    shown = [line for _ in range(10) for line in lines.feed(b"x" * 1000)]
    assert [len(line) for line in shown] == [LONGEST_LINE, LONGEST_LINE]
    assert [len(line) for line in lines.feed(b"", final=True)] == [2000]


def test_a_very_long_line_is_shown_in_pieces() -> None:
    assert [len(line) for line in Lines().feed(b"x" * (LONGEST_LINE + 1) + b"\n")] == [LONGEST_LINE, 1]


@given(st.lists(st.binary(max_size=50), max_size=20))
def test_any_bytes_become_printable_lines(pieces: list[bytes]) -> None:
    lines = Lines()
    shown = [line for piece in pieces for line in lines.feed(piece)] + lines.feed(b"", final=True)
    assert all(line and line.isprintable() for line in shown)
