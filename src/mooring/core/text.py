"""Foreign text on its way to a terminal, a log or a report: nothing in it moves the cursor or hides what follows."""

from __future__ import annotations

import re
from typing import Final

LONGEST: Final = 80
"""The most characters of a foreign text that are shown, where nobody says otherwise."""

_ESCAPE_SEQUENCE: Final = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    r"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?"  # OSC and other strings: titles, links
    r"|\x1b[ -/]*[0-~]?"
)


def clean(text: str) -> str:
    """`text` without escape sequences and without characters that do not print; white space becomes a space."""
    kept = (char if char.isprintable() else " " if char.isspace() else "" for char in _ESCAPE_SEQUENCE.sub("", text))
    return "".join(kept).rstrip()


def plain(text: str, longest: int = LONGEST) -> str:
    """Foreign text without escape sequences, control and bidirectional characters, cut to `longest`."""
    shown = clean(text)
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}…"
