"""The whole of what one run found."""

from __future__ import annotations

import json

import pytest

from mooring.doctor.findings import Change, Finding, Verdict
from mooring.doctor.report import Outlook, Report

CHANGE = (Change("Change it."),)


def report(*findings: Finding, reached: bool = True) -> Report:
    return Report("https://h/mcp", None, reached, findings)


def ok(check: str = "affinity") -> Finding:
    return Finding(check, Verdict.OK, "fine")


def bad(check: str, verdict: Verdict, says: str = "it is so: 3 of 4", why: str = "Because.") -> Finding:
    return Finding(check, verdict, says, why)


@pytest.mark.parametrize(
    ("shown", "outlook", "sentence"),
    [
        (report(ok()), Outlook.HEALTHY, "healthy: 1 check is ok"),
        (report(ok(), ok("eras")), Outlook.HEALTHY, "healthy: 2 checks are ok"),
        (report(), Outlook.HEALTHY, "nothing was there to look at"),
        (
            report(ok(), bad("idle", Verdict.UNKNOWN)),
            Outlook.HEALTHY,
            "healthy as far as can be seen: 1 check is ok, 1 could not tell",
        ),
        (report(bad("idle", Verdict.UNKNOWN)), Outlook.HEALTHY, "nothing was found out"),
        (report(ok("idle"), bad("affinity", Verdict.UNKNOWN)), Outlook.WARNINGS, "unknown: it is so"),
        (report(ok(), bad("idle", Verdict.WARNING)), Outlook.WARNINGS, "warning: it is so"),
        (
            report(bad("affinity", Verdict.UNKNOWN), bad("idle", Verdict.WARNING, "first"), bad("x", Verdict.WARNING)),
            Outlook.WARNINGS,
            "warning: first; also 1 more warning, 1 unknown",
        ),
        (
            report(bad("idle", Verdict.WARNING), bad("affinity", Verdict.BROKEN, "this"), bad("x", Verdict.WARNING)),
            Outlook.BROKEN,
            "broken: this; also 2 warnings",
        ),
        (
            report(bad("affinity", Verdict.BROKEN, "this"), bad("x", Verdict.BROKEN, "that")),
            Outlook.BROKEN,
            "broken: this; also 1 more broken",
        ),
        (
            report(bad("endpoint", Verdict.BROKEN, "no MCP endpoint: POST is answered with 404"), reached=False),
            Outlook.UNREACHABLE,
            "cannot be examined: no MCP endpoint: POST is answered with 404",
        ),
        (
            report(bad("endpoint", Verdict.WARNING, "redirected to https://h/x"), ok()),
            Outlook.WARNINGS,
            "warning: redirected to https://h/x",
        ),
    ],
)
def test_the_outlook_and_its_sentence(shown: Report, outlook: Outlook, sentence: str) -> None:
    assert (shown.outlook, shown.sentence) == (outlook, sentence)


def test_the_exit_codes() -> None:
    assert {outlook.name: int(outlook) for outlook in Outlook} == {
        "HEALTHY": 0,
        "WARNINGS": 1,
        "BROKEN": 2,
        "UNREACHABLE": 3,
    }


def test_problems_are_in_the_order_of_their_weight() -> None:
    unknown = Finding("a", Verdict.UNKNOWN, "x", changes=CHANGE)
    findings = (unknown, bad("b", Verdict.WARNING), ok("c"), bad("d", Verdict.BROKEN), bad("e", Verdict.WARNING))
    assert [one.check for one in report(*findings).problems] == ["d", "b", "e"]
    assert report(*findings).hints == (unknown,)


@pytest.mark.parametrize("verdict", Verdict)
@pytest.mark.parametrize(("why", "changes"), [("", ()), ("Why.", ()), ("", CHANGE), ("Why.", CHANGE)])
def test_who_has_more_to_say_is_a_problem_or_a_hint(verdict: Verdict, why: str, changes: tuple[Change, ...]) -> None:
    shown = report(Finding("a", verdict, "x", why, changes=changes))
    is_bad = verdict in (Verdict.BROKEN, Verdict.WARNING)
    assert bool(shown.problems) is (is_bad and bool(why or changes))
    assert bool(shown.hints) is (verdict is Verdict.UNKNOWN and bool(changes))


@pytest.mark.parametrize(
    ("legacy", "modern", "eras"),
    [
        (["2025-11-25", "2024-11-05"], ["2026-07-28"], "legacy to 2025-11-25, modern 2026-07-28"),
        (["2025-11-25"], [], "legacy 2025-11-25"),
        ([], ["2026-07-28"], "modern 2026-07-28"),
        ([], [], ""),
    ],
)
def test_what_the_server_speaks(legacy: list[str], modern: list[str], eras: str) -> None:
    evidence = {"legacy_versions": legacy, "modern_versions": modern}
    assert report(ok(), Finding("eras", Verdict.OK, "x", evidence=evidence)).speaks == eras
    assert report(ok()).speaks == ""


def test_json_for_programs() -> None:
    finding = Finding("idle", Verdict.WARNING, "says", "Why.", {"cut_seconds": 5.0}, (Change("Do.", "timeout 1h"),))
    shown = Report("https://h/mcp", "nginx", True, (finding,), {"host": "why not"}, 20, 19, 1, 900, 6.123)
    assert json.loads(json.dumps(shown.as_json())) == {
        "url": "https://h/mcp",
        "outlook": "warnings",
        "exit_code": 1,
        "proxy": "nginx",
        "behind": [],
        "findings": [
            {
                "check": "idle",
                "verdict": "warning",
                "says": "says",
                "why": "Why.",
                "evidence": {"cut_seconds": 5.0},
                "changes": [{"what": "Do.", "config": "timeout 1h"}],
            }
        ],
        "not_run": {"host": "why not"},
        "sessions": {"opened": 20, "closed": 19, "left": 1, "why_left": ""},
        "requests": 900,
        "seconds": 6.1,
    }
