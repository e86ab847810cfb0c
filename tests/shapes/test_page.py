"""The page about shapes says what the tests try."""

from __future__ import annotations

from tests.bare import ROOT
from tests.shapes.book import CANNOT, CELLS, SERVERS, SHAPES
from tests.shapes.page import markdown


def test_the_page_is_what_the_tests_make() -> None:
    said = (ROOT / "docs/shapes.md").read_text(encoding="utf-8")
    assert said == markdown(), "run `python -m tests.shapes.page > docs/shapes.md`"


def test_every_cell_is_tried_or_has_a_reason() -> None:
    assert len(CELLS) + len(CANNOT) == len(SHAPES) * len(SERVERS)
