from __future__ import annotations

import pytest

from mooring.doctor.checks.old_transport import judge, run
from mooring.doctor.client.reply import Reply
from mooring.doctor.evidence.old_sessions import OldSession
from mooring.doctor.findings import NotRun, Verdict
from tests.doctor.examined import examined
from tests.doctor.odd import running_odd

GOOD = OldSession(Reply(202), True)
MISSED = OldSession(Reply(404, body=b"Could not find session"), False)


@pytest.mark.parametrize(
    ("sessions", "verdict", "says"),
    [
        ([GOOD] * 6, Verdict.OK, "HTTP+SSE is served at /sse, and works"),
        ([GOOD, MISSED] * 3, Verdict.BROKEN, "HTTP+SSE at /sse: 3 of 6 POSTs miss their stream: 404 Could not find"),
        ([MISSED] * 6, Verdict.BROKEN, "HTTP+SSE is served at /sse, and no POST is answered on its stream: 404"),
        ([], Verdict.UNKNOWN, "HTTP+SSE is served at /sse, and no stream could be used"),
    ],
)
def test_what_is_said(sessions: list[OldSession], verdict: Verdict, says: str) -> None:
    found = judge("/sse", sessions, str)
    assert found.verdict is verdict
    assert found.says.startswith(says)


async def test_nothing_of_it() -> None:
    async with running_odd() as odd, examined(odd.url, sessions=2) as exam:
        assert isinstance(await run(exam), NotRun)
