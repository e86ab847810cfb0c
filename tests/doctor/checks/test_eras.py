"""Which revisions are spoken, and what the head of a report says of them."""

from __future__ import annotations

import pytest

from mooring.doctor.checks import eras
from mooring.doctor.findings import Verdict
from tests.doctor.examined import examined
from tests.doctor.ledger import running_ledger
from tests.doctor.odd import running_odd


@pytest.mark.parametrize(
    ("legacy", "modern", "speaks"),
    [
        (["2025-11-25", "2024-11-05"], ["2026-07-28"], "legacy to 2025-11-25, modern 2026-07-28"),
        (["2025-11-25"], [], "legacy 2025-11-25"),
        ([], ["2026-07-28"], "modern 2026-07-28"),
        ([], [], ""),
    ],
)
def test_the_newest_of_each_era(legacy: list[str], modern: list[str], speaks: str) -> None:
    assert eras.speaks({"legacy_versions": legacy, "modern_versions": modern}) == speaks


async def test_a_server_of_both_eras() -> None:
    async with running_odd(is_modern=True) as odd, examined(odd.url) as exam:
        found = await eras.run(exam)
    assert found.verdict is Verdict.OK
    assert found.says == "legacy 2024-11-05 to 2025-11-25, modern 2026-07-28; gives out sessions"


async def test_nodes_with_and_without_sessions_are_not_one_server() -> None:
    async with running_ledger() as ledger, examined(ledger.url, sessions=2) as exam:
        exam.sessions.sessionless.append(exam.sessions.opened[0].opened)
        found = await eras.run(exam)
    assert found.verdict is Verdict.BROKEN


async def test_nodes_of_different_versions_are_warned_of() -> None:
    async with running_ledger() as ledger, examined(ledger.url, sessions=2) as exam:
        exam.sessions.opened[0].server = {"name": "ledger", "version": "2"}
        found = await eras.run(exam)
    assert (found.verdict, found.says) == (Verdict.WARNING, "sessions met different server versions: 1, 2")


@pytest.mark.parametrize(("version", "named"), [("2099-01-01", "2099-01-01"), ("1.0", "1.0"), ("", "none")])
async def test_a_version_that_no_client_speaks_is_broken(version: str, named: str) -> None:
    async with running_odd() as odd, examined(odd.url, sessions=2) as exam:
        exam.eras.legacy["2025-11-25"] = version
        found = await eras.run(exam)
    assert found.verdict is Verdict.BROKEN
    assert found.says == f"`initialize` is answered with a version that nobody asked for: {named}"
    assert found.changes
