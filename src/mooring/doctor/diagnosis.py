"""One run: first contact, the sessions, the checks, and all that was opened closed again.

    contact ──> sessions ──> silent streams, held in the background ───────────────────────────┐
                        └──> the check that goes first ──> the others, side by side ───────────┴──> close ──> report

What a check needs of this, it declares: see `Check`. A watch (`--watch`) takes the place of all of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

from mooring.doctor.catalogue import CHECKS, WATCH
from mooring.doctor.check import Check
from mooring.doctor.client.reply import FAILURES, Outcome
from mooring.doctor.client.sessions import CLOSE_SECONDS, Sessions
from mooring.doctor.client.wire import Wire
from mooring.doctor.contact import make_contact
from mooring.doctor.evidence.openings import open_sessions
from mooring.doctor.evidence.proxy_in_front import recognise
from mooring.doctor.evidence.silent_streams import SilentStreams
from mooring.doctor.examination import Examination, ProgressListener
from mooring.doctor.findings import OUT_OF_TIME, Change, Finding, NotRun, Verdict
from mooring.doctor.plan import Plan
from mooring.doctor.report import Report

logger = logging.getLogger("mooring.doctor")

_AFTER_SILENCE_SECONDS: Final = 20.0
_SAY_NOTHING_OF_FAILURES: Final = frozenset(check.name for check in CHECKS if check.is_of_rules)
_MOST_CLOSE_SECONDS: Final = 15.0
_LEAST_CLOSE_SECONDS: Final = 3.0


async def diagnose(
    plan: Plan, listener: ProgressListener, *, begun: Callable[[Examination], None] | None = None
) -> Report:
    """Examine the deployment that the plan names.

    When it is cancelled it closes its sessions before it ends.

    Args:
        begun: is given the examination at the start, so that its numbers can be shown while it goes on, or when it was
            cancelled.
    """
    started = time.monotonic()
    async with Wire(plan) as wire:
        sessions = Sessions(wire, plan.sessions)
        exam = Examination(plan, wire, sessions, listener)
        if begun is not None:
            begun(exam)
        close_seconds = CLOSE_SECONDS  # where the run was interrupted, somebody waits for the end
        try:
            findings, not_run, reached = await _examine(exam)
            slowly = 2.0 * sessions.left * wire.pace.interval_seconds
            patient = min(max(CLOSE_SECONDS, plan.timeout_seconds + 1.0), _MOST_CLOSE_SECONDS)
            close_seconds = min(max(patient, slowly), max(plan.most_seconds / 4, _LEAST_CLOSE_SECONDS))
        finally:
            listener.step("closing sessions")
            await _to_its_end(exam.close(close_seconds))
        return Report(
            url=exam.show(plan.url),
            proxy=str(exam.proxy) if exam.proxy else None,
            behind=tuple(str(one) for one in exam.front.behind),
            reached=reached,
            findings=tuple(findings),
            not_run=not_run,
            sessions=sessions.count,
            closed=sessions.closed,
            left=sessions.left,
            why_left=sessions.why_left if sessions.left else "",
            requests=wire.requests,
            seconds=time.monotonic() - started,
        )


async def _to_its_end(closing: Coroutine[Any, Any, None]) -> None:
    """Also where the run is interrupted only now. It takes so long at most, and a second signal ends the process."""
    task = asyncio.ensure_future(closing)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise


async def _examine(exam: Examination) -> tuple[list[Finding], dict[str, str], bool]:
    idle = exam.plan.idle_seconds
    deadline = time.monotonic() + max(exam.plan.most_seconds, idle + _AFTER_SILENCE_SECONDS if idle else 0.0)
    contact, reached = await make_contact(exam)
    findings = [] if contact is None else [contact]
    if contact is not None:
        exam.listener.found(contact)
    if not reached:
        return findings, {}, False
    if exam.plan.watch_seconds is not None:
        return await _watch(exam, findings)
    not_run: dict[str, str] = {}
    wanted = [check for check in CHECKS if _is_wanted(exam, check, not_run)]
    exam.checks_wanted = len(wanted)
    exam.listener.progress(0, len(wanted))
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
            await _prepare(exam, wanted)
    found = await _run_all(exam, [check for check in wanted if check.goes_first], deadline)
    found |= await _run_all(exam, [check for check in wanted if not check.goes_first], deadline)
    for check in wanted:
        result = found[check.name]
        if isinstance(result, NotRun):
            not_run[check.name] = result.why
        else:
            findings.append(result)
    return with_failed_requests(findings, exam), not_run, True


def with_failed_requests(findings: list[Finding], exam: Examination) -> list[Finding]:
    """The same, and never healthy where an ordinary request failed that none of the checks judged."""
    first = [reply for one in exam.sessions.attempts if one.session for reply in one.session.initialized]
    failed = [*exam.failed, *(reply for reply in first if reply.outcome in FAILURES)]
    told = (one for one in findings if one.check not in _SAY_NOTHING_OF_FAILURES)
    if not failed or any(one.verdict in (Verdict.WARNING, Verdict.BROKEN) for one in told):
        return findings
    label = exam.show(Counter(reply.label for reply in failed).most_common(1)[0][0])
    count = len(failed)
    says = f"{count} ordinary {'request' if count == 1 else 'requests'} failed beside the calls: {label}"
    was_answered = any(call.reply.outcome is Outcome.REACHED for call in exam.calls) or not exam.sessions.count
    why = f"{'Later ones were answered. ' if was_answered else ''}Nothing was odd about it: any client may meet that."
    if was_answered:
        why += " A node that is down, and that the load balancer then leaves out for a while, looks like this."
    change = Change("Look at the proxy's and the server's log at the time of this run.")
    found = Finding("affinity", Verdict.WARNING, says, why, {"failed": count}, (change,))
    others = [one for one in findings if one.check != found.check]
    return [found, *others]


async def _watch(exam: Examination, findings: list[Finding]) -> tuple[list[Finding], dict[str, str], bool]:
    """Watch the sessions while a node is lost; only where they are kept together as long as none is."""
    exam.listener.step("opening sessions")
    count = exam.plan.sessions
    await open_sessions(exam, WATCH.sessions_to_open(count) if WATCH.sessions_to_open is not None else count)
    exam.front = await recognise(exam)
    for guard in (check for check in CHECKS if check.guards_watch):
        kept = await guard.run(exam)
        if isinstance(kept, Finding) and kept.verdict is not Verdict.OK:
            exam.listener.found(kept)
            findings.append(kept)
        if isinstance(kept, Finding) and kept.verdict is Verdict.BROKEN:
            why = f"calls fail already while no node is lost: see {guard.name}"
            return findings, {WATCH.name: why}, True
    result = await WATCH.run(exam)
    if isinstance(result, NotRun):
        return findings, {WATCH.name: result.why}, True
    exam.listener.found(result)
    return [*findings, result], {}, True


def _is_wanted(exam: Examination, check: Check, not_run: dict[str, str]) -> bool:
    """Whether there is something to look at; why not is noted, where the operator has not said so."""
    plan = exam.plan
    if (plan.only and check.name not in plan.only) or check.name in plan.skip:
        return False
    if plan.read_only and not check.is_reading:
        not_run[check.name] = "it sends more than lists and pings (--read-only)"
    elif exam.no_calls and check.makes_calls and not check.is_essential:
        not_run[check.name] = exam.no_calls
    elif check.needs_sessions and not exam.eras.gives_sessions:
        lost = "the session id is lost on its way to clients"
        not_run[check.name] = lost if exam.eras.id_is_lost else "the server gives out no sessions"
    return check.name not in not_run


async def _prepare(exam: Examination, wanted: Sequence[Check]) -> None:
    """Open the sessions, see who is in front of them, and open the streams that need the longest time."""
    if exam.eras.gives_sessions:
        exam.listener.step("opening sessions")
        await open_sessions(exam)
    exam.front = await recognise(exam)
    if exam.plan.idle_seconds > 0 and not exam.plan.read_only:
        encodings = {encoding for check in wanted for encoding in check.silent_streams}
        exam.shared(SilentStreams).begin(exam.plan.idle_seconds, encodings)


async def _run_all(exam: Examination, checks: Sequence[Check], deadline: float) -> dict[str, Finding | NotRun]:
    async def run(check: Check) -> Finding | NotRun:
        result = await _run(exam, check, deadline)
        exam.checks_done += 1
        exam.listener.progress(exam.checks_done, exam.checks_wanted)
        return result

    results = await asyncio.gather(*(run(check) for check in checks))
    return {check.name: result for check, result in zip(checks, results, strict=True)}


async def _run(exam: Examination, check: Check, deadline: float) -> Finding | NotRun:
    if exam.no_calls and check.makes_calls and not check.is_essential:
        return NotRun(exam.no_calls)
    try:
        async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
            result = await check.run(exam)
    except TimeoutError:
        result = Finding(check.name, Verdict.UNKNOWN, OUT_OF_TIME)
    except Exception as error:  # what the other checks found is worth as much as before
        logger.debug("the check %s failed", check.name, exc_info=True)
        says = exam.show(f"an error of the doctor's own: {type(error).__name__}: {error}")
        result = Finding(check.name, Verdict.UNKNOWN, says, "This is a bug in Mooring; --debug shows where.")
    if exam.wire.is_halted and not (check.goes_first or check.is_essential):
        result = NotRun("calls open new sessions here")
    if isinstance(result, Finding):
        exam.listener.found(result)
    return result
