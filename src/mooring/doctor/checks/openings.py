"""Whether every client can open a session: what each `initialize` was answered with, and in which pattern.

openings                                        verdict
some are refused, also at a slower pace         broken; one of many: a warning
`notifications/initialized` is refused          broken; in one of many: a warning
refused for the rate, and taken when slower     ok, with the rate
calls open sessions of their own                broken: see `affinity`
all are taken                                   ok
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any, Final

from mooring.doctor.check import Check
from mooring.doctor.checks.opening_refusals import OPENING_CHANGES, OPENING_MEANS
from mooring.doctor.client.reply import Outcome, Reply
from mooring.doctor.client.session import Attempt
from mooring.doctor.evidence.failure_pattern import FailurePattern, Sample, Where, failure_pattern, turn_of
from mooring.doctor.evidence.node_of_reply import node_reader
from mooring.doctor.evidence.opening_kinds import OpeningRefusal, label_of_opening, refusal_of_opening
from mooring.doctor.evidence.openings import Openings
from mooring.doctor.evidence.time_limits import duration
from mooring.doctor.examination import Examination
from mooring.doctor.findings import Change, Finding, NotRun, Verdict
from mooring.doctor.showing import Show

NAME: Final = "openings"
_SLOW_SECONDS: Final = 1.0
_SLOWER: Final = 8.0
_SAY_NOTHING: Final = frozenset({Outcome.THROTTLED, Outcome.UNSENT})
_MAY_BE_CHANCE: Final = frozenset({OpeningRefusal.NO_ANSWER, OpeningRefusal.EMPTY, OpeningRefusal.DOWN})
_LIMITED: Final = frozenset({OpeningRefusal.FULL, OpeningRefusal.TAKEN, OpeningRefusal.RATE, OpeningRefusal.DOWN})


async def run(exam: Examination) -> Finding | NotRun:
    attempts = exam.sessions.openings
    if not attempts or all(attempt.is_refused for attempt in attempts):
        return NotRun("the server knows no `initialize`")
    pace = exam.wire.pace
    facts = exam.shared(Openings)
    again = {id(attempt) for attempt in facts.again}
    attempts = [attempt for attempt in attempts if id(attempt) not in again]
    if pace.is_limit:
        limited = {id(refusal.reply) for refusal in pace.refusals if refusal.is_opening}
        if pace.refuses_openings_alone:  # at the slowest pace, too: what was refused in the end counts
            limited -= {id(attempt.reply) for attempt in exam.sessions.attempts}
        attempts = [attempt for attempt in attempts if id(attempt.reply) not in limited]
    reader = node_reader(exam)
    nodes = [reader(attempt.reply) for attempt in attempts]
    found = judge(attempts, nodes, facts.reopened, facts.held, exam.show)
    if found.verdict is not Verdict.BROKEN:
        calls = {call.reply.status_key for call in exam.calls if call.reply.outcome is not Outcome.REACHED}
        if not exam.sessions.loses_none:
            calls |= {reply.status_key for reply in _initialized(attempts) if reply.outcome is Outcome.LOST}
        found = judge_initialized(attempts, calls, exam.show) or found
    if found.verdict is Verdict.OK and exam.wire.most_connections:
        return _few_connections(exam, found)
    if found.verdict is Verdict.OK and pace.is_limit:
        return _limited(exam, found)
    return found


def _initialized(attempts: Sequence[Attempt]) -> list[Reply]:
    """The last answer to `notifications/initialized` in each session."""
    return [one.session.initialized[-1] for one in attempts if one.session and one.session.initialized]


def judge_initialized(attempts: Sequence[Attempt], calls: Collection[str], show: Show) -> Finding | None:
    """The verdict on what a client sends right after `initialize`; None where it was taken in each session.

    Args:
        calls: how calls in sessions fail as well, by `Reply.status_key`: that is told by `affinity`.
    """
    last = _initialized(attempts)
    refused = [
        reply
        for reply in last
        if not reply.is_ok and reply.status_key not in calls and reply.outcome not in _SAY_NOTHING
    ]
    if not refused:
        return None
    labels = Counter(show(reply.label) for reply in refused)
    is_answered = refused[0].outcome not in (Outcome.HANG, Outcome.CUT)
    verb = "is refused" if is_answered else "fails"
    count = "each session" if len(refused) == len(last) else f"{len(refused)} of {len(last)} sessions"
    return Finding(
        NAME,
        Verdict.WARNING if len(refused) == 1 and len(last) > 4 else Verdict.BROKEN,
        f"`notifications/initialized` {verb} in {count}: {labels.most_common(1)[0][0]}",
        "A client sends it right after `initialize`, and a 202 is due. The TypeScript SDK's client gives up "
        f"connecting where {'it is refused' if is_answered else 'no answer comes'}."
        + (
            " The answer is a page made for people, so a proxy gave it and no MCP server." if refused[0].is_page else ""
        ),
        {"tried": len(last), "refused": len(refused), "answers": dict(labels)},
        (_PASS_NOTIFICATIONS if is_answered else _ANSWER_NOTIFICATIONS,),
    )


_PASS_NOTIFICATIONS: Final = Change(
    "Let the proxy pass on POSTs without looking at the method in their body, and the server answer notifications with "
    "202. The proxy's and the server's log at the time of this run say who refuses it."
)
_ANSWER_NOTIFICATIONS: Final = Change(
    "Have the server answer notifications with 202 at once. Where it is some sessions only, a node hangs, or the "
    "way from one node to another: the proxy's and the server's log at the time of this run say which."
)


def judge(
    attempts: Sequence[Attempt],
    nodes: Sequence[str | None],
    reopened: bool | None,
    held: int,
    show: Show,
) -> Finding:
    """The verdict.

    Args:
        attempts: every `initialize`, in the order in which they were sent.
        nodes: the mark of each answer, where something tells nodes apart.
        reopened: another session could be opened once one was closed; None where that was not tried.
        held: how many were open when the next was refused.
    """
    refused = [attempt for attempt in attempts if attempt.is_refused]
    labels = Counter(show(label_of_opening(attempt.reply)) for attempt in refused)
    evidence: dict[str, Any] = {"tried": len(attempts), "refused": len(refused), "answers": dict(labels)}
    slow = _slow(attempts)
    if not refused and slow:
        took = duration(statistics.median(slow))
        says = f"{len(slow)} of {len(attempts)} openings took {took}, the others are quick"
        why = (
            "A node that is down, and is tried before another one, looks like this; so does one that is overloaded. "
            "The client that meets it waits as long."
        )
        evidence["slow_seconds"] = [round(one, 2) for one in slow]
        return Finding(NAME, Verdict.WARNING, says, why, evidence, (Change(OPENING_CHANGES[OpeningRefusal.DOWN]),))
    usual = statistics.median(attempt.reply.seconds for attempt in attempts)
    if not refused and usual >= _SLOW_SECONDS:
        says = f"a session takes {duration(usual)} to open"
        why = (
            "A client waits as long before it can begin, and some give up connecting after 5 s. See the check `speed`."
        )
        evidence["median_seconds"] = round(usual, 2)
        return Finding(NAME, Verdict.WARNING, says, why, evidence, (Change(OPENING_CHANGES[OpeningRefusal.OTHER]),))
    if not refused:
        says = f"all {len(attempts)} openings were taken" if len(attempts) > 1 else "the session was opened at once"
        return Finding(NAME, Verdict.OK, says, evidence=evidence)
    if older := _older_versions(attempts, show):
        return older
    kinds = Counter(refusal_of_opening(attempt.reply) for attempt in refused)
    kind = kinds.most_common(1)[0][0]
    pattern = _pattern(attempts, nodes)
    evidence |= {"kind": str(kind), "pattern": str(pattern.where), "reopened": reopened}
    label = labels.most_common(1)[0][0]
    says = f"{len(refused)} of {len(attempts)} new sessions could not be opened: {label}"
    when, means, changes = _explained(kind, pattern, reopened, held, show)
    others = len(kinds) > 1
    more = f" Others were refused in another way: {', '.join(list(labels)[1:4])}." if others and len(labels) > 1 else ""
    is_rare = len(refused) == 1 and len(attempts) > 4 and kind in _MAY_BE_CHANCE
    verdict = Verdict.WARNING if is_rare else Verdict.BROKEN
    return Finding(NAME, verdict, says, f"{when}{means}{more}", evidence, changes)


def _older_versions(attempts: Sequence[Attempt], show: Show) -> Finding | None:
    """The verdict where just those were refused that asked for an older version of the protocol; None elsewhere."""
    refused = [attempt for attempt in attempts if attempt.is_refused]
    versions = sorted({attempt.version for attempt in refused if attempt.version})
    others = [attempt for attempt in attempts if not attempt.is_refused]
    by_version = versions and max(versions) < min((attempt.version for attempt in others), default="")
    kinds = {refusal_of_opening(attempt.reply) for attempt in refused}
    if not by_version or not kinds <= {OpeningRefusal.VERSION, OpeningRefusal.OTHER}:
        return None
    label = show(refused[0].reply.label)
    return Finding(
        NAME,
        Verdict.WARNING,
        f"clients that ask for {versions[0]}{f' to {versions[-1]}' if len(versions) > 1 else ''} are refused: {label}",
        f"All {len(others)} openings in a newer version were taken. {OPENING_MEANS[OpeningRefusal.VERSION]} Clients of "
        "older SDKs cannot connect.",
        {"tried": len(attempts), "refused": len(refused), "versions_refused": versions},
        (Change(OPENING_CHANGES[OpeningRefusal.VERSION]),),
    )


def _slow(attempts: Sequence[Attempt]) -> list[float]:
    """How long those took that took much longer than the others."""
    took = [attempt.reply.seconds for attempt in attempts if not attempt.is_refused]
    usual = statistics.median(took) if took else 0.0
    slow = [seconds for seconds in took if seconds >= max(_SLOW_SECONDS, _SLOWER * usual)]
    return slow if len(slow) > 1 else []


def _pattern(attempts: Sequence[Attempt], nodes: Sequence[str | None]) -> FailurePattern:
    samples = [
        Sample(attempt.is_refused, attempt.reply.at_seconds, node=node)
        for attempt, node in zip(attempts, nodes, strict=True)
    ]
    in_turn = [attempt.is_refused for attempt in sorted(attempts, key=lambda attempt: attempt.reply.at_seconds)]
    return failure_pattern(samples, in_turn if turn_of(in_turn) else ())


def _explained(
    kind: OpeningRefusal, pattern: FailurePattern, reopened: bool | None, held: int, show: Show
) -> tuple[str, str, tuple[Change, ...]]:
    """When it happens, what it means, and what to change."""
    means, change = OPENING_MEANS[kind], OPENING_CHANGES[kind]
    if pattern.where is Where.SINCE and kind in _LIMITED and (reopened or pattern.passed <= 1 or held):
        passed = pattern.passed
        number = "one session" if passed == 1 else f"{passed} sessions"
        when = f"After {number} no other was opened"
        when += ", and when one was closed, one could be: it is a limit on their number. " if reopened else ". "
        if kind is OpeningRefusal.TAKEN or passed == 1:
            return (
                f"{when}It looks like one session at a time. ",
                OPENING_MEANS[OpeningRefusal.TAKEN],
                (Change(OPENING_CHANGES[OpeningRefusal.TAKEN]),),
            )
        return (
            when,
            OPENING_MEANS[OpeningRefusal.FULL] if reopened else means,
            (Change(OPENING_CHANGES[OpeningRefusal.FULL] if reopened else change),),
        )
    when = {
        Where.NODE: f"Each time it was the node {show(pattern.node)}. ",
        Where.TURN: f"Every {_ORDINALS.get(pattern.turn, 'few')} is refused, as if by one node in turn. ",
        Where.SINCE: f"The first {pattern.passed} were opened, and none after them. ",
        Where.UNTIL: f"The first {pattern.failed} were refused, and none after them: a server or a node may just have "
        "started. ",
        Where.SPELL: f"They all came within {pattern.seconds:.1f} s, and others before and after were opened. ",
    }.get(pattern.where, "Nothing in the time or the order tells which: it may go by node, or be chance. ")
    return when, means, (Change(change),)


_ORDINALS: Final = {2: "second", 3: "third", 4: "fourth", 5: "fifth"}


def _limited(exam: Examination, found: Finding) -> Finding:
    """The doctor was too fast, and no client alone would be."""
    pace = exam.wire.pace
    first = pace.refusals[0].reply
    says = f"all {found.evidence['tried']} openings were taken, once they came slowly"
    why = (
        f"At about {pace.rate_refused} requests a second some were refused ({exam.show(first.label)}): a limit on the "
        f"rate or the number of requests. The rest was examined at one request each {pace.interval_seconds:g} s. Many "
        "clients at one address may meet that limit, too."
    )
    evidence = {**found.evidence, "refused_for_the_rate": len(pace.refusals), "rate_refused": pace.rate_refused}
    return Finding(NAME, Verdict.OK, says, why, evidence)


def _few_connections(exam: Examination, found: Finding) -> Finding:
    """More connections at a time are left waiting; what the doctor kept open was closed for it."""
    count = exam.wire.most_connections
    return Finding(
        NAME,
        Verdict.WARNING,
        f"only about {count} connections are served at a time: others wait",
        f"While the doctor kept {count} connections open, nothing on a further one was answered; once they were "
        "closed, it was. Each client keeps a connection or two, and holds one more for its stream.",
        {**found.evidence, "connections_at_a_time": count},
        (
            Change(
                "Raise the limit: `maxconn` in HAProxy, `worker_connections` in nginx, the number of threads or "
                "workers of a server that has one for each connection; or serve with an asynchronous server."
            ),
        ),
    )


CHECK: Final = Check(
    NAME,
    "can every client open a session?",
    run,
    is_reading=True,
    makes_calls=False,
    is_essential=True,
)
