"""What an `initialize` that was refused may mean, by its answer alone.

kind          answer
NO_ANSWER     none, or a cut connection
EMPTY         an event stream that ended, whole by its form, and the answer is not in it
DOWN          502, 503, 504, 5xx without a word of sessions
LOGIN         401, 403
HOST          421, or a 403 that speaks of the host
ELSEWHERE     404, 405, a page, a redirect: no MCP is served at this path
TAKEN         an error that says that the server is initialized already
FULL          an error that says that there are too many sessions
UNKNOWN_CALL  JSON-RPC's "method not found"
VERSION       an error that speaks of the protocol version
RATE          429
OTHER         anything else
"""

from __future__ import annotations

import enum
import re
from typing import Final

from mooring.doctor.client.protocol import EVENT_STREAM, error_code, error_text
from mooring.doctor.client.reply import Outcome, Reply


class OpeningRefusal(enum.StrEnum):
    NO_ANSWER = "no_answer"
    EMPTY = "empty"
    DOWN = "down"
    LOGIN = "login"
    HOST = "host"
    ELSEWHERE = "elsewhere"
    TAKEN = "taken"
    FULL = "full"
    UNKNOWN_CALL = "unknown_call"
    VERSION = "version"
    RATE = "rate"
    OTHER = "other"


_NOT_FOUND: Final = -32601
_UNSUPPORTED: Final = (-32022, -32004)
_TAKEN: Final = re.compile(r"already\b.{0,30}(initiali[sz]ed|connected|session|in use)|only one|single session", re.I)
_FULL: Final = re.compile(
    r"too many|(max(imum)?|limit)\b.{0,40}(session|connection)"
    r"|(session|connection)s?\b.{0,30}(limit|exceed|reached|full)|no (more )?(session|capacity)|at capacity",
    re.I,
)
_VERSION: Final = re.compile(r"protocol.?version|unsupported.{0,20}version", re.I)
_HOST: Final = re.compile(r"\b(host|origin)\b", re.I)


def label_of_opening(reply: Reply) -> str:
    """That answer to `initialize` in a few words. Foreign text: show it scrubbed."""
    is_empty = refusal_of_opening(reply) is OpeningRefusal.EMPTY
    return f"{reply.label} and a stream without the answer" if is_empty else reply.label


def refusal_of_opening(reply: Reply) -> OpeningRefusal:
    """What that answer to `initialize` may mean."""
    said = error_text(reply.message) or ("" if reply.body.lstrip().startswith(b"<") else reply.text)
    if reply.outcome in (Outcome.HANG, Outcome.CUT):
        return OpeningRefusal.NO_ANSWER
    if reply.is_ok and reply.message is None and reply.media_type == EVENT_STREAM:
        return OpeningRefusal.EMPTY
    for pattern, kind in ((_TAKEN, OpeningRefusal.TAKEN), (_FULL, OpeningRefusal.FULL)):
        if reply.status not in (401, 403, 429, 502, 504) and pattern.search(said):
            return kind
    if reply.status == 429:
        return OpeningRefusal.FULL if re.search(r"session", said, re.I) else OpeningRefusal.RATE
    if reply.status == 421 or (reply.status == 403 and _HOST.search(said)):
        return OpeningRefusal.HOST
    if reply.status in (401, 403):
        return OpeningRefusal.LOGIN
    if reply.status >= 500:
        return OpeningRefusal.DOWN
    code = error_code(reply.message)
    if code == _NOT_FOUND:
        return OpeningRefusal.UNKNOWN_CALL
    if code in _UNSUPPORTED or _VERSION.search(said):
        return OpeningRefusal.VERSION
    if reply.message is None and (reply.status in (404, 405, 410) or reply.status < 400):
        return OpeningRefusal.ELSEWHERE
    return OpeningRefusal.OTHER
