"""What came back for one request, and what that means for the session that it was for."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, field
from typing import Final

from multidict import CIMultiDict, CIMultiDictProxy

from mooring.core.masking import masked_secrets
from mooring.core.text import plain
from mooring.doctor.client.protocol import Message, error_code, error_text, reason

_NO_HEADERS: Final[CIMultiDictProxy[str]] = CIMultiDictProxy(CIMultiDict())
_TEXT_BYTES: Final = 200
LEAST_ID: Final = 8
"""A shorter session id is no secret, and to hide each 7 would leave no text readable."""
_LOOK_BYTES: Final = 400
_CHANGES: Final = re.compile(r"[0-9a-fA-F-]{6,}|\d+")
_UNKNOWN_METHOD: Final = -32601
_INVALID_PARAMS: Final = -32602
_ABOUT_SESSIONS: Final = re.compile(r"session|initiali[sz]e", re.IGNORECASE)


class Trouble(enum.StrEnum):
    """Why there is no whole HTTP answer."""

    HANG = "no answer in time"
    NAME = "the host name cannot be resolved"
    REFUSED = "connection refused"
    TLS = "TLS failed"
    CUT = "connection closed before the answer was whole"
    NO_WAY = "no connection"
    NOT_HTTP = "the answer is not HTTP"
    ENCODED = "the answer is in an encoding that was not asked for, or is not what it says"
    NOT_SENT = "not sent, since calls open new sessions here"


class Outcome(enum.StrEnum):
    """What a reply means for a call within a session.

    REACHED      the session answered, with a result or with an error of its own
    LOST         somebody answered that knows nothing of the session
    LOGIN        401 or 403
    THROTTLED    429
    UNAVAILABLE  a 5xx, or Mooring's `unreachable` or `not_revived`
    HANG         nothing came in time
    CUT          the connection failed
    UNSENT       it was kept back: see `Wire.is_halted`
    ODD          anything else
    """

    REACHED = "reached"
    LOST = "lost"
    LOGIN = "login"
    THROTTLED = "throttled"
    UNAVAILABLE = "unavailable"
    HANG = "hang"
    CUT = "cut"
    UNSENT = "unsent"
    ODD = "odd"


FAILURES: Final = frozenset({Outcome.UNAVAILABLE, Outcome.CUT, Outcome.HANG})
"""No answer came from anyone who could say something of the session, or of what was asked."""
MAY_PASS: Final = frozenset({Outcome.UNAVAILABLE, Outcome.CUT})
"""What may be over when it is sent once more."""


@dataclass(frozen=True, slots=True)
class Reply:
    """
    Attributes:
        status: the HTTP status; 0 where no answer began. Without a trouble, nobody waited for it any longer.
        body: its first bytes, to a limit, decoded where the server compressed it.
        message: the JSON-RPC answer to the request in it.
        trouble: why the answer is not whole; `detail` is what the library said.
        first_byte_seconds: from sending to the answer's head.
        seconds: from sending to its end.
        at_seconds: when it was sent, from the beginning of the run.
        is_disguised: it looks as what an unknown session gets here, though it is no 404: see `Wire.looks_lost`.
        asked_in: the session ids that the request carried; where the answer repeats one, it is not shown.
    """

    status: int = 0
    headers: CIMultiDictProxy[str] = field(default_factory=lambda: _NO_HEADERS)
    body: bytes = b""
    message: Message | None = None
    trouble: Trouble | None = None
    detail: str = ""
    first_byte_seconds: float = 0.0
    seconds: float = 0.0
    at_seconds: float = 0.0
    is_disguised: bool = False
    asked_in: tuple[str, ...] = ()

    @property
    def look(self) -> tuple[str, str, str]:
        """What makes it the same answer as another: status, type, and the body but for what changes each time."""
        text = _CHANGES.sub("", self.body[:_LOOK_BYTES].decode("utf-8", errors="replace"))
        return self.status_key, self.media_type, text

    @property
    def is_page(self) -> bool:
        """Its body is made for people, as no MCP server's is."""
        return self.media_type == "text/html" or self.body.lstrip()[:1] == b"<"

    @property
    def media_type(self) -> str:
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    @property
    def is_ok(self) -> bool:
        return self.trouble is None and 200 <= self.status < 300

    @property
    def text(self) -> str:
        """The beginning of the body on one line."""
        return plain(self.body[:_TEXT_BYTES].decode("utf-8", errors="replace"), _TEXT_BYTES)

    @property
    def status_key(self) -> str:
        """For programs: `404`, or `hang` and its like where no whole answer came."""
        return str(self.status) if self.trouble is None else self.trouble.name.lower()

    @property
    def status_in_words(self) -> str:
        """The same for people: `404`, or `no answer in time`; `label` also has what the server said."""
        return str(self.status) if self.trouble is None else str(self.trouble)

    @property
    def label(self) -> str:
        """The reply in a few words: `404 Session not found`, `no answer in time`. Foreign text: show it scrubbed."""
        if self.trouble is not None:
            return str(self.trouble)
        if self.status == 0:
            return str(Trouble.HANG)
        said = reason(self.message) or error_text(self.message)
        if not said and self.status >= 400 and not self.body.lstrip().startswith((b"<", b"{")):
            said = self.text
        said = masked_secrets(said, (one for one in self.asked_in if len(one) >= LEAST_ID))
        return plain(f"{self.status} {said}".strip(), 60)

    @property
    def _is_about_the_call(self) -> bool:
        """JSON-RPC's own errors for an unknown method, whatever its status, and for what is wrong with a tool or its
        arguments: somebody has read the call who knows its session, though its name may have the word in it."""
        code = error_code(self.message)
        return code == _UNKNOWN_METHOD or (code == _INVALID_PARAMS and self.status == 200)

    @property
    def outcome(self) -> Outcome:
        if self.trouble is Trouble.HANG or (self.trouble is None and self.status == 0):
            return Outcome.HANG
        if self.trouble is not None:
            return _BY_TROUBLE.get(self.trouble, Outcome.CUT)
        if self.is_disguised:
            return Outcome.LOST
        if self._is_about_the_call:
            return Outcome.REACHED
        if self.status in _BY_STATUS:
            return _BY_STATUS[self.status]
        if self.status >= 500 or reason(self.message) in ("unreachable", "not_revived"):
            return Outcome.UNAVAILABLE
        said = error_text(self.message) or (self.text if self.status >= 400 else "")
        if said and _ABOUT_SESSIONS.search(said):
            return Outcome.LOST
        if self.is_ok and self.message is not None:
            return Outcome.REACHED
        return Outcome.ODD


_BY_TROUBLE: Final = {Trouble.NOT_SENT: Outcome.UNSENT, Trouble.ENCODED: Outcome.ODD}
_BY_STATUS: Final = {
    404: Outcome.LOST,
    401: Outcome.LOGIN,
    403: Outcome.LOGIN,
    429: Outcome.THROTTLED,
    # Both may speak of the session: who says that it is in use, or that this is the wrong connection, knows it well.
    409: Outcome.ODD,
    421: Outcome.ODD,
}
