"""Reports made by hand: what the checks will ever say, without a deployment."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from mooring.doctor.findings import Change, Finding, Verdict
from mooring.doctor.report import Report

LONG: Final = "a sentence of the length that a finding may have at most, which is ninety characters or so"
CONFIG: Final = """\
backend mcp
    stick-table type string len 128 size 1m expire 1d
    stick store-response res.hdr(Mcp-Session-Id)

    stick match req.hdr(Mcp-Session-Id)"""
LONG_CONFIG: Final = (
    "mooring serve server.py:server --redis-url redis://...   # or, in Python: app = Mooring(app), and so on"
)
NAMES: Final = (
    *("eras", "affinity", "cookie", "spread", "unknown-session", "deleted-session", "forged-session", "principals"),
    *("buffering", "idle", "resumption", "compression", "origin", "host", "body-limit", "modern-headers"),
)
"""As many as there will be, whatever the catalogue has by now."""

ERAS: Final = Finding(
    "eras",
    Verdict.OK,
    "legacy 2025-11-25, 2025-06-18, 2025-03-26, 2024-11-05 and modern 2026-07-28; gives out sessions",
    evidence={"legacy_versions": ["2025-11-25", "2025-06-18"], "modern_versions": ["2026-07-28"]},
)
AFFINITY: Final = Finding(
    "affinity",
    Verdict.BROKEN,
    "works with one replica, fails with two: 69% of calls miss their session",
    "Nothing keeps the requests of a session on the node that holds it; they seem to spread over about 3 nodes. The "
    "others answer `404 Session not found`, and most clients never recover from that.",
    {"calls": 800, "reached": 249},
    (Change("Let HAProxy learn which node gave out which Mcp-Session-Id.", CONFIG),),
)
COMPRESSION: Final = Finding(
    "compression",
    Verdict.WARNING,
    "event streams are compressed: gzip",
    "A stream that is compressed is held back until enough has come together. Progress arrives late.",
    {"encoding": "gzip"},
    (Change("Do not compress event streams.", "gzip_types text/plain application/json;"),),
)
UNREACHABLE: Final = Report(
    "http://127.0.0.1:1/mcp",
    proxy=None,
    reached=False,
    findings=(
        Finding(
            "endpoint",
            Verdict.BROKEN,
            "nothing listens at 127.0.0.1:1",
            changes=(Change("Check host and port, and whether the proxy runs."),),
        ),
    ),
    requests=1,
)


def report(*problems: Finding, not_run: dict[str, str] | None = None) -> Report:
    """A report in which all is ok but these."""
    by_name = {"eras": ERAS, **{problem.check: problem for problem in problems}}
    names = [*NAMES, *(name for name in by_name if name not in NAMES)]
    return Report(
        "https://mcp.example.com/mcp",
        proxy="HAProxy",
        reached=True,
        findings=tuple(by_name.get(name) or Finding(name, Verdict.OK, LONG) for name in names),
        not_run=not_run or {},
        sessions=20,
        closed=20,
        requests=938,
        seconds=6.13,
    )


def everything_wrong() -> Report:
    """A report with every verdict many times."""
    verdicts = (Verdict.BROKEN, Verdict.WARNING, Verdict.UNKNOWN)
    problems = [
        replace(AFFINITY, check=name, verdict=verdicts[number % 3], says=LONG) for number, name in enumerate(NAMES)
    ]
    return report(*problems)
