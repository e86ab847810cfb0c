"""Whether each call reaches the node that holds its session, for every kind of client.

The same sessions are used in each of four ways: with the cookies that were set or without, on one connection or on a
new one for each request. Which ways fail, and how, tells what the load balancer goes by:

    fails            works               pattern
    all ways alike   -                   ROUND_ROBIN  nothing keeps a session together
    without cookies  with cookies        COOKIE       affinity by cookie alone
    new connections  one connection      CONNECTION   affinity by connection
    some sessions    the other sessions  HASH         by something that is constant within a session, but was not
                                                      there yet at `initialize`: the session id itself
    every call       -                   NEVER        not even the node that opened it knows the session
    all later calls  all earlier calls   ENDED        the session went with its node
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mooring.doctor.advice import Topic, advice
from mooring.doctor.check import Check
from mooring.doctor.client.reply import Outcome
from mooring.doctor.client.sessions import WAYS, Session, Way
from mooring.doctor.evidence.ended_sessions import ended
from mooring.doctor.evidence.failing_calls import FEW
from mooring.doctor.examination import Call, Examination
from mooring.doctor.findings import Change, Finding, NotRun, Verdict

NAME: Final = "affinity"
WAY_SECONDS: Final = 10.0
"""For the calls of one way; a slow deployment gets fewer calls in each rather than none in the last."""
_LIMITED: Final = "The server limits the rate of requests."
_ASK_FOR_LESS: Final = Change("Ask for less: --sessions 5 --calls 2.")


class Pattern(enum.Enum):
    """What the load balancer seems to go by."""

    KEPT = enum.auto()
    ROUND_ROBIN = enum.auto()
    COOKIE = enum.auto()
    CONNECTION = enum.auto()
    HASH = enum.auto()
    NEVER = enum.auto()
    ENDED = enum.auto()


@dataclass(frozen=True, slots=True)
class Tally:
    """The calls of one way, or of all."""

    calls: int
    outcomes: Counter[Outcome]
    labels: Counter[str]

    @classmethod
    def of(cls, calls: Sequence[Call]) -> Tally:
        failed = [call for call in calls if call.reply.outcome is not Outcome.REACHED]
        return cls(
            len(calls),
            Counter(call.reply.outcome for call in calls),
            Counter(call.reply.label for call in failed),
        )

    @property
    def reached(self) -> int:
        return self.outcomes[Outcome.REACHED]

    @property
    def lost(self) -> int:
        return self.outcomes[Outcome.LOST]

    @property
    def share(self) -> float:
        """Of the calls that reached their session."""
        return self.reached / self.calls if self.calls else 0.0


async def run(exam: Examination) -> Finding | NotRun:
    if not exam.sessions.opened:
        return await _without_sessions(exam)
    await _measure(exam)
    return judge(exam)


async def _measure(exam: Examination) -> None:
    """Make the calls, one way after the other: mixed, a turn of the load balancer could fall in step with them."""
    sessions = tuple(exam.sessions.opened)
    seconds = max(WAY_SECONDS, exam.plan.timeout_seconds + 1.0)
    for number, way in enumerate(WAYS, 1):
        exam.listener.step(f"affinity: {way.name} ({number} of {len(WAYS)})")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await asyncio.gather(*(_use(exam, session, way) for session in sessions))
        if all(call.reply.outcome is Outcome.HANG for call in exam.calls):
            exam.hangs = True
            return


async def _use(exam: Examination, session: Session, way: Way) -> None:
    for _ in range(exam.plan.calls):
        reply = await exam.call(session, way)
        exam.calls.append(Call(session, way, reply))
        if reply.outcome is Outcome.HANG:
            return


def pattern_of(calls: Sequence[Call]) -> Pattern:
    """What the load balancer seems to go by, from which calls found their session."""
    by_way = _by_way(calls)
    lost = {way for way, tally in by_way.items() if tally.lost}
    if not lost:
        return Pattern.KEPT
    if not any(tally.reached for tally in by_way.values()):
        return Pattern.NEVER
    if ended(calls):
        return Pattern.ENDED
    if all(not way.cookies for way in lost):
        return Pattern.COOKIE
    if all(not way.one_connection for way in lost):
        return Pattern.CONNECTION
    per_session = [Tally.of([call for call in calls if call.session is session]) for session in _sessions(calls)]
    if all(tally.share in (0.0, 1.0) for tally in per_session if tally.calls > 1):
        return Pattern.HASH
    return Pattern.ROUND_ROBIN


def _by_way(calls: Sequence[Call]) -> dict[Way, Tally]:
    return {way: Tally.of([call for call in calls if call.way == way]) for way in WAYS}


def _sessions(calls: Sequence[Call]) -> list[Session]:
    return list({id(call.session): call.session for call in calls}.values())


def judge(exam: Examination) -> Finding:
    """The verdict on the calls that were made."""
    calls = exam.calls
    total = Tally.of(calls)
    by_way = _by_way(calls)
    evidence = {
        "sessions": len(_sessions(calls)),
        "calls": total.calls,
        "reached": total.reached,
        "ways": {
            way.key: {
                "calls": tally.calls,
                "reached": tally.reached,
                "errors": {exam.show(label): count for label, count in tally.labels.most_common(4)},
            }
            for way, tally in by_way.items()
            if tally.calls
        },
    }
    if not calls:
        return Finding(NAME, Verdict.UNKNOWN, "no call could be made in time", evidence=evidence)
    if total.lost:
        return _lost(exam, pattern_of(calls), by_way, evidence)
    failed = total.calls - total.reached
    if not failed:
        return Finding(
            NAME,
            Verdict.OK,
            f"{total.reached} of {total.calls} calls reached their session, with and without cookies",
            evidence=evidence,
        )
    return _failed(exam, total, evidence)


def _failed(exam: Examination, total: Tally, evidence: dict[str, object]) -> Finding:
    """No session was lost, and some calls have failed all the same."""
    failed = total.calls - total.reached
    others = failed - total.outcomes[Outcome.THROTTLED]
    label, _ = total.labels.most_common(1)[0]
    says = f"{failed} of {total.calls} calls failed: {exam.show(label)}"
    if not others:
        return Finding(
            NAME,
            Verdict.UNKNOWN,
            says,
            _LIMITED,
            evidence,
            (_ASK_FOR_LESS,),
        )
    if not total.reached and total.outcomes[Outcome.HANG] == failed:
        why = "The server opens sessions and then does not answer within them."
    elif total.outcomes[Outcome.HANG] == failed:
        why = "The same calls were answered in the same sessions otherwise: the server, a node or the way to it stalls."
    else:
        why = "No call met a node that did not know its session; what failed is the way to the node, or the server."
    return Finding(
        NAME,
        Verdict.WARNING if others / total.calls <= FEW else Verdict.BROKEN,
        says,
        why,
        evidence,
        (Change("Look at the proxy's and the server's log at the time of this run."),),
    )


def _percent(tally: Tally) -> str:
    return f"{100 * tally.share:.0f}%"


def _lost(exam: Examination, pattern: Pattern, by_way: dict[Way, Tally], evidence: dict[str, object]) -> Finding:
    fresh = by_way[WAYS[3]]
    label = exam.show(
        Tally.of([call for call in exam.calls if call.reply.outcome is Outcome.LOST]).labels.most_common(1)[0][0]
    )
    has_cookie = any(call.session.opened.headers.getall("Set-Cookie", []) for call in exam.calls[:1])
    nodes = round(1 / fresh.share) if fresh.share > 0.05 else 0
    spread = f"; they seem to spread over about {nodes} nodes" if nodes > 1 else ""
    no_help = " A cookie is set, and it does not help: see the check `cookie`." if has_cookie else ""
    texts = {
        Pattern.ROUND_ROBIN: (
            f"works with one replica, fails with two: {100 - round(100 * fresh.share)}% of calls miss their session",
            f"Nothing keeps the requests of a session on the node that holds it{spread}. The others answer `{label}`, "
            f"and most clients never recover from that.{no_help}",
        ),
        Pattern.COOKIE: (
            f"only clients that keep cookies work: without, {_percent(fresh)} of calls reach their session",
            "The TypeScript SDK and all that is built on it, VS Code among them, keep no cookies: for them it works "
            f"with one replica and fails with two, with `{label}`.",
        ),
        Pattern.CONNECTION: (
            f"affinity by connection: on new ones {_percent(fresh)} of calls reach their session",
            "A client that opens a second connection, for a stream or after an idle while, is another client to this "
            f"load balancer: it works with one replica and fails with two, with `{label}`.",
        ),
        Pattern.HASH: (
            "each session works always or never: requests are placed by a hash of the session id",
            "`initialize` carries no session id yet, so the hash puts it on one node, and all that follows on another. "
            f"It works with one replica and fails with two, with `{label}`.",
        ),
        Pattern.NEVER: (
            f"no call reaches its session: {label}",
            "Not even the node that opened a session knows it afterwards: a proxy drops the Mcp-Session-Id header, or "
            "the nodes keep no sessions though they give out ids.",
        ),
        Pattern.ENDED: (
            f"{ended(exam.calls)} of {evidence['sessions']} sessions ended during the calls, as with a restarted node",
            "Until then each of their calls arrived, and after it none: it is not that calls go to a wrong node. Their "
            f"clients meet `{label}`, and most never recover from that.",
        ),
    }
    says, why = texts[pattern]
    return Finding(
        NAME,
        Verdict.BROKEN,
        says,
        why,
        {**evidence, "pattern": pattern.name.lower(), "nodes_about": nodes or None},
        (advice(Topic.SURVIVAL if pattern is Pattern.ENDED else Topic.AFFINITY, exam.proxy),),
    )


async def _without_sessions(exam: Examination) -> Finding | NotRun:
    """The server gives out none: any node can answer, and here it is seen whether any does."""
    exam.listener.step("affinity: calls without a session")
    count = max(2, exam.plan.calls)
    replies = await asyncio.gather(*(exam.call_without_session() for _ in range(count)))
    reached = sum(reply.outcome is Outcome.REACHED for reply in replies)
    failed = Counter(exam.show(reply.label) for reply in replies if reply.outcome is not Outcome.REACHED)
    evidence = {"sessions": 0, "calls": count, "reached": reached, "errors": dict(failed.most_common(4))}
    if reached == count:
        return Finding(
            NAME,
            Verdict.OK,
            f"no sessions, so no affinity is needed: {reached} of {count} calls answered",
            "State that the server keeps in its process and names by a handle or a task id cannot be seen from here.",
            evidence,
        )
    says = f"{count - reached} of {count} calls without a session failed: {failed.most_common(1)[0][0]}"
    if all(reply.outcome in (Outcome.REACHED, Outcome.THROTTLED) for reply in replies):
        return Finding(NAME, Verdict.UNKNOWN, says, _LIMITED, evidence, (_ASK_FOR_LESS,))
    return Finding(
        NAME,
        Verdict.BROKEN,
        says,
        "The answer to `initialize` names no session, so every node has to answer every call.",
        evidence,
        (Change("Run the server without sessions on every node (`stateless_http=True` in the Python SDK)."),),
    )


CHECK: Final = Check(
    NAME,
    "does each call reach the node that holds its session, for every client?",
    run,
    is_reading=True,
    is_essential=True,
    goes_first=True,
    guards_watch=True,
)
