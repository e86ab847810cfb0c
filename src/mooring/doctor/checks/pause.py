"""What a client meets that was silent for some seconds: is its session still there, and its connection?

after a pause                            verdict
every session is there                   ok, up to the longest pause
sessions are gone from some pause on     broken
one is there, and some calls miss it     broken: what leads to its node was forgotten
the first call fails, the next does not  warning: a connection was dead, the client's or one behind the proxy
calls fail with 5xx or are cut, and no   broken, where none did without a pause
  later one is answered
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
_TABLE_FORGETS: Final = Change(
    "Let the load balancer remember for as long as sessions live: HAProxy's `expire` of the stick-table and `maxidle` "
    "of the cookie, `timeout` of nginx's `sticky learn`, the life of the affinity cookie; and large enough a table."
)
_LOGS: Final = Change("Look at the proxy's and the server's log at the time of this run.")
_CONNECTIONS_END: Final = Change(
    "Let whoever is behind keep idle connections for longer than whoever is before it: uvicorn and Node.js close "
    "theirs after 5 s by default, gunicorn after 2 s, and proxies keep theirs for 60 to 90 s. Where that cannot be, "
    "let the proxy keep none, or for a shorter time.",
    "# uvicorn\nuvicorn server:app --timeout-keep-alive 75\n# Node.js\nserver.keepAliveTimeout = 75_000\n"
    "# nginx: in the upstream, below the server's time\nkeepalive_timeout 4s;\n"
    "# HAProxy: on the `server` line, below the server's time\npool-purge-delay 2s\n"
    "# Apache\nProxyPass /mcp http://10.0.0.1:8000/mcp ttl=4",
)
_BEHIND: Final = (
    "The session is there. The answer came from a proxy, so it is not the client's connection that was dead: most "
    "likely the proxy sent the request on a connection of its own that the server, or a firewall between, had given up "
    "meanwhile (a keep-alive race). A node that wakes up slowly looks like it, too."
)
_AT_THE_FRONT: Final = (
    "The session is there. Either the client's own connection was dead, and nobody had said so; or one behind the "
    "proxy was, and the proxy closed the client's for it, as Apache does in place of a 502. Python's SDK 1.x does not "
    "survive that."
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
    passes = bool(exam.calls) and all(call.reply.outcome is Outcome.REACHED for call in exam.calls)
    return judge(await let_rest(exam, resting), exam.show, passes_without=passes)


def judge(rests: Sequence[Rest], show: Show, *, passes_without: bool = False) -> Finding:
    """The verdict.

    Args:
        passes_without: no call failed that came without a pause.
    """
    evidence = {
        "pauses": [
            {
                "seconds": rest.seconds,
                "first_call": rest.same.status_key,
                "other_calls": [reply.status_key for reply in rest.other],
                "kept": rest.is_kept,
                "lost": rest.is_lost,
            }
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
    forgotten = [rest for rest in rests if rest.is_forgotten]
    if forgotten:
        rest = min(forgotten, key=lambda one: one.seconds)
        label = next(reply.label for reply in (rest.same, *rest.other) if reply.outcome is Outcome.LOST)
        says = f"after {duration(rest.seconds)} of silence some calls miss their session: {show(label)}"
        why = (
            "The session is there, and other calls reach it; without a pause none missed it. So what leads to its node "
            "was forgotten meanwhile, and calls go to any node."
        )
        return Finding(NAME, Verdict.BROKEN, says, why, evidence, (_TABLE_FORGETS,))
    broke = [rest for rest in rests if rest.broke_connection]
    if broke:
        rest = min(broke, key=lambda one: one.seconds)
        first = "the first call fails, and the next does not"
        if rest.failures > 1:
            first = f"the first {rest.failures} calls fail, and later ones do not"
        says = f"after {duration(rest.seconds)} of silence {first}: {show(rest.same.label)}"
        why = "The session is there, and the call that came first after the pause did not reach it."
        changes: tuple[Change, ...] = (_LOGS,)
        if rest.same.outcome in MAY_PASS:
            why = _AT_THE_FRONT if rest.same.outcome is Outcome.CUT else _BEHIND
            changes = (_CONNECTIONS_END, _LOGS)
        return Finding(NAME, Verdict.WARNING, says, why, evidence, changes)
    failed = [rest for rest in rests if not rest.is_kept]
    broken = [rest for rest in failed if all(reply.outcome in MAY_PASS for reply in (rest.same, *rest.other))]
    if broken and passes_without:
        rest = min(broken, key=lambda one: one.seconds)
        says = f"after {duration(rest.seconds)} of silence calls fail that did not before: {show(rest.same.label)}"
        why = (
            "No call failed while there was no pause. Either the proxy sends requests on connections of its own that "
            "the server, or a firewall between, has given up meanwhile (a keep-alive race), or a node has ended."
        )
        return Finding(NAME, Verdict.BROKEN, says, why, evidence, (_CONNECTIONS_END, _LOGS))
    if failed:
        says = f"calls after a pause failed: {show(failed[0].same.label)}"
        return Finding(NAME, Verdict.UNKNOWN, says, "See the check `affinity`.", evidence)
    says = f"sessions are there after a pause of up to {duration(max(kept))}"
    return Finding(NAME, Verdict.OK, says, "Longer ones are tried with a longer --idle.", evidence)


CHECK: Final = Check(
    NAME, "is a session still there after some seconds of silence?", run, needs_sessions=True, is_reading=True
)
