"""The verdict on calls that fail though their session is not lost: when, where, and for whom."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from mooring.doctor.checks.cannot_tell import ASK_FOR_LESS, RATE_IS_LIMITED
from mooring.doctor.client.protocol import reason
from mooring.doctor.client.reply import MAY_PASS, Outcome, Reply
from mooring.doctor.evidence.failing_calls import FEW
from mooring.doctor.evidence.failure_pattern import FailurePattern, Sample, Where, failure_pattern
from mooring.doctor.evidence.time_limits import duration
from mooring.doctor.examination import Call
from mooring.doctor.findings import Change, Finding, Verdict
from mooring.doctor.showing import Show

_LOGS: Final = Change("Look at the proxy's and the server's log at the time of this run.")
_HEALTH: Final = Change(
    "Look at that node, and let the load balancer check the health of its nodes (HAProxy: `check` on each `server` "
    "line)."
)
_UNREACHABLE: Final = (
    "Mooring's nodes do not reach each other: a call that came to a node which is not its session's was not passed on."
)
_NOT_LOST: Final = (
    "None of them met a node that did not know its session; what fails is the way to the node, or the server."
)
_PEERS: Final = Change(
    "Where the platform has no way from node to node (Azure Container Apps, Cloud Run), have them meet in Redis: "
    "peer_link = redis on every node. Elsewhere peer_link = auto finds out; or set advertise_url, or peer_host, to "
    "where peers reach each node.",
    "MOORING_PEER_LINK=redis",
)
_SEVERAL: Final = 3
_LONG_SECONDS: Final = 0.2
"""What fails sooner waited for nothing."""
_ALIKE: Final = 1.5
_ORDINALS: Final = {2: "second", 3: "third", 4: "fourth", 5: "fifth"}
_MEANS: Final = {
    Outcome.LOGIN: "Other calls are served with the same token, or with none: a node, or a proxy before one, refuses "
    "what the others take.",
    Outcome.HANG: "Other calls were answered: the server, a node or the way to it stalls.",
    Outcome.CUT: "A cut connection kills the client of Python's SDK 1.x.",
}


def samples_of(calls: Sequence[Call], nodes: Sequence[str | None], kind: str) -> list[Sample]:
    """The calls, as failed where they did so in that way, and without those that failed in others."""
    return [
        Sample(
            failed=call.reply.outcome is not Outcome.REACHED,
            at_seconds=call.reply.at_seconds,
            session=id(call.session),
            node=node,
            cookies=call.way.cookies,
            same_connection=call.way.one_connection,
        )
        for call, node in zip(calls, nodes, strict=True)
        if call.reply.outcome is Outcome.REACHED or kind_of(call.reply) == kind
    ]


def kind_of(reply: Reply) -> str:
    """What makes two failures the same."""
    return f"{reply.outcome} {reply.status_key}"


def judge_failed(
    check: str,
    calls: Sequence[Call],
    nodes: Sequence[str | None],
    in_turn: Sequence[bool],
    evidence: Mapping[str, Any],
    show: Show,
) -> Finding:
    """No session was lost, and some calls have failed all the same.

    Args:
        nodes: the mark of each answer, where something tells nodes apart.
        in_turn: whether each of some calls failed that were sent one after the other.
    """
    failed = [call.reply for call in calls if call.reply.outcome is not Outcome.REACHED]
    others = [reply for reply in failed if reply.outcome is not Outcome.THROTTLED]
    worst = Counter(kind_of(reply) for reply in (others or failed)).most_common(1)[0][0]
    of_kind = [reply for reply in failed if kind_of(reply) == worst]
    label = show(Counter(reply.label for reply in of_kind).most_common(1)[0][0])
    says = f"{len(failed)} of {len(calls)} calls failed: {label}"
    if not others:
        return Finding(check, Verdict.UNKNOWN, says, RATE_IS_LIMITED, evidence, (ASK_FOR_LESS,))
    pattern = failure_pattern(samples_of(calls, nodes, worst), in_turn)
    when, changes = _when(pattern, of_kind[0], show)
    is_unreachable = any(reason(reply.message) == "unreachable" for reply in of_kind)
    if is_unreachable:
        changes = (_PEERS, *changes)
    means = _MEANS.get(of_kind[0].outcome, "")
    if of_kind[0].is_ok:
        means = (
            "A success without the answer in it: none comes, its id is another one, or it is sent elsewhere, as in the "
            "older HTTP+SSE transport."
        )
    if pattern.where is Where.ALWAYS:
        means = (
            "The server opens sessions and then does not answer within them."
            if of_kind[0].outcome is Outcome.HANG
            else means
            if of_kind[0].is_ok
            else ""
        )
    elif of_kind[0].outcome is Outcome.UNAVAILABLE:
        means = _UNREACHABLE if is_unreachable else _NOT_LOST
    page = "The answer is a page made for people, so a proxy gave it and no MCP server." if of_kind[0].is_page else ""
    return Finding(
        check,
        Verdict.WARNING if len(others) / len(calls) <= FEW else Verdict.BROKEN,
        _headline(pattern, says, label),
        " ".join(filter(None, (when, means, _time_of(of_kind), page))),
        {**evidence, "pattern": str(pattern.where), "failed": dict(Counter(kind_of(reply) for reply in failed))},
        changes,
    )


def _time_of(failed: Sequence[Reply]) -> str:
    """Where each failed after the same time, what that looks like; nothing where we gave it up ourselves."""
    took = [reply.seconds for reply in failed]
    is_alike = len(took) >= _SEVERAL and min(took) >= _LONG_SECONDS and max(took) <= _ALIKE * min(took)
    if not is_alike or failed[0].outcome not in MAY_PASS:
        return ""
    seconds = duration(statistics.median(took))
    if failed[0].status == HTTPStatus.SERVICE_UNAVAILABLE:  # what is over time is 504
        return f"Each failed about {seconds} after it was sent: for so long a proxy tried to reach a node, it seems."
    return (
        f"Each failed about {seconds} after it was sent, as where a limit of time on the way is over: a call that "
        "takes longer, or says nothing for so long, cannot be made."
    )


def _headline(pattern: FailurePattern, says: str, label: str) -> str:
    if pattern.where is Where.OTHER_CONNECTION:
        return f"calls fail on every connection but the one that opened the session: {label}"
    if pattern.where is Where.TURN:
        return f"every {_ORDINALS[pattern.turn]} call fails: {label}"
    return says


def _when(pattern: FailurePattern, reply: Reply, show: Show) -> tuple[str, tuple[Change, ...]]:
    """When they fail, and what to change for it."""
    where, share = pattern.where, f"{pattern.failed} of {pattern.total}"
    if where is Where.ALWAYS:
        return "All calls fail so, while `initialize` is taken.", (_LOGS,)
    if where is Where.OTHER_CONNECTION:
        return (
            "A client that opens a second connection, for a stream or after a pause, meets this at once. The session "
            "is tied to its connection, by the server or by something before it.",
            (
                Change(
                    "Do not tie sessions to connections: look in the server, and in the proxy, for what compares the "
                    "connection or the client's port; with 421, for what coalesces or refuses connections."
                ),
            ),
        )
    if where is Where.NO_COOKIE:
        return "They fail without cookies, and with them never: the TypeScript SDK keeps none.", (_LOGS,)
    if where is Where.COOKIE:
        return "They fail with the cookies that were set, and without them never.", (
            Change("Look at what the cookie leads to: a node that is no longer there, or a rule that refuses it."),
        )
    if where is Where.NODE:
        return f"Each time it is the node {show(pattern.node)} that answers so, and the others do not.", (
            _HEALTH,
            _LOGS,
        )
    if where is Where.SINCE:
        return (
            f"The first {pattern.passed} calls passed, and none after them: something ended or filled up after "
            f"{pattern.passed} calls, or at that moment.",
            (_LOGS,),
        )
    if where is Where.UNTIL:
        return (
            f"The first {pattern.failed} calls failed, and none after them: something was starting, or came back.",
            (_LOGS,),
        )
    if where is Where.SPELL:
        return f"They all fell within {duration(pattern.seconds)}; calls before and after passed.", (_LOGS,)
    if where is Where.SESSION:
        return f"Some sessions fail always and the others never ({share} calls): as with one node that fails.", (
            _HEALTH,
            _LOGS,
        )
    if where is Where.TURN:
        return f"It is as regular as one node of {pattern.turn} that gets its turn, and fails.", (_HEALTH, _LOGS)
    return f"No pattern by node, connection, cookie or time is seen in them ({share}).", (_LOGS,)
