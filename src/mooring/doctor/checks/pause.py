"""What a client meets that was silent for some seconds: is its session still there, and its connection?

after a pause                            verdict
every session is there                   ok, up to the longest pause
sessions are gone from some pause on     broken
the first call fails, the next does not  warning
calls are lost anyway                    cannot tell
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mooring.doctor.check import Check
from mooring.doctor.checks.cannot_tell import not_asked
from mooring.doctor.client.reply import MAY_PASS, Outcome
from mooring.doctor.evidence.rested_sessions import Rest, let_rest, sessions_to_rest
from mooring.doctor.evidence.time_limits import duration
from mooring.doctor.examination import Examination
from mooring.doctor.findings import Change, Finding, NotRun, Verdict
from mooring.doctor.showing import Show

NAME: Final = "pause"
_SESSIONS_END: Final = Change(
    "Let sessions live for as long as people think: 30 minutes is the Python SDKs' own (`session_idle_timeout`). Look "
    "for what ends them sooner: that setting, a server that is scaled to nothing, or an affinity table that forgets "
    "(HAProxy: `expire` of the stick-table, nginx: `timeout` of `sticky learn`)."
)
_CONNECTIONS_END: Final = Change(
    "Let whoever is behind keep idle connections for longer than whoever is before it: uvicorn's --timeout-keep-alive "
    "is 5 s by default, and proxies keep theirs for 60 to 90 s."
)


async def run(exam: Examination) -> Finding | NotRun:
    if exam.hangs:
        return not_asked(NAME, exam)
    if exam.plan.idle_seconds <= 0:
        return NotRun("no time to be silent is given (--idle)")
    if any(call.reply.outcome is Outcome.LOST for call in exam.calls):
        return NotRun("calls are lost without a pause, too: see the check `affinity`")
    resting = sessions_to_rest(exam)
    if not resting:
        return NotRun("there are too few sessions to leave some alone (--sessions), or too little time (--idle)")
    return judge(await let_rest(exam, resting), exam.show)


def judge(rests: Sequence[Rest], show: Show) -> Finding:
    evidence = {
        "pauses": [
            {"seconds": rest.seconds, "first_call": rest.same.status_key, "kept": rest.is_kept, "lost": rest.is_lost}
            for rest in rests
        ]
    }
    kept = [rest.seconds for rest in rests if rest.is_kept]
    lost = [rest for rest in rests if rest.is_lost]
    if lost:
        shortest = min(lost, key=lambda rest: rest.seconds)
        before = max((seconds for seconds in kept if seconds < shortest.seconds), default=0.0)
        within = f"{duration(before)} to {duration(shortest.seconds)}" if before else duration(shortest.seconds)
        says = f"a session that is silent for {within} is gone: {show(shortest.same.label)}"
        why = "Who reads an answer before asking on has lost the session by then, and most clients never recover."
        if kept and max(kept) > shortest.seconds:
            says = f"{len(lost)} of {len(rests)} sessions were gone after a pause: {show(shortest.same.label)}"
            why = f"Others were there after a longer one, so it is not the time alone: a node may have ended. {why}"
        return Finding(NAME, Verdict.BROKEN, says, why, evidence, (_SESSIONS_END,))
    broke = [rest for rest in rests if rest.broke_connection]
    if broke:
        rest = min(broke, key=lambda one: one.seconds)
        says = f"after {duration(rest.seconds)} of silence the first call fails, and the next does not: "
        why = "The session is there, and the call that came first after the pause did not reach it."
        if rest.same.outcome in MAY_PASS:
            why = "The connection was dead, and nobody had said so. Python's SDK 1.x does not survive that."
        return Finding(NAME, Verdict.WARNING, says + show(rest.same.label), why, evidence, (_CONNECTIONS_END,))
    failed = [rest for rest in rests if not rest.is_kept]
    if failed:
        says = f"calls after a pause failed: {show(failed[0].same.label)}"
        return Finding(NAME, Verdict.UNKNOWN, says, "See the check `affinity`.", evidence)
    says = f"sessions are there after a pause of up to {duration(max(kept))}"
    return Finding(NAME, Verdict.OK, says, "Longer ones are tried with a longer --idle.", evidence)


CHECK: Final = Check(
    NAME, "is a session still there after some seconds of silence?", run, needs_sessions=True, is_reading=True
)
