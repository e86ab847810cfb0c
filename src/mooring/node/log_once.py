"""What may be so with each request, session or handle, and is said once, or not with each of them."""

from __future__ import annotations

import logging
import math
import time
from typing import Final

from mooring.node.few_lines import FewLines
from mooring.settings import Settings

handles_logger = logging.getLogger("mooring.handles")
lease_logger = logging.getLogger("mooring.lease")

_MOST_WARNINGS: Final = 20
_SAY_AGAIN_SECONDS: Final = 60.0


class LogOnce:
    """Of one node.

    Attributes:
        few: says what befalls many sessions, handles or requests at once (`FewLines`).
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._has_warned_of_body = False
        # When it was last said that no more requests are held, by a steady clock.
        self._said_no_room = -math.inf
        # What was said of calls with handles, once each.
        self._warned_of: set[str] = set()
        self.few = FewLines().say

    def say(self, text: str, *values: object) -> None:
        """Of what is so with each call, as with an app whose ids are numbers: the same once, and few of the kind, since
        clients may have them differ."""
        said = text % values
        if said not in self._warned_of and len(self._warned_of) < _MOST_WARNINGS:
            self._warned_of.add(said)
            handles_logger.warning("%s", said)

    def large_body(self) -> None:
        """Once: a request is served here though it may name a handle of another node."""
        if not self._has_warned_of_body:
            self._has_warned_of_body = True
            lease_logger.warning(
                "a request of more than %d bytes was served where it arrived: handles are not looked for in larger "
                "ones (handle_search_bytes); let its tool mark the handle's argument with x-mcp-header",
                self._settings.handle_search_bytes,
            )

    def no_room(self) -> None:
        """One more request would have to be held than may be: the log says so, and not with each of them."""
        now = time.monotonic()
        if self._settings.held_requests and now - self._said_no_room >= _SAY_AGAIN_SECONDS:
            self._said_no_room = now
            lease_logger.warning(
                "%d requests are held for nodes that do not answer, and no more are (held_requests): others are "
                "answered unreachable at once; see which nodes those are (`mooring status`)",
                self._settings.held_requests,
            )
