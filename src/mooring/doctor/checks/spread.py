"""Over which nodes new sessions spread, as far as that can be seen from outside.

The first line that fits counts:

    what is seen                                               verdict
    the status page was named and cannot be read, or knows     unknown
    not all of the sessions
    by the status page: a node without its store, or nodes     warning
    of different versions
    nothing tells nodes apart                                  unknown
    one node only, by a mark that names it                     ok
    several nodes, and next to all sessions on one of them     warning
    a node that answers, and gets next to no session           warning
    too few sessions to say                                    unknown
    anything else                                              ok
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import Final

from mooring.doctor.advice import Topic, advice
from mooring.doctor.check import Check
from mooring.doctor.checks.spread_by_status import judge_by_status
from mooring.doctor.checks.spread_shares import NAME, NAME_CHARS, evidence_of, judge_shares
from mooring.doctor.client.reply import Outcome, Reply
from mooring.doctor.evidence.balance import Balance
from mooring.doctor.evidence.cluster_status import NoStatusPage, read_status
from mooring.doctor.evidence.cookies_seen import affinity_names
from mooring.doctor.evidence.node_marks import MarkKind, NodeMarks, find_marks
from mooring.doctor.evidence.node_of_reply import answers_within, openings_of
from mooring.doctor.evidence.other_path import OtherPath
from mooring.doctor.examination import Examination
from mooring.doctor.findings import Change, Finding, Verdict
from mooring.doctor.showing import ShowCut

_PROBES: Final = 12
_STATUS: Final = Change(
    "In a Mooring cluster the status page shows them: --status URL, with the token in MOORING_STATUS_TOKEN.",
    "mooring doctor URL --status http://127.0.0.1:8080/mooring/status",
)


async def run(exam: Examination) -> Finding:
    ids = [session.id for session in exam.sessions.opened]
    if exam.plan.status_url is not None and ids and not exam.hangs:
        try:
            status = await read_status(exam, lambda status: status.is_settled(ids))
        except NoStatusPage as none:
            says = f"the status page cannot be read: {exam.show(none, 44)}"
            change = Change("Check the URL of --status, and its token in MOORING_STATUS_TOKEN (--status-token-env).")
            return Finding(NAME, Verdict.UNKNOWN, says, changes=(change,))
        return judge_by_status(status, ids, exam.show)
    openings = openings_of(exam)
    found = find_marks(openings, answers_within(exam), affinity_names(exam))
    if found is None:
        return _invisible(exam)
    other = None if exam.hangs else await exam.shared(OtherPath).replies()
    seen = [call.reply for call in exam.calls]
    if found.source.kind is MarkKind.HEADER and not exam.hangs:
        seen += await _discover(exam)
    return judge(Balance.of(found, seen, other.plain if other is not None else ()), found, exam.show)


async def _discover(exam: Examination) -> list[Reply]:
    """Requests that belong to no session, so that any node may answer; none where a server may open one for them."""
    if not exam.eras.modern:
        return []
    replies = await asyncio.gather(*(exam.modern("server/discover") for _ in range(_PROBES)))
    return [exam.eras.discovered, *replies]


def judge(balance: Balance, found: NodeMarks, show: ShowCut) -> Finding:
    """The verdict on sessions whose nodes are known by a mark."""
    names = _distinct({mark: show(found.source.label(mark), NAME_CHARS) for mark in sorted(balance.counts)})
    told_by = show(found.source, NAME_CHARS)
    evidence = evidence_of(balance, names, told_by)
    if len(names) == 1:
        says = f"one node seen: {told_by} is always {next(iter(names.values()))}"
        why = "If there are others, the load balancer keeps this client's address away from them."
        return Finding(NAME, Verdict.OK, says, why, evidence)
    return judge_shares(balance, names, evidence)


def _distinct(names: Mapping[str, str]) -> dict[str, str]:
    """The same with no two alike, since what is cut for showing may begin alike."""
    alike = Counter(names.values())
    number = Counter[str]()
    distinct = {}
    for node, name in names.items():
        number[name] += 1
        distinct[node] = name if alike[name] == 1 else f"{name} ({number[name]})"
    return distinct


def _invisible(exam: Examination) -> Finding:
    lost = any(call.reply.outcome is Outcome.LOST for call in exam.calls)
    return Finding(
        NAME,
        Verdict.UNKNOWN,
        "nodes cannot be told apart from outside",
        "There are several, as lost calls show." if lost else "",
        {"sessions": len(exam.sessions.opened), "told_by": None, "several_nodes": lost or None},
        (_STATUS, advice(Topic.SPREAD, exam.proxy)),
    )


CHECK: Final = Check(
    NAME,
    "do new sessions spread over all nodes, as far as can be seen?",
    run,
    needs_sessions=True,
    is_reading=True,
    makes_calls=False,
)
