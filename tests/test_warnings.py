"""A warning in the log says what happened, and which setting or step helps: whoever reads it has to do something.

It is held as far as can be seen in the text: it names a setting or a command, or tells what to do, or ends with an
error of ours, which does so itself.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from mooring.settings import Settings

SOURCE: Final = Path(__file__).resolve().parents[1] / "src/mooring"

_STEPS: Final = re.compile(
    r"\b(set|see|look|check|call|start|give|mend|stay|ask|let|name|log may say|until|newer Mooring|--[a-z]+)\b"
)
_ENDS_WITH_AN_ERROR: Final = re.compile(r"%s\)?$")
_NAMES: Final = re.compile(rf"\b({'|'.join(Settings.model_fields)})\b|`mooring [a-z]+`|\bappendonly\b")

NOTHING_TO_DO: Final = {
    "the store is back and has everything again": "good news, after a warning",
    "adopted shard %s, which nobody owned any more": "what a store that lost something leads to; that was told before",
    "revived session %s of node %s in %.0f ms: its incarnation %d": "what should come of a node's death",
}
"""And why."""


def warnings() -> Iterator[tuple[str, str]]:
    """Where each stands, and its text as far as it is written there."""
    for file in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                is_ours = isinstance(node.func.value, ast.Name) and node.func.value.id == "logger"
                # `log` has its level before the text.
                text = node.args[1:2] if node.func.attr == "log" else node.args[:1]
                if is_ours and node.func.attr in ("warning", "error", "log") and isinstance(text[0], ast.Constant):
                    yield f"{file.relative_to(SOURCE)}:{node.lineno}", str(text[0].value)


@pytest.mark.parametrize(("place", "text"), list(warnings()), ids=lambda part: part if ".py:" in part else "")
def test_a_warning_says_what_helps(place: str, text: str) -> None:
    helps = _NAMES.search(text) or _STEPS.search(text) or _ENDS_WITH_AN_ERROR.search(text)
    assert helps or text in NOTHING_TO_DO, f"{place}: {text!r} names no setting and no step"


def test_there_are_some() -> None:
    assert len(list(warnings())) > 40
    assert {text for _, text in warnings()} >= set(NOTHING_TO_DO)
