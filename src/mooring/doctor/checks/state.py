"""Whether state of the modern era is known on every node: `requestState`, and handles.

what is brought back          verdict
is known each time            ok
is refused some of the time   broken: it goes by the node
is refused each time          cannot tell: the tool may not take it so
nothing was handed out        not run
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from mooring.doctor.check import Check
from mooring.doctor.checks.cannot_tell import not_asked
from mooring.doctor.client.reply import Reply
from mooring.doctor.evidence.carried_state import Carried, carry_state, error_of, is_served
from mooring.doctor.examination import Examination
from mooring.doctor.findings import Change, Finding, NotRun, Verdict
from mooring.doctor.showing import Show

NAME: Final = "state"
_SHARE: Final = Change(
    "Give every node the same key for it: in the Python SDK 2.x each process makes its own where nothing is said. "
    "Mooring makes one of the cluster's secret.",
    "mooring.share_request_state(server)   # `mooring serve` does it by itself",
)
_ROUTE: Final = Change(
    "Let handles lead to their node: `mooring.new_handle()` names it, and the setting `handles` wraps the ids of a "
    "server that makes its own. Or keep what they name outside the process.",
)


async def run(exam: Examination) -> Finding | NotRun:
    if exam.hangs:
        return not_asked(NAME, exam)
    if not exam.eras.modern:
        return NotRun("the server does not speak the modern era")
    if exam.plan.tool is None:
        return NotRun("a tool that asks its user, or that hands out a handle, has to be named: --tool, --then")
    return judge(await carry_state(exam), exam.show)


def judge(carried: Carried, show: Show) -> Finding | NotRun:
    if carried.states:
        return _judge(carried.states, "requestState", "a tool that asks its user", _SHARE, show)
    if carried.uses:
        what = f"the handle of {show(carried.handle)}"
        return _judge(carried.uses, what, f"a call of {show(carried.second)}", _ROUTE, show)
    if carried.second:
        says = f"cannot tell: what the tool answered fits no argument of {show(carried.second)}"
        return Finding(NAME, Verdict.UNKNOWN, says, evidence={"answer": show(error_of(carried.first))})
    return NotRun("the tool asks nothing, and no second tool is named to take what it hands out (--then)")


def _judge(replies: Sequence[Reply], what: str, who: str, change: Change, show: Show) -> Finding:
    failed = [reply for reply in replies if not is_served(reply)]
    count = len(replies)
    said = Counter(show(error_of(reply)) for reply in failed)
    evidence = {"brought_back": count, "known": count - len(failed), "errors": dict(said.most_common(3))}
    if not failed:
        return Finding(NAME, Verdict.OK, f"{what} is known each time, {count} of {count}", evidence=evidence)
    label = said.most_common(1)[0][0]
    if len(failed) == count:
        says = f"cannot tell: {what} is refused each time: {label}"
        return Finding(NAME, Verdict.UNKNOWN, says, "The tool may want it otherwise.", evidence)
    return Finding(
        NAME,
        Verdict.BROKEN,
        f"{what} is known to some nodes only: {len(failed)} of {count} were refused: {label}",
        f"There are no sessions in this era, so each call may meet another node, and {who} fails there.",
        evidence,
        (change,),
    )


CHECK: Final = Check(NAME, "is what a server hands out (requestState, handles) known on every node?", run)
