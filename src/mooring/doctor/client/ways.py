"""The ways in which clients send: with cookies or without, on one connection or on many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Way:
    """How a client sends: with the cookies that it was given or without, on one connection or a new one each time."""

    cookies: bool
    one_connection: bool

    @property
    def name(self) -> str:
        """`cookies, one connection`."""
        return (
            f"{'cookies' if self.cookies else 'no cookies'}, {'one connection' if self.one_connection else 'a new one'}"
        )

    @property
    def key(self) -> str:
        """The same for programs: `cookies_one_connection`."""
        return f"{'cookies' if self.cookies else 'no_cookies'}_{'one_connection' if self.one_connection else 'new'}"


WAYS: Final = (Way(True, True), Way(False, True), Way(True, False), Way(False, False))
"""Those on the first connection come first, while it is fresh."""
HOME: Final = WAYS[0]
