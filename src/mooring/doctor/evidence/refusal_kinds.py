"""How a session that is not there is refused, if it is.

404 alone tells a client that its session is gone (2025-11-25, Transports: Session Management).

    kind       answer
    GONE       404
    SERVED     as if the session were there
    BAD        400
    LOGIN      401, 403
    FAILED     5xx
    HANG, CUT  none
    THROTTLED  429
    OTHER      anything else
"""

from __future__ import annotations

import dataclasses
import enum
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from mooring.doctor.client.protocol import reason
from mooring.doctor.client.reply import Outcome, Reply
from mooring.doctor.showing import Show

Answers = Mapping[str, Sequence[Reply]]
"""HTTP method -> what came back."""


class RefusalKind(enum.Enum):
    """How it was refused, if it was."""

    GONE = enum.auto()
    SERVED = enum.auto()
    BAD = enum.auto()
    LOGIN = enum.auto()
    FAILED = enum.auto()
    HANG = enum.auto()
    CUT = enum.auto()
    THROTTLED = enum.auto()
    OTHER = enum.auto()


def refusal_kind(reply: Reply, method: str = "POST") -> RefusalKind:
    """How that reply refuses a session."""
    by_outcome = {
        Outcome.REACHED: RefusalKind.SERVED,
        Outcome.LOGIN: RefusalKind.LOGIN,
        Outcome.THROTTLED: RefusalKind.THROTTLED,
        Outcome.UNAVAILABLE: RefusalKind.FAILED,
        Outcome.HANG: RefusalKind.HANG,
        Outcome.CUT: RefusalKind.CUT,
    }
    if reply.trouble is None and reply.status in (400, 404):
        return RefusalKind.GONE if reply.status == 404 else RefusalKind.BAD
    if method != "POST" and reply.is_ok:
        return RefusalKind.SERVED
    return by_outcome.get(dataclasses.replace(reply, is_disguised=False).outcome, RefusalKind.OTHER)


def counted(answers: Answers, show: Show) -> dict[str, Any]:
    """The evidence: how often each status came for each method, what was said, and Mooring's reasons."""
    posts = answers.get("POST", ())
    return {
        "answers": {
            method: dict(Counter(reply.status_key for reply in replies)) for method, replies in answers.items()
        },
        "said": [show(label) for label, _ in Counter(reply.label for reply in posts).most_common(4)],
        "reasons": sorted({show(reason(reply.message)) for reply in posts if reason(reply.message)}),
    }
