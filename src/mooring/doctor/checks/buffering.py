"""Whether events come when they are sent, or when somebody between has gathered enough of them.

What is seen of it, the strongest first:

    the held stream: several things came at once, with the end of the session      broken
    the tool: several events came at once, at the end of a call that took long     broken; where other streams pass,
                                                                                   it is the server's own doing
    the held stream: its head came with what was sent first                        warning
    the heads of several streams are 0.2 s late behind HAProxy                     warning: option http-no-delay
    either: something came while the stream went on                                ok
    nothing was sent                                                               cannot tell
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any, Final

from mooring.doctor.advice import Topic, advice
from mooring.doctor.check import Check
from mooring.doctor.checks.cannot_tell import not_asked
from mooring.doctor.checks.hops import buffering_changes
from mooring.doctor.client import protocol
from mooring.doctor.evidence.heard import Heard
from mooring.doctor.evidence.question import request_in_era
from mooring.doctor.evidence.silent_streams import PLAIN, SilentStreams
from mooring.doctor.evidence.time_limits import duration
from mooring.doctor.evidence.timed_call import TimedCall, timed_call
from mooring.doctor.examination import Examination
from mooring.doctor.findings import Change, Finding, NotRun, Verdict
from mooring.doctor.proxies import Proxy
from mooring.doctor.showing import Show

NAME: Final = "buffering"
_PINGS: Final = 3
_PROGRESS: Final = "mooring-doctor"
_DELAY_SECONDS: Final = (0.19, 0.35)
"""Without http-no-delay, HAProxy waits for 200 ms before it sends a small piece."""
_QUICK_SECONDS: Final = 0.05
_AGAIN: Final = 2
_AGAIN_SECONDS: Final = 0.5

_HURTS: Final = (
    "Progress, logging and questions of the server reach clients only when a buffer is full or the answer is "
    "complete: a tool that asks its user waits for ever. A call that takes long looks dead, and is cut by the next "
    "idle timeout."
)


async def run(exam: Examination) -> Finding | NotRun:
    if exam.hangs:
        return not_asked(NAME, exam)
    pings = await _ping(exam)
    tool = await _call_tool(exam) if exam.plan.tool is not None else None
    heard = await exam.shared(SilentStreams).heard(PLAIN)
    delays = await _delays(exam, heard, pings) if heard is not None else ()
    return judge(heard, tool, pings, exam.proxy, delays, exam.front.behind, _failed(tool, exam.show))


def _failed(tool: TimedCall | None, show: Show) -> str:
    """How the call of the tool failed, as it may be shown; empty where it did not, or had no answer."""
    if tool is None or tool.reply.status in (0, 200):
        said = protocol.tool_error(tool.reply.message) if tool is not None else ""
        return show(said)
    return show(tool.reply.label)


async def _delays(exam: Examination, heard: Heard, pings: Sequence[TimedCall]) -> Sequence[float]:
    """When the heads of further streams came; none where there is no doubt about the first one's."""
    if exam.proxy is not Proxy.HAPROXY or not heard.is_stream or not is_delayed([heard.head_seconds or 0.0], pings):
        return ()
    delays = [heard.head_seconds or 0.0]
    for _ in range(_AGAIN):
        again = await exam.shared(SilentStreams).hear(_AGAIN_SECONDS)
        if again is not None and again.is_stream:
            delays.append(again.head_seconds or 0.0)
    return delays


async def _ping(exam: Examination) -> Sequence[TimedCall]:
    """Some pings that were answered; no more are sent after one that was not."""
    pings = list[TimedCall]()
    for _ in range(_PINGS):
        ping = await timed_call(exam, *request_in_era(exam, "ping" if exam.eras.legacy else "tools/list"))
        if not ping.is_answered:
            break
        pings.append(ping)
    return pings


async def _call_tool(exam: Examination) -> TimedCall:
    """The operator's tool, asked to report its progress (2025-11-25, Utilities: Progress)."""
    headers, message = request_in_era(exam, "tools/call", exam.plan.tool_params)
    params = message["params"]
    meta = {**params.get("_meta", {}), "progressToken": _PROGRESS}
    return await timed_call(exam, headers, {**message, "params": {**params, "_meta": meta}})


def judge(
    heard: Heard | None,
    tool: TimedCall | None,
    pings: Sequence[TimedCall],
    proxy: Proxy | None,
    delays: Sequence[float] = (),
    behind: Sequence[Proxy] = (),
    failed: str = "",
) -> Finding | NotRun:
    """The verdict.

    Args:
        heard: on the held stream; None where none is held.
        tool: the call of the operator's tool; None where none is named.
        pings: those that were answered.
        delays: when the heads of streams came, in seconds, where they were looked at more closely.
        behind: other proxies that have left a sign.
        failed: how the call of the tool failed; empty where it did not.
    """
    offers_stream = heard is not None and not heard.is_refused
    answers = [*pings, *([tool] if tool is not None else [])]
    if answers and not offers_stream and not any(answer.is_stream for answer in answers):
        return NotRun("the server sends no event streams")
    evidence = _evidence(heard, tool, pings)
    found = (
        _kept_back(heard, tool, proxy, evidence, behind)
        or _late_head(heard, proxy, evidence, behind)
        or _delayed(delays, pings, proxy, evidence)
    )
    if found is not None:
        return found
    if tool is not None and tool.passes:
        first, last = (duration(tool.event_seconds[index]) for index in (0, -1))
        says = f"events pass at once: the first of a call came after {first}, its last after {last}"
        return Finding(NAME, Verdict.OK, says, evidence=evidence)
    if heard is not None and heard.passes:
        count, kind = heard.early.sendings, "event" if heard.early.events else "comment"
        says = f"events pass at once: {count} {kind}{'s' if count > 1 else ''} came while a stream was open"
        return Finding(NAME, Verdict.OK, says, evidence=evidence)
    return _untold(heard, tool, evidence, failed)


def _kept_back(
    heard: Heard | None,
    tool: TimedCall | None,
    proxy: Proxy | None,
    evidence: dict[str, Any],
    behind: Sequence[Proxy] = (),
) -> Finding | None:
    """What came at once though it cannot have been sent at once."""
    if heard is not None and heard.is_held_back:
        count, age = heard.flushed.sendings, duration(heard.held_seconds)
        return Finding(
            NAME,
            Verdict.BROKEN,
            f"events are held back until a stream ends: nothing came for {age}, then {count} at once",
            _HURTS,
            evidence,
            buffering_changes(proxy, behind),
        )
    if tool is None or not tool.is_burst:
        return None
    passes = heard is not None and heard.passes
    return Finding(
        NAME,
        Verdict.WARNING if passes else Verdict.BROKEN,
        f"all {len(tool.event_seconds)} events of a call of {duration(tool.seconds)} came at its end",
        "Another stream is passed on as it comes, so nothing on the way holds them back: the tool blocks the "
        "server while it works, or reports only at its end."
        if passes
        else _HURTS,
        evidence,
        (Change("Let the tool give way while it works: no blocking call in an async function."),)
        if passes
        else buffering_changes(proxy, behind),
    )


def _late_head(
    heard: Heard | None, proxy: Proxy | None, evidence: dict[str, Any], behind: Sequence[Proxy] = ()
) -> Finding | None:
    if heard is None or heard.head_seconds is None or not heard.is_head_late:
        return None
    return Finding(
        NAME,
        Verdict.WARNING,
        f"the head of a silent stream is held back: it came after {duration(heard.head_seconds)}",
        "Until something is sent its client does not know whether the stream is open, and takes it for a request that "
        "hangs: the fetch of Node.js gives up after 300 s. "
        + ("What is sent then does come through." if heard.passes else "Whether events then come at once is not seen."),
        evidence,
        buffering_changes(proxy, behind),
    )


def _delayed(
    delays: Sequence[float], pings: Sequence[TimedCall], proxy: Proxy | None, evidence: dict[str, Any]
) -> Finding | None:
    if len(delays) <= _AGAIN or not is_delayed(delays, pings):
        return None
    return Finding(
        NAME,
        Verdict.WARNING,
        f"what a stream brings waits for {duration(statistics.median(delays))} in HAProxy",
        "It gathers small pieces before it sends them, unless more follow at once: each event of a call is late by as "
        "much.",
        {**evidence, "head_seconds": [round(one, 3) for one in delays]},
        (advice(Topic.BUFFERING, proxy),),
    )


def is_delayed(heads: Sequence[float], pings: Sequence[TimedCall]) -> bool:
    """Whether every head is late as without http-no-delay, though whole answers come quickly."""
    least, most = _DELAY_SECONDS
    quick = bool(pings) and statistics.median(ping.seconds for ping in pings) < _QUICK_SECONDS
    return quick and all(least <= head <= most for head in heads)


def _untold(heard: Heard | None, tool: TimedCall | None, evidence: dict[str, Any], failed: str) -> Finding:
    if failed:
        says = f"cannot tell: the tool failed: {failed}"
        change = "Check its name and its arguments: --tool, --arguments."
    elif tool is not None and not tool.is_answered:
        says = "cannot tell: the tool did not answer in time"
        change = "Let it work for less, or wait for longer: --arguments, --timeout."
    elif tool is not None:
        says = "cannot tell: the call was too short, or sent nothing before its answer"
        change = "Name a tool that works for some seconds and reports its progress: --tool, --arguments."
    elif heard is None or heard.is_refused:
        says = "cannot tell: no stream was held open, and no tool is named"
        change = "Name a tool that reports its progress: --tool."
    elif heard.ended_early:
        says = "cannot tell: the stream ended before anything was sent on it"
        change = "See the check `idle`; or name a tool that reports its progress: --tool."
    else:
        says = f"cannot tell: the server sent nothing on a stream for {duration(heard.held_seconds)}"
        change = "Name a tool that reports its progress (--tool), or hold the stream for longer (--idle)."
    return Finding(NAME, Verdict.UNKNOWN, says, evidence=evidence, changes=(Change(change),))


def _evidence(heard: Heard | None, tool: TimedCall | None, pings: Sequence[TimedCall]) -> dict[str, Any]:
    evidence: dict[str, Any] = {}
    if heard is not None:
        evidence["held_stream"] = heard.numbers()
    first = [ping.event_seconds[0] - ping.head_seconds for ping in pings if ping.event_seconds]
    if first:
        evidence["ping_first_event_seconds"] = round(statistics.median(first), 4)
    if pings:
        evidence["ping_seconds"] = round(statistics.median(ping.seconds for ping in pings), 4)
    if tool is not None:
        evidence["tool"] = {
            "seconds": round(tool.seconds, 3),
            "head_seconds": round(tool.head_seconds, 3),
            "event_seconds": [round(one, 3) for one in tool.event_seconds][:20],
        }
    return evidence


CHECK: Final = Check(NAME, "do events come when they are sent?", run, silent_streams=frozenset({PLAIN}))
