"""The verdict on calls that miss their session, by the pattern in which they do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from mooring.doctor.advice import Topic, advice
from mooring.doctor.checks.opening_refusals import OPENING_CHANGES
from mooring.doctor.client.protocol import error_text, reason
from mooring.doctor.client.reply import Outcome, Reply
from mooring.doctor.client.ways import WAYS, Way
from mooring.doctor.client.wire import Carried
from mooring.doctor.evidence.call_pattern import CallTally, Pattern, sessions_of
from mooring.doctor.evidence.ended_sessions import count_ended, count_evicted
from mooring.doctor.evidence.opening_kinds import OpeningRefusal, refusal_of_opening
from mooring.doctor.examination import Examination
from mooring.doctor.findings import Change, Finding, Verdict

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
        "each session works always or never: as if placed by a hash of the session id",
        "`initialize` carries no session id yet, so such a hash puts it on one node, and all that follows on another: "
        "it works with one replica and fails with two, with `{label}`. A node that loses its sessions, or the header "
        "that names them, looks the same; then more sessions work than one of so many as there are nodes.",
    ),
    Pattern.NEVER: (
        "no call reaches its session: {label}",
        "Not even the connection that opened a session leads to a node that knows it. Either the Mcp-Session-Id of "
        "requests does not arrive, or requests never reach the node that `initialize` met, or the server keeps no "
        "sessions though it gives out ids: which, cannot be seen from here.",
    ),
    Pattern.DROPPED: (
        "Mcp-Session-Id does not reach the server: {lost} of {calls} calls are answered as if they named none",
        "Whoever asks without an id gets the same answer, `{label}`, and whoever names an unknown one gets another. "
        "Something on the way drops the header, or passes on only those on its list.",
    ),
    Pattern.ENDED: (
        "{ended} of {sessions} sessions ended during the calls, as with a restarted node",
        "Until then all their calls arrived, and afterwards none did: it is not that calls go to a wrong node. Their "
        "clients meet `{label}`, and most never recover from that.",
    ),
}
"""What is said, and why it hurts. `missed` and `reached` are shares of the calls without cookies on new connections."""
_ONE_NODE: Final = (
    "each session works always or never: most work, as with one node that fails the others",
    "No call of the others arrives, with `{label}`, on whatever connection: as with one node of several that loses its "
    "sessions, or the header that names them. A hash of the session id would spare fewer.",
)
_EVICTED: Final = (
    "older sessions are gone once newer ones are opened: {evicted} of {sessions}",
    "They were reached right after their `initialize`, and later none of their calls is, with `{label}`, while the "
    "newer sessions work on every connection. A server that keeps so many sessions and ends the oldest looks like "
    "this, and one that has a single transport for all clients: with each client that comes, another one loses its "
    "session.",
)
_FORGOTTEN: Final = (
    "sessions are reached at first, and later {missed} of calls miss them",
    "Right after it was opened, each of the {sessions} sessions was reached by a call on a new connection and without "
    "cookies, which is no chance; later ones meet nodes that answer `{label}`, and others arrive all the same. So what "
    "leads to its node is forgotten as more sessions come: a table with too little room looks like this.",
)
_ENOUGH_REACHED: Final = 8
"""So many sessions are not all reached by chance."""
_MORE_ROOM: Final = Change(
    "Give the table in which the load balancer remembers sessions room for all that are open at a time, and let its "
    "entries live for as long as sessions do.",
    "# HAProxy\nstick-table type string len 64 size 1m expire 8h\n# nginx\nsticky learn ... zone=mcp:10m timeout=8h;",
)
_MOST: Final = 0.6
"""So many sessions work that no hash over two nodes or more is likely to be the reason."""
_BY_WORKER: Final = (
    "affinity by connection, as with several workers on one port: on new ones {reached} of calls reach their session",
    "No load balancer shows: {server} itself answers what is no HTTP. So it looks like several worker processes on one "
    "port (`--workers`), each with sessions of its own, of which a connection meets one. A client that opens a second "
    "connection meets another, and `{label}`.",
)
_ONE_ONLY: Final = (
    "a session works on the connection that opened it, and on no other: {label}",
    "No call on a new connection reaches its session. A client that opens a second one, for a stream or after a pause, "
    "loses it.",
)
_WITH_WORKERS: Final = frozenset({"uvicorn", "gunicorn", "hypercorn", "granian"})
_WORKERS: Final = Change(
    "Run one worker process, or wrap the server with Mooring, which makes each worker a node that knows the others.",
    "uvicorn server:app --workers 1\nmooring serve server.py:server --workers 4 --redis-url redis://...",
)
_EVICTED_CHANGES: Final = tuple(Change(OPENING_CHANGES[kind]) for kind in (OpeningRefusal.TAKEN, OpeningRefusal.FULL))
_ASUNDER: Final = frozenset({"forged", "unknown"})
"""Mooring's reasons where the id was made under another secret, or is on record in another Redis."""
_WITHIN_A_CLUSTER: Final = frozenset({Pattern.ENDED, Pattern.DROPPED})
_NO_CLUSTER: Final = (
    " Nodes of Mooring answer so ({reasons}), and those of one cluster pass on what belongs to another of them: so "
    "these are no cluster together, or something on the way changes the id."
)
_NOT_ALL_MOORING: Final = (
    " Some of these answers are those of Mooring's nodes ({reasons}), and others are not: so some nodes serve MCP at "
    "this path without Mooring."
)
_ONE_CLUSTER: Final = Change(
    "Give every node the same secret, the same redis_url and the same key_prefix: one without redis_url is a cluster "
    "of its own. `mooring status` shows the nodes that are in one cluster. Nothing has to be changed at the load "
    "balancer.",
    "# on every node\nMOORING_REDIS_URL=redis://...\nMOORING_SECRET=...",
)
_ALL_MOORING: Final = Change(
    "Have every node serve MCP through Mooring at this path: compare how each is started, its version and its mcp_path."
)
_LEAST_SHARE: Final = 0.05
"""Where so few calls find their session, their share tells nothing of how many nodes there are."""


def judge_lost(
    check: str, exam: Examination, pattern: Pattern, by_way: Mapping[Way, CallTally], evidence: Mapping[str, Any]
) -> Finding:
    """The verdict where calls were lost in that pattern."""
    share = by_way[WAYS[3]].share
    if pattern is Pattern.ROUND_ROBIN:  # all ways are alike, and the more calls there are, the less it is chance
        share = evidence["reached"] / evidence["calls"]
    nodes = round(1 / share) if share > _LEAST_SHARE else 0
    lost = CallTally.of([call for call in exam.calls if call.reply.outcome is Outcome.LOST])
    has_cookie = any(call.session.opened.headers.getall("Set-Cookie", []) for call in exam.calls[:1])
    evicted = count_evicted(exam.calls) if pattern is Pattern.HASH else 0
    values = {
        "label": exam.show(lost.labels.most_common(1)[0][0]),
        "missed": f"{100 - round(100 * share)}%",
        "reached": f"{100 * share:.0f}%",
        "spread": f"; they seem to spread over about {nodes} nodes" if nodes > 1 else "",
        "no_help": " A cookie is set, and it does not help: see the check `cookie`." if has_cookie else "",
        "ended": count_ended(exam.calls),
        "evicted": evicted,
        "sessions": evidence["sessions"],
        "calls": evidence["calls"],
        "server": exam.front.server,
        "lost": lost.calls,
    }
    texts = _TEXTS[pattern]
    if pattern is Pattern.CONNECTION and not any(by_way[way].reached for way in WAYS if not way.one_connection):
        texts = _ONE_ONLY
    if _are_workers(exam, pattern):
        texts = _BY_WORKER
    if pattern is Pattern.HASH and evidence["reached"] > _MOST * evidence["calls"]:
        texts = _ONE_NODE
    if evicted:
        texts = _EVICTED
    is_forgotten = pattern is Pattern.ROUND_ROBIN and not _of_mooring(exam) and _were_reached_at_first(exam)
    if is_forgotten:
        texts = _FORGOTTEN
    says, why = (text.format(**values) for text in texts)
    why += _on_disguise(exam)
    if pattern not in _WITHIN_A_CLUSTER and (reasons := _of_mooring(exam)):
        text = _NO_CLUSTER if _are_all_moorings(exam) else _NOT_ALL_MOORING
        why += text.format(reasons=", ".join(f"`{one}`" for one in reasons))
    return Finding(
        check,
        Verdict.BROKEN,
        says,
        why,
        {
            **evidence,
            "pattern": "evicted" if evicted else "forgotten" if is_forgotten else pattern.name.lower(),
            "nodes_about": nodes or None,
        },
        _EVICTED_CHANGES if evicted else (_MORE_ROOM,) if is_forgotten else _changes(exam, pattern),
    )


def _changes(exam: Examination, pattern: Pattern) -> tuple[Change, ...]:
    if pattern not in _WITHIN_A_CLUSTER and _of_mooring(exam):
        return (_ONE_CLUSTER if _are_all_moorings(exam) else _ALL_MOORING,)
    topics = {Pattern.ENDED: Topic.SURVIVAL, Pattern.DROPPED: Topic.SESSION_HEADER}
    changes = [advice(topics.get(pattern, Topic.AFFINITY), exam.proxy)]
    if pattern is Pattern.NEVER:
        changes.insert(0, advice(Topic.SESSION_HEADER, exam.proxy))
    if _are_workers(exam, pattern):
        changes = [_WORKERS]
    if any(call.reply.is_disguised for call in exam.calls):
        is_proxys = _are_a_proxys(exam)
        changes.append(advice(Topic.ERROR_PAGES, exam.proxy) if is_proxys else advice(Topic.MISSING_SESSION, None))
    return tuple(changes)


def _were_reached_at_first(exam: Examination) -> bool:
    """Whether each session was, by the call right after its opening."""
    sessions = sessions_of(exam.calls)
    return len(sessions) >= _ENOUGH_REACHED and all(session.was_reached for session in sessions)


def _mooring_reason(reply: Reply) -> str:
    """Mooring's reason for not knowing a session; empty where the answer is not that of one of its nodes."""
    said = reason(reply.message)
    return said if said in _ASUNDER and "Operator:" in error_text(reply.message) else ""


def _of_mooring(exam: Examination) -> list[str]:
    """The reasons that Mooring's nodes gave for calls that missed their session."""
    lost = (call.reply for call in exam.calls if call.reply.outcome is Outcome.LOST)
    return sorted({_mooring_reason(reply) for reply in lost} - {""})


def _are_all_moorings(exam: Examination) -> bool:
    return all(_mooring_reason(call.reply) for call in exam.calls if call.reply.outcome is Outcome.LOST)


def _are_workers(exam: Examination, pattern: Pattern) -> bool:
    """A Python server answers for itself, and yet its connections meet different sessions."""
    by_connection = pattern in (Pattern.CONNECTION, Pattern.ROUND_ROBIN)
    is_bare = exam.front.proxy is None and exam.front.server in _WITH_WORKERS
    # A load balancer that passes bytes on gives its connections to the nodes in turn; the kernel does not.
    return by_connection and is_bare and not exam.is_in_turn


def _on_disguise(exam: Examination) -> str:
    """Where a 404 comes as something else."""
    disguised = Counter(
        f"{call.reply.status_key} ({exam.show(call.reply.media_type) or 'no type'})"
        for call in exam.calls
        if call.reply.is_disguised
    )
    if not disguised:
        return ""
    return (
        f" An unknown session is answered in just the same way, {disguised.most_common(1)[0][0]}, where 404 is due: "
        + (
            "something on the way puts its own answer in place of the node's."
            if _are_a_proxys(exam)
            else "by the server itself, or by something on the way in its place."
        )
    )


def _are_a_proxys(exam: Examination) -> bool:
    """Whether the disguised answers are what proxies say, and not servers."""
    replies = [call.reply for call in exam.calls if call.reply.is_disguised]
    return any(
        reply.is_page
        or (reply.status in (502, 503, 504) and reply.message is None and not reply.media_type.endswith("json"))
        for reply in replies
    )


def met_elsewhere(exam: Examination) -> bool:
    """Whether all calls that were lost were answered as `initialize` was by what is no MCP server."""
    refused = {reply.look for reply in exam.sessions.refused if refusal_of_opening(reply) is OpeningRefusal.ELSEWHERE}
    lost = [call.reply for call in exam.calls if call.reply.outcome is Outcome.LOST]
    return bool(refused and lost) and all(reply.look in refused for reply in lost)


def judge_elsewhere(check: str, exam: Examination, evidence: Mapping[str, Any]) -> Finding:
    """Where some of the nodes are none of MCP: that calls miss their session follows from it."""
    lost = [call.reply for call in exam.calls if call.reply.outcome is Outcome.LOST]
    label = exam.show(lost[0].label)
    return Finding(
        check,
        Verdict.BROKEN,
        f"{len(lost)} of {len(exam.calls)} calls met what is no MCP server: {label}",
        "Some `initialize` requests were answered in just the same way, without JSON-RPC: a node that serves MCP at "
        "another path, or something else among the nodes. Every call that met an MCP server reached its session; "
        "whether sessions are kept at their node shows once there are several that serve MCP.",
        {**evidence, "pattern": "elsewhere"},
        (Change(OPENING_CHANGES[OpeningRefusal.ELSEWHERE]),),
    )


def judge_dropped(check: str, exam: Examination) -> Finding:
    """Where calls opened sessions of their own, so that no more were sent."""
    strays = len(exam.wire.strays[Carried.KNOWN])
    arrived = exam.wire.arrived
    within = strays + arrived
    reached = sum(call.reply.outcome is Outcome.REACHED for call in exam.calls)
    some = "" if not arrived else " It does so for some only: one node, or one way to it, may differ from the others."
    return Finding(
        check,
        Verdict.BROKEN,
        f"Mcp-Session-Id does not reach the server: {strays} of {within} calls opened new sessions",
        "The server takes each for one without a session, and opens another for it. Something on the way drops the "
        f"header, or passes on only those on its list.{some} No more calls were sent, since each would leave a session "
        "that nobody can close.",
        {"sessions": len(exam.sessions.opened), "strays": strays, "calls": len(exam.calls), "reached": reached},
        (advice(Topic.SESSION_HEADER, exam.proxy),),
    )
