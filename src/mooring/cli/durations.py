"""Time spans for people."""

from __future__ import annotations


def ago(seconds: float) -> str:
    """A time span for people, in its largest unit: `4 s`, `12 min`, `3 h`, `5 d`."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{max(0, int(seconds))} s"
