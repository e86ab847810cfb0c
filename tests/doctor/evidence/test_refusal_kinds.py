from __future__ import annotations

import pytest

from mooring.doctor.client.reply import Reply, Trouble
from mooring.doctor.evidence.refusal_kinds import RefusalKind, refusal_kind
from tests.doctor.examples import HANG, LOST, REACHED, THROTTLED, UNAVAILABLE

BAD = Reply(status=400, body=b"Invalid or missing session ID")


CUT = Reply(trouble=Trouble.CUT)


LOGIN = Reply(status=401)


HIDDEN = Reply(status=200, message={"jsonrpc": "2.0", "id": 1, "error": {"code": 1, "message": "Session not found"}})


NOT_ALLOWED = Reply(status=405)


@pytest.mark.parametrize(
    ("reply", "method", "manner"),
    [
        (LOST, "POST", RefusalKind.GONE),
        (Reply(status=404, body=b"<html>"), "POST", RefusalKind.GONE),
        (BAD, "POST", RefusalKind.BAD),
        (Reply(status=400), "POST", RefusalKind.BAD),
        (REACHED, "POST", RefusalKind.SERVED),
        (HIDDEN, "POST", RefusalKind.OTHER),
        (Reply(status=202), "POST", RefusalKind.OTHER),
        (Reply(status=202), "DELETE", RefusalKind.SERVED),
        (Reply(status=200), "GET", RefusalKind.SERVED),
        (LOGIN, "POST", RefusalKind.LOGIN),
        (Reply(status=403), "POST", RefusalKind.LOGIN),
        (UNAVAILABLE, "POST", RefusalKind.FAILED),
        (Reply(status=500), "POST", RefusalKind.FAILED),
        (HANG, "POST", RefusalKind.HANG),
        (CUT, "POST", RefusalKind.CUT),
        (Reply(status=404, trouble=Trouble.CUT), "POST", RefusalKind.CUT),
        (THROTTLED, "POST", RefusalKind.THROTTLED),
        (NOT_ALLOWED, "POST", RefusalKind.OTHER),
    ],
)
def test_in_what_manner_a_session_is_refused(reply: Reply, method: str, manner: RefusalKind) -> None:
    assert refusal_kind(reply, method) is manner
