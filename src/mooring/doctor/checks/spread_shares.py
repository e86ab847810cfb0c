"""The verdict on how new sessions are shared out among nodes, whatever tells the nodes apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mooring.doctor.evidence.balance import Balance
from mooring.doctor.findings import Change, Finding, Verdict

NAME: Final = "spread"
"""Of the check, which judges in several modules."""
NAME_CHARS: Final = 40
"""How much of a name that somebody else gave is shown."""

_LOOK: Final = Change(
    "If that is not wanted, find out why the load balancer gives it none: its weight and its health check for new "
    "connections, or a rule that sends `initialize` to other nodes only.",
)
_BY_ADDRESS: Final = Change(
    "If the load balancer goes by the client's address (HAProxy `balance source`, nginx `ip_hash`), give new sessions "
    "to the nodes in turn, and keep them by their id.",
)


def judge_shares(balance: Balance, names: Mapping[str, str], evidence: Mapping[str, Any]) -> Finding:
    """The verdict on sessions of two nodes or more; `names` are what these are called."""
    return _unequal(balance, names, evidence) or _even(balance, evidence)


def evidence_of(balance: Balance, names: Mapping[str, str], told_by: str) -> dict[str, Any]:
    return {
        "told_by": told_by,
        "sessions": balance.sessions,
        "sessions_by_node": {name: balance.counts[node] for node, name in names.items()},
        "nodes_seen": len(balance.counts),
    }


def _unequal(balance: Balance, names: Mapping[str, str], evidence: Mapping[str, Any]) -> Finding | None:
    """A warning where nodes get next to nothing."""
    starved = balance.starved
    if not starved:
        return None
    holders = [node for node in balance.counts if node not in starved]
    if len(holders) == 1:
        got = balance.counts[holders[0]]
        share = f"all {got}" if got == balance.sessions else f"{got} of {balance.sessions}"
        return Finding(
            NAME,
            Verdict.WARNING,
            f"{share} new sessions are on {names[holders[0]]}, though {len(names)} nodes are there",
            "The load balancer may go by the client's address: then all clients at one address, such as those behind a "
            "gateway or on a platform, meet the same node.",
            evidence,
            (_BY_ADDRESS, _LOOK),
        )
    got = balance.counts[starved[0]]
    more = f", and {len(starved) - 1} more next to none" if len(starved) > 1 else ""
    return Finding(
        NAME,
        Verdict.WARNING,
        f"{names[starved[0]]} gets {got or 'none'} of {balance.sessions} new sessions{more}",
        "It is there, and of no use to new clients. A load balancer that goes by load does so on "
        "purpose, but only while that node is the busiest.",
        evidence,
        (_LOOK,),
    )


def _even(balance: Balance, evidence: Mapping[str, Any]) -> Finding:
    shares = ", ".join(str(got) for got in sorted(balance.counts.values(), reverse=True))
    if balance.is_telling:
        says = f"{balance.sessions} sessions spread over {len(balance.counts)} nodes: {shares}"
        return Finding(NAME, Verdict.OK, says, evidence=evidence)
    says = f"{balance.sessions} sessions on {len(balance.counts)} nodes are too few to tell: {shares}"
    change = Change(f"Open more: --sessions {balance.sessions_needed}.")
    return Finding(NAME, Verdict.UNKNOWN, says, evidence=evidence, changes=(change,))
