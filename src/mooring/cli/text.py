"""Text on its way to a terminal or a log: nothing that moves the cursor, nothing that anyone must not see."""

from __future__ import annotations

from typing import Final

from mooring.cluster.lines import clean

LONGEST: Final = 80
"""The most characters of a foreign text that are shown."""


def plain(text: str, longest: int = LONGEST) -> str:
    """Foreign text without escape sequences, control and bidirectional characters, cut to `longest`."""
    shown = clean(text)
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}…"


def ago(seconds: float) -> str:
    """A time span for people, in its largest unit: `4 s`, `12 min`, `3 h`, `5 d`."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{max(0, int(seconds))} s"
