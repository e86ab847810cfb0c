"""Text that may be shown: whatever could be a secret in it is hidden.

Three things are known of a text, and each hides in its own way: it has URLs in it; it is a setting that should have
been a URL, and is wrong; or it may repeat what an operator keeps secret, whole or cut.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

_MASK: Final = "***"
_CUT: Final = "…"
_TELLING: Final = 6
"""How many of its first characters tell something of a secret: fewer may stand at the end of a text by chance."""

# Group 1 is the secret. A password may hold anything, an @ too: it goes on to the last one.
_URL_PASSWORD: Final = re.compile(r"(?<=://)[^\s/@:'\"]*:([^\s'\"]*)@")
_URL_QUERY: Final = re.compile(r"[?&](?:\w+_)?(?:password|secret|token)=([^&\s'\"]*)", re.IGNORECASE)
# All of the text is one value, so that a space or a quote ends nothing. The scheme is taken or left whole (`?>`), for
# its colon is not the one before a password.
_SETTING_PASSWORD: Final = re.compile(r"\A(?>(?:[^:]*://)?)[^:]*:(.*)@", re.DOTALL)
_SETTING_QUERY: Final = re.compile(r"(?:password|secret|token)=([^&]*)", re.IGNORECASE)

_Span = tuple[int, int]


def masked(text: str) -> str:
    """The text with the passwords of its URLs hidden."""
    return _without(text, _URL_PASSWORD, _URL_QUERY)


def masked_setting(value: str) -> str:
    """A value that should be a URL, and may be none yet: no scheme, or a password that breaks it in two.

    Hides more than `masked`: an address that only looks like a password goes as well.
    """
    return _without(value, _SETTING_PASSWORD, _SETTING_QUERY)


def masked_secrets(text: str, secrets: Iterable[str]) -> str:
    """The text without these secrets: whole ones, and beginnings of them where the text ends or was cut."""
    return _with_mask(text, [span for secret in secrets if secret for span in _repeated(text, secret)])


def _without(text: str, *patterns: re.Pattern[str]) -> str:
    # Twice: a password may hold the & that seemed to end the query's secret before it.
    for _ in range(2):
        text = _with_mask(text, [match.span(1) for pattern in patterns for match in pattern.finditer(text)])
    return text


def _repeated(text: str, secret: str) -> Iterator[_Span]:
    """Where the secret stands in the text, also where it stands in itself once more; then where it is cut."""
    start = text.find(secret)
    while start >= 0:
        yield start, start + len(secret)
        start = text.find(secret, start + 1)
    for end in (*(match.start() for match in re.finditer(_CUT, text)), len(text)):
        for length in range(min(len(secret) - 1, end), _TELLING - 1, -1):
            if text.endswith(secret[:length], 0, end):
                yield end - length, end
                break


def _with_mask(text: str, spans: Iterable[_Span]) -> str:
    """The text with one mask for each of these spans, and for those that overlap together: nothing remains between."""
    shown: list[str] = []
    done = 0
    for start, end in sorted(spans):
        if start >= done:
            shown += [text[done:start], _MASK]
        done = max(done, end)
    return "".join((*shown, text[done:]))
