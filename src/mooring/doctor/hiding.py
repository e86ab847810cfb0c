"""Keeps the operator's secrets out of what is shown, also where a server sends them back and the text was cut."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

Show = Callable[[object], str]
"""Makes foreign text fit to be shown and stored: `Examination.show`, for a verdict that needs nothing else of it."""
ShowCut = Callable[[object, int], str]
"""The same, with the most characters that are shown."""

HIDDEN: Final = "***"
_CUT: Final = "…"
_TELLING: Final = 6
"""How many of its first characters tell something of a secret: fewer may stand at the end of a text by chance."""


def hidden(text: str, secrets: Iterable[str]) -> str:
    """The text without these secrets, whole ones and beginnings of them where the text ends or was cut.

    Args:
        secrets: the longest first, so that one within another leaves nothing of the longer one.
    """
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
        for length in range(min(len(secret) - 1, len(text)), _TELLING - 1, -1):
            beginning = secret[:length]
            text = text.replace(beginning + _CUT, HIDDEN + _CUT)
            if text.endswith(beginning):
                text = text[:-length] + HIDDEN
    return text
