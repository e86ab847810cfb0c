"""Whether the headers of the modern era arrive as they were sent (2026-07-28, Transports: Standard Request Headers).

Each request has what its body says in headers, too, so that a proxy can route by them. A server refuses with -32020
what disagrees, or comes twice: so it shows when a proxy drops, changes or doubles one. Whether it looks at all is asked
with a header that is wrong on purpose.

    right headers          wrong header   verdict
    -32020                 -              broken: they do not arrive as sent
    an error, no answer    -              broken
    served                 refused        ok
    served                 served         cannot tell: the server does not look
    served                 other refusal  cannot tell: it may be of something on the way
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from mooring.doctor.advice import Topic, advice
from mooring.doctor.check import Check
from mooring.doctor.checks.cannot_tell import not_asked, throttled
from mooring.doctor.client import protocol
from mooring.doctor.client.protocol import HEADER_MISMATCH, error_code, error_text
from mooring.doctor.client.reply import Outcome, Reply
from mooring.doctor.evidence.question import with_one_retry
from mooring.doctor.examination import Examination
from mooring.doctor.findings import Change, Finding, NotRun, Verdict
from mooring.doctor.proxies import Proxy
from mooring.doctor.showing import Show

NAME: Final = "modern-headers"
_TIMES: Final = 6
"""Over a connection each: nodes and the ways to them may differ."""
_WRONG_METHOD: Final = "prompts/list"
_NO_ANSWER: Final = frozenset({Outcome.HANG, Outcome.CUT, Outcome.THROTTLED, Outcome.UNAVAILABLE})
_HEADERS: Final = (protocol.VERSION, protocol.METHOD, protocol.NAME)


@dataclass(frozen=True, slots=True)
class Replies:
    """
    Attributes:
        right: to lists with the right headers.
        call: to the operator's tool with the right headers, `Mcp-Name` among them; None where no tool may be called.
        wrong: to a list whose Mcp-Method names another method.
        doubled: to a list with its Mcp-Method twice.
    """

    right: Sequence[Reply]
    call: Reply | None = None
    wrong: Reply | None = None
    doubled: Reply | None = None


async def run(exam: Examination) -> Finding | NotRun:
    if not exam.eras.modern and not _is_mismatch(exam.eras.discovered):
        return NotRun(_why_not(exam.eras.discovered, exam.show))
    if exam.hangs:
        return not_asked(NAME, exam)
    method = "tools/list" if exam.eras.modern and "tools" in exam.eras.capabilities else "server/discover"
    right: list[Reply] = []
    for _ in range(_TIMES):
        reply = await with_one_retry(lambda: exam.modern(method))
        if reply.outcome is Outcome.UNSENT:
            break
        right.append(reply)
        if right[-1].headers.get(protocol.SESSION) is not None:
            break  # an older server, which opens a session for each of these
    if not right:
        return NotRun("such requests may open sessions here, and no more may be opened (--sessions)")
    return judge(await _controls(exam, method, right), exam.proxy, exam.show)


def _why_not(discovered: Reply, show: Show) -> str:
    if discovered.outcome in _NO_ANSWER:
        return f"whether the server speaks the modern era was not found out: {show(discovered.label)}"
    return "the server does not speak the modern era"


async def _controls(exam: Examination, method: str, right: list[Reply]) -> Replies:
    """What only means something where the right headers work."""
    if any(not _is_answer(reply) for reply in right):
        return Replies(right)
    call = None
    if exam.plan.tool is not None and not exam.plan.read_only:
        call = await exam.modern("tools/call", params=exam.plan.tool_params)
    wrong = await exam.modern(method, {protocol.METHOD: _WRONG_METHOD})
    needed, message = protocol.modern(exam.next_id(), method, version=exam.eras.modern[0])
    doubled = await exam.wire.send("POST", message=message, headers=[*needed.items(), (protocol.METHOD, method)])
    return Replies(right, call, wrong, doubled)


def _is_mismatch(reply: Reply) -> bool:
    return error_code(reply.message) == HEADER_MISMATCH


def _is_answer(reply: Reply) -> bool:
    return reply.is_ok and "result" in (reply.message or {})


def judge(replies: Replies, proxy: Proxy | None, show: Show) -> Finding:
    """The verdict."""
    right, count = replies.right, len(replies.right)
    failed = [reply for reply in right if not _is_answer(reply)]
    evidence: dict[str, Any] = {
        "calls": count,
        "answered": count - len(failed),
        "errors": dict(Counter(show(reply.label) for reply in failed).most_common(4)),
        "tool_call": show(replies.call.label) if replies.call is not None else None,
        "refuses_wrong_method": _is_mismatch(replies.wrong) if replies.wrong is not None else None,
        "refuses_doubled_method": _is_mismatch(replies.doubled) if replies.doubled is not None else None,
    }
    tried = [*right, *([replies.call] if replies.call is not None else [])]
    lost = [reply for reply in tried if _is_mismatch(reply)]
    if lost:
        said = error_text(lost[0].message)
        named = [name for name in _HEADERS if name.lower() in said.lower()]
        which = named[0] if len(named) == 1 else "a header"
        return Finding(
            NAME,
            Verdict.BROKEN,
            f"{which} does not arrive as it was sent: {len(lost)} of {len(tried)} calls are refused",
            "The headers were right when they left. Something on the way drops, changes or doubles one of them, and "
            f"the server refuses what every client of the modern era sends. It says: {show(said)}.",
            evidence,
            (advice(Topic.HEADERS, proxy),),
        )
    if failed:
        return _failed(failed, count, evidence, show)
    return _on_controls(replies, evidence, show)


def _failed(failed: Sequence[Reply], count: int, evidence: dict[str, Any], show: Show) -> Finding:
    label = show(failed[0].label)
    if all(reply.outcome is Outcome.THROTTLED for reply in failed):
        return throttled(NAME, evidence)
    if any(reply.headers.get(protocol.SESSION) is not None for reply in failed):
        return Finding(
            NAME,
            Verdict.BROKEN,
            f"some nodes do not speak the modern era: {label}",
            "Another node does. A client that has found the modern era there meets nodes that know nothing of it.",
            evidence,
            (Change("Run the same version of the server on every node."),),
        )
    return Finding(
        NAME,
        Verdict.BROKEN,
        f"{len(failed)} of {count} modern calls failed: {label}",
        "The server speaks the modern era, and any node can answer such a call; what failed is the way, or a node.",
        evidence,
        (Change("Look at the proxy's and the server's log at the time of this run."),),
    )


def _on_controls(replies: Replies, evidence: dict[str, Any], show: Show) -> Finding:
    """All that was right was answered; whether that says anything depends on what is refused."""
    count = len(replies.right)
    if replies.wrong is not None and not _is_answer(replies.wrong) and not _is_mismatch(replies.wrong):
        says = f"cannot tell: a wrong header is refused with {show(replies.wrong.label)}"
        why = (
            f"A server refuses it with {HEADER_MISMATCH} in JSON; something on the way may put its own answer in place."
        )
        return Finding(NAME, Verdict.UNKNOWN, says, why, evidence)
    if replies.wrong is None or not _is_mismatch(replies.wrong):
        return Finding(
            NAME,
            Verdict.UNKNOWN,
            "the server does not check its headers, so nothing shows whether they arrive",
            f"A request whose Mcp-Method is wrong was not refused with {HEADER_MISMATCH}.",
            evidence,
        )
    remark = (
        "A header that comes twice is not refused, so one that a proxy doubles does not show."
        if replies.doubled is None or not _is_mismatch(replies.doubled)
        else ""
    )
    says = f"the headers of the modern era arrive as sent, {count} of {count} times, and are checked"
    return Finding(NAME, Verdict.OK, says, remark, evidence)


CHECK: Final = Check(NAME, "do the headers of the modern era arrive as they were sent?", run, is_reading=True)
