"""How long a call takes, beside what clients and load balancers wait for.

a call, alone            verdict
is answered in a second  ok
takes longer             warning
the tool takes half a    warning
client's limit or more
none is answered         cannot tell
"""

from __future__ import annotations

from typing import Final

from mooring.doctor.check import Check
from mooring.doctor.checks.cannot_tell import not_asked
from mooring.doctor.evidence.question import can_ask
from mooring.doctor.evidence.speed import Speed, measure_speed
from mooring.doctor.evidence.time_limits import duration
from mooring.doctor.examination import Examination
from mooring.doctor.findings import Change, Finding, NotRun, Verdict

NAME: Final = "speed"
_SLOW_SECONDS: Final = 1.0
_CLIENTS_SECONDS: Final = 60.0
"""The TypeScript SDK's limit for a request, and the idle timeout of nginx and AWS."""
_LOOK: Final = Change(
    "Look at what each request waits for: name resolution, a login that is checked elsewhere each time, a scan in a "
    "proxy, a server that has too few workers or blocks its event loop."
)


async def run(exam: Examination) -> Finding | NotRun:
    if not can_ask(exam):
        return NotRun("no session is open")
    if exam.hangs:
        return not_asked(NAME, exam)
    return judge(await measure_speed(exam))


def judge(speed: Speed) -> Finding:
    evidence = {
        "call_seconds": [round(one, 3) for one in speed.calls],
        "first_opening_seconds": round(speed.first_opening, 3),
        "tool_seconds": None if speed.tool_seconds is None else round(speed.tool_seconds, 3),
    }
    if not speed.calls:
        return Finding(NAME, Verdict.UNKNOWN, "no call was answered", "See the check `affinity`.", evidence)
    if speed.tool_seconds is not None and speed.tool_seconds >= _CLIENTS_SECONDS / 2:
        says = (
            f"the tool takes {duration(speed.tool_seconds)}: clients wait for {duration(_CLIENTS_SECONDS)} by default"
        )
        why = (
            "The TypeScript SDK gives a request up after 60 s, unless progress is reported and the client heeds it; "
            "nginx and AWS cut a connection that is silent for as long."
        )
        change = Change("Let the tool report its progress, or hand out a task and let clients come back for it.")
        return Finding(NAME, Verdict.WARNING, says, why, evidence, (change,))
    if speed.median >= _SLOW_SECONDS or speed.first_opening >= 5 * _SLOW_SECONDS:
        what = f"a ping takes {duration(speed.median)}"
        if speed.median < _SLOW_SECONDS:
            what = f"a session takes {duration(speed.first_opening)} to open"
        why = (
            "One at a time, and with nothing to work on. A client sends several requests before it can begin, "
            "and waits for each: some give up connecting after 5 to 30 s, and calls after 60 s."
        )
        return Finding(NAME, Verdict.WARNING, f"{what}, also when nothing else is asked", why, evidence, (_LOOK,))
    return Finding(NAME, Verdict.OK, f"a ping takes {duration(speed.median)}", evidence=evidence)


CHECK: Final = Check(NAME, "how long does a call take, beside what clients wait for?", run, is_reading=True)
