"""Where calls go unanswered, the checks that would send more of them say so and send nothing."""

from __future__ import annotations

import pytest

from mooring.doctor.catalogue import CHECKS
from mooring.doctor.check import Check
from mooring.doctor.client.protocol import MODERN_VERSION
from mooring.doctor.findings import Finding, Verdict
from tests.doctor.examined import examined
from tests.doctor.ledger import running_ledger

ASKING = [check for check in CHECKS if check.makes_calls and not check.goes_first]


@pytest.mark.parametrize("check", ASKING, ids=lambda check: check.name)
async def test_nothing_is_asked_where_calls_hang(check: Check) -> None:
    async with running_ledger() as ledger, examined(ledger.url, sessions=2, tokens=("alice", "bob")) as exam:
        exam.eras.modern = (MODERN_VERSION,)
        exam.no_calls = "calls hang here"
        before = len(ledger.methods)
        found = await check.run(exam)
        assert len(ledger.methods) == before
    assert isinstance(found, Finding)
    assert (found.verdict, found.says) == (Verdict.UNKNOWN, "not asked: calls hang here")
