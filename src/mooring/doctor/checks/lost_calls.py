"""The verdict on calls that miss their session, by the pattern in which they do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mooring.doctor.advice import Topic, advice
from mooring.doctor.client.reply import Outcome
from mooring.doctor.client.ways import WAYS, Way
from mooring.doctor.evidence.call_pattern import CallTally, Pattern
from mooring.doctor.evidence.ended_sessions import count_ended
from mooring.doctor.examination import Examination
from mooring.doctor.findings import Finding, Verdict

_TEXTS: Final = {
    Pattern.ROUND_ROBIN: (
        "works with one replica, fails with two: {missed} of calls miss their session",
        "Nothing keeps the requests of a session on the node that holds it{spread}. The others answer `{label}`, "
        "and most clients never recover from that.{no_help}",
    ),
    Pattern.COOKIE: (
        "only clients that keep cookies work: without, {reached} of calls reach their session",
        "The TypeScript SDK and all that is built on it, VS Code among them, keep no cookies: for them it works "
        "with one replica and fails with two, with `{label}`.",
    ),
    Pattern.CONNECTION: (
        "affinity by connection: on new ones {reached} of calls reach their session",
        "A client that opens a second connection, for a stream or after a pause, is another client to this "
        "load balancer: it works with one replica and fails with two, with `{label}`.",
    ),
    Pattern.HASH: (
        "each session works always or never: requests are placed by a hash of the session id",
        "`initialize` carries no session id yet, so the hash puts it on one node, and all that follows on another. "
        "It works with one replica and fails with two, with `{label}`.",
    ),
    Pattern.NEVER: (
        "no call reaches its session: {label}",
        "Not even the node that opened a session knows it afterwards: a proxy drops the Mcp-Session-Id header, or "
        "the nodes keep no sessions though they give out ids.",
    ),
    Pattern.ENDED: (
        "{ended} of {sessions} sessions ended during the calls, as with a restarted node",
        "Until then all their calls arrived, and afterwards none did: it is not that calls go to a wrong node. Their "
        "clients meet `{label}`, and most never recover from that.",
    ),
}
"""What is said, and why it hurts. `missed` and `reached` are shares of the calls without cookies on new connections."""
_LEAST_SHARE: Final = 0.05
"""Where so few calls find their session, their share tells nothing of how many nodes there are."""


def judge_lost(
    check: str, exam: Examination, pattern: Pattern, by_way: Mapping[Way, CallTally], evidence: Mapping[str, Any]
) -> Finding:
    """The verdict where calls were lost in that pattern."""
    share = by_way[WAYS[3]].share
    nodes = round(1 / share) if share > _LEAST_SHARE else 0
    lost = CallTally.of([call for call in exam.calls if call.reply.outcome is Outcome.LOST])
    has_cookie = any(call.session.opened.headers.getall("Set-Cookie", []) for call in exam.calls[:1])
    values = {
        "label": exam.show(lost.labels.most_common(1)[0][0]),
        "missed": f"{100 - round(100 * share)}%",
        "reached": f"{100 * share:.0f}%",
        "spread": f"; they seem to spread over about {nodes} nodes" if nodes > 1 else "",
        "no_help": " A cookie is set, and it does not help: see the check `cookie`." if has_cookie else "",
        "ended": count_ended(exam.calls),
        "sessions": evidence["sessions"],
    }
    says, why = (text.format(**values) for text in _TEXTS[pattern])
    return Finding(
        check,
        Verdict.BROKEN,
        says,
        why,
        {**evidence, "pattern": pattern.name.lower(), "nodes_about": nodes or None},
        (advice(Topic.SURVIVAL if pattern is Pattern.ENDED else Topic.AFFINITY, exam.proxy),),
    )
