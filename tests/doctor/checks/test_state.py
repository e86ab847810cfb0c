"""State of the modern era, known on every node or on some."""

from __future__ import annotations

import pytest

from mooring.doctor.checks.state import judge, run
from mooring.doctor.client.reply import Reply
from mooring.doctor.evidence.carried_state import Carried
from mooring.doctor.findings import NotRun, Verdict
from tests.doctor.examined import examined
from tests.doctor.odd import running_odd

DONE = Reply(200, message={"jsonrpc": "2.0", "id": 1, "result": {"content": [{"type": "text", "text": "1"}]}})
FAILED = Reply(
    200,
    message={
        "jsonrpc": "2.0",
        "id": 1,
        "result": {"isError": True, "content": [{"type": "text", "text": "no such counter"}]},
    },
)
REFUSED = Reply(400, message={"jsonrpc": "2.0", "id": 1, "error": {"code": -32602, "message": "invalid state"}})


@pytest.mark.parametrize(
    ("carried", "verdict", "says"),
    [
        (Carried(DONE, (DONE,) * 7), Verdict.OK, "requestState is known each time, 7 of 7"),
        (
            Carried(DONE, (DONE, REFUSED) * 3),
            Verdict.BROKEN,
            "requestState is known to some nodes only: 3 of 6 were refused: 400 invalid state",
        ),
        (Carried(DONE, (REFUSED,) * 6), Verdict.UNKNOWN, "cannot tell: requestState is refused each time"),
        (
            Carried(DONE, (), "counter", (DONE, FAILED), "increment"),
            Verdict.BROKEN,
            "the handle of counter is known to some nodes only: 1 of 2 were refused: no such counter",
        ),
        (Carried(DONE, (), "counter", (DONE, DONE), "increment"), Verdict.OK, "the handle of counter is known"),
        (Carried(DONE, second="increment"), Verdict.UNKNOWN, "cannot tell: what the tool answered fits no argument"),
    ],
)
def test_what_is_said(carried: Carried, verdict: Verdict, says: str) -> None:
    found = judge(carried, str)
    assert not isinstance(found, NotRun)
    assert found.verdict is verdict
    assert found.says.startswith(says)
    assert bool(found.changes) is (verdict is Verdict.BROKEN)


async def test_nothing_to_look_at() -> None:
    assert isinstance(judge(Carried(DONE), str), NotRun)
    for is_modern in (True, False):
        async with running_odd(is_modern=is_modern) as odd, examined(odd.url, sessions=2) as exam:
            assert isinstance(await run(exam), NotRun)
