"""Which revisions the server speaks, and whether it gives out sessions at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from mooring.doctor.check import Check
from mooring.doctor.client.protocol import LEGACY_VERSIONS
from mooring.doctor.examination import Examination
from mooring.doctor.findings import Change, Finding, Verdict

NAME: Final = "eras"


async def run(exam: Examination) -> Finding:
    eras = exam.eras
    spoken = [version for version in LEGACY_VERSIONS if version in eras.legacy.values()]
    versions = sorted({exam.show(one.server.get("version", "")) for one in exam.sessions.opened})
    evidence = {
        "legacy_versions": spoken,
        "modern_versions": list(eras.modern),
        "gives_sessions": bool(eras.gives_sessions),
        "server": {name: exam.show(eras.server.get(name, "")) for name in ("name", "version")},
        "capabilities": [exam.show(name) for name in eras.capabilities],
        "server_versions": versions,
    }
    spoken_eras = [_span("legacy", spoken), _span("modern", eras.modern)]
    both = len(exam.sessions.opened) > 0 and len(exam.sessions.sessionless) > 0
    if both:
        return Finding(
            NAME,
            Verdict.BROKEN,
            f"some nodes give out sessions and {len(exam.sessions.sessionless)} answers had none",
            "Either the nodes do not run the same server, and a session meets nodes that know nothing of sessions; or "
            "the header Mcp-Session-Id of some answers is lost on their way.",
            {**evidence, "answers_without_session": len(exam.sessions.sessionless)},
            (
                Change(
                    "Run the same server with the same settings on every node, and pass on Mcp-Session-Id from each."
                ),
            ),
        )
    sessions = (
        "keeps sessions, whose ids do not come through"
        if eras.id_is_lost
        else "gives out sessions"
        if eras.gives_sessions
        else "without sessions: no affinity needed"
        if eras.gives_sessions is False
        else "no sessions in this era: no affinity needed"
    )
    says = f"{', '.join(filter(None, spoken_eras))}; {sessions}"
    unheard = sorted({exam.show(version) for version in eras.legacy.values() if version not in LEGACY_VERSIONS})
    if unheard:
        return Finding(
            NAME,
            Verdict.BROKEN,
            f"`initialize` is answered with a version that nobody asked for: {', '.join(unheard) or 'none'}",
            f"It was asked for {', '.join(eras.legacy)}. A client that does not speak what the "
            "server chooses has to disconnect (2025-11-25, Lifecycle: Version Negotiation), and those of today do not.",
            {**evidence, "versions_unheard": unheard},
            (Change("Have the server answer with the version that was asked for, or with the newest that it speaks."),),
        )
    if len(versions) > 1:
        return Finding(
            NAME,
            Verdict.WARNING,
            f"sessions met different server versions: {', '.join(versions)}",
            "A deploy is under way, or one has left some nodes out.",
            evidence,
        )
    return Finding(NAME, Verdict.OK, says, evidence=evidence)


def speaks(evidence: Mapping[str, Any]) -> str:
    """`legacy to 2025-11-25, modern 2026-07-28`: the newest version of each era."""
    legacy, modern = evidence.get("legacy_versions"), evidence.get("modern_versions")
    spoken = [
        *([f"legacy {'to ' if len(legacy) > 1 else ''}{max(legacy)}"] if legacy else []),
        *([f"modern {max(modern)}"] if modern else []),
    ]
    return ", ".join(spoken)


def _span(era: str, versions: Sequence[str]) -> str:
    """`legacy 2024-11-05 to 2025-11-25`; empty where there are none."""
    ends = sorted({min(versions, default=""), max(versions, default="")} - {""})
    return f"{era} {' to '.join(ends)}" if ends else ""


CHECK: Final = Check(
    NAME,
    "which revisions are spoken, and are there sessions at all?",
    run,
    is_reading=True,
    makes_calls=False,
    is_essential=True,
    speaks=speaks,
)
