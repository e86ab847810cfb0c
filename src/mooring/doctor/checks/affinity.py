"""Whether each call reaches the node that holds its session, for every kind of client.

The calls are made in each of four ways; `call_pattern` tells what fails in which of them.

    calls                                       verdict
    they open sessions of their own             broken: their id does not arrive
    they meet what is no MCP server, as some    broken: a node at another path, or something else among the nodes
    openings did
    any is lost                                 broken, by its pattern: `lost_calls`
    all of them fail by a limit on their rate   unknown
    some fail in another way                    a warning where they are few, else broken: `failed_calls`
    all are answered, and `tools/list` is not   broken: `listed_tools`
    all reach their session                     ok
    there are no sessions                       whether any node answers: `sessionless_calls`
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mooring.doctor.check import Check
from mooring.doctor.checks.failed_calls import judge_failed
from mooring.doctor.checks.listed_tools import find_unlisted
from mooring.doctor.checks.lost_calls import judge_dropped, judge_elsewhere, judge_lost, met_elsewhere
from mooring.doctor.checks.sessionless_calls import judge_without_sessions
from mooring.doctor.client.protocol import tool_error
from mooring.doctor.client.reply import Outcome, Reply
from mooring.doctor.evidence.call_pattern import CallTally, Pattern, pattern_of, sessions_of, tally_by_way
from mooring.doctor.evidence.calls import calls_in_turn, make_calls, see_through_disguise
from mooring.doctor.evidence.failure_pattern import turn_of
from mooring.doctor.evidence.node_of_reply import node_reader
from mooring.doctor.evidence.references import References, is_nameless
from mooring.doctor.examination import Examination
from mooring.doctor.findings import Finding, NotRun, Verdict

NAME: Final = "affinity"


async def run(exam: Examination) -> Finding | NotRun:
    if exam.wire.is_halted:
        exam.no_calls = "calls open new sessions here"
        return judge_dropped(NAME, exam)
    if not exam.sessions.opened and exam.eras.gives_sessions:
        return Finding(NAME, Verdict.UNKNOWN, "no session is open any more", "See the check `openings`.")
    if not exam.sessions.opened:
        found = await judge_without_sessions(NAME, exam)
        return (await find_unlisted(NAME, exam) or found) if found.verdict is Verdict.OK else found
    await make_calls(exam)
    if exam.wire.is_halted:
        return judge_dropped(NAME, exam)
    await see_through_disguise(exam)
    lost = [call.reply for call in exam.calls if call.reply.outcome is Outcome.LOST]
    reached = any(call.reply.outcome is Outcome.REACHED for call in exam.calls)
    exam.sessions.loses_none = not lost and reached
    if lost and not reached:
        exam.no_calls = "no call reaches its session"
        exam.sessions.reaches_none = True
    if lost:
        if exam.front.server and reached:
            passed = [not failed for failed in await calls_in_turn(exam)]
            exam.is_in_turn = turn_of(passed) > 0
        return judge(exam, is_dropped=await _is_dropped(exam, lost))
    is_odd = any(call.reply.outcome is not Outcome.REACHED for call in exam.calls)
    found = judge(exam, in_turn=await calls_in_turn(exam) if is_odd else ())
    if found.verdict is Verdict.OK and exam.sessions.sessionless:
        says = "cannot tell: nodes that keep no sessions answer calls in the sessions of others"
        return Finding(NAME, Verdict.UNKNOWN, says, "See the check `eras`.", found.evidence)
    return (await find_unlisted(NAME, exam) or found) if found.verdict is Verdict.OK else found


async def _is_dropped(exam: Examination, lost: Sequence[Reply]) -> bool:
    """Whether calls are answered as if they named no session: then it was lost on their way."""
    references = exam.shared(References)
    strangers = await references.strangers()
    nameless = await references.nameless() if strangers else Reply()
    return all(is_nameless(reply, nameless, strangers) for reply in lost)


def judge(exam: Examination, *, in_turn: Sequence[bool] = (), is_dropped: bool = False) -> Finding:
    """The verdict on the calls that were made.

    Args:
        in_turn: whether each of some calls failed that were sent one after the other.
        is_dropped: the calls that were lost were answered as those that name no session.
    """
    calls = exam.calls
    total = CallTally.of(calls)
    by_way = tally_by_way(calls)
    evidence = {
        "sessions": len(sessions_of(calls)),
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
    if total.lost and met_elsewhere(exam):
        return judge_elsewhere(NAME, exam, evidence)
    if total.lost:
        pattern = Pattern.DROPPED if is_dropped else pattern_of(calls)
        return judge_lost(NAME, exam, pattern, by_way, evidence)
    if total.calls > total.reached:
        reader = node_reader(exam)
        return judge_failed(NAME, calls, [reader(call.reply) for call in calls], in_turn, evidence, exam.show)
    return Finding(
        NAME,
        Verdict.OK,
        f"{total.reached} of {total.calls} calls reached their session, with and without cookies",
        _on_tool(exam),
        evidence,
    )


def _on_tool(exam: Examination) -> str:
    """What the operator's tool said where each call of it failed: its session was reached, and nothing was tried."""
    said = [tool_error(call.reply.message) for call in exam.calls] if exam.plan.tool is not None else []
    if not said or not all(said):
        return ""
    return f"Each time the tool answered with an error: {exam.show(said[0])}. Check its name and its arguments."


CHECK: Final = Check(
    NAME,
    "does each call reach the node that holds its session, for every client?",
    run,
    is_reading=True,
    is_essential=True,
    goes_first=True,
    guards_watch=True,
)
