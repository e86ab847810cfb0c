"""The verdict by a Mooring cluster's own status page: on its nodes, and on the sessions that were just opened."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from mooring.doctor.checks.spread_shares import NAME, NAME_CHARS, evidence_of, judge_shares
from mooring.doctor.evidence.balance import Balance
from mooring.doctor.evidence.cluster_status import READY, ClusterNode, ClusterStatus
from mooring.doctor.findings import Change, Finding, Verdict
from mooring.doctor.showing import ShowCut

_USUAL: Final = frozenset({READY, "degraded", "gone"})


def judge_by_status(status: ClusterStatus, ids: Sequence[str], show: ShowCut) -> Finding:
    """The verdict by what a Mooring cluster says of itself."""
    owners = status.owners(ids)
    names = _names(status, show)
    balance = Balance({node.id: owners[node.id] for node in status.alive if node in status.ready or owners[node.id]})
    evidence = evidence_of(balance, {node: names[node] for node in balance.counts}, "status page")
    evidence["nodes"] = [
        {"name": show(node.name, NAME_CHARS), "state": show(node.state, 20), "sessions": node.sessions}
        | {"version": show(node.version, 20)}
        for node in status.nodes
    ]
    evidence["forwarded_share"] = round(status.forwarded_share, 3)
    finding = _unlike(status, len(ids), owners[""], evidence, show)
    if finding is None and len(balance.counts) == 1:
        only = names[next(iter(balance.counts))]
        finding = Finding(NAME, Verdict.OK, f"one node, {only}, has all {len(ids)} sessions", evidence=evidence)
    finding = finding or judge_shares(balance, names, evidence)
    remark = _remark(status.nodes, names, show)
    return dataclasses.replace(finding, why=f"{finding.why} {remark}".strip())


def _unlike(status: ClusterStatus, count: int, unknown: int, evidence: dict[str, Any], show: ShowCut) -> Finding | None:
    """What is to be said before any balance: the page knows other sessions, or its nodes are not as they should be."""
    if unknown == count:
        says = "none of the sessions is on a node of that status page"
        why = "It is another cluster's page, or what gives out these sessions is not Mooring."
        return Finding(NAME, Verdict.UNKNOWN, says, why, evidence, (Change("Check the URL of --status."),))
    if unknown:
        says = f"{unknown} of {count} sessions are on no node of that status page"
        why = "Their nodes have ended, or the page is not of the whole deployment."
        return Finding(NAME, Verdict.UNKNOWN, says, why, evidence, (Change("Run it again when all nodes are up."),))
    degraded = [node for node in status.alive if node.state == "degraded"]
    if degraded or status.degraded:
        says = f"{len(degraded) or 1} of {len(status.alive)} nodes cannot reach the store"
        said = f" It says: {show(status.degraded, 200)}." if status.degraded else ""
        why = f"Without it they serve the sessions that they have, and take over none.{said}"
        change = Change("Look at Redis, and at the way from these nodes to it.")
        return Finding(NAME, Verdict.WARNING, says, why, evidence, (change,))
    versions = sorted({show(node.version, 20) for node in status.alive})
    if len(versions) > 1:
        says = f"the nodes run different versions of Mooring: {', '.join(versions)}"
        why = "A deploy is under way, or one has left some nodes out."
        return Finding(NAME, Verdict.WARNING, says, why, evidence, (Change("Bring all nodes to one version."),))
    return None


def _names(status: ClusterStatus, show: ShowCut) -> dict[str, str]:
    """What the nodes are called: by their names, where these tell the living apart."""
    alike = Counter(node.name for node in status.alive)
    return {node.id: show(node.name if alike[node.name] < 2 else node.id, NAME_CHARS) for node in status.nodes}


def _remark(nodes: Iterable[ClusterNode], names: Mapping[str, str], show: ShowCut) -> str:
    """Nodes that neither take sessions nor have said goodbye. They may be what a deploy leaves behind for a while."""
    stray = [f"{names[node.id]} is {show(node.state, 20)}" for node in nodes if node.state not in _USUAL]
    return f"{'; '.join(stray)}." if stray else ""
