"""How long a stream lives while nothing is sent on it, and what ends it.

the stream                          says
lives, and the server says          kept alive: no limit above its interval can bite
  something now and then
lives in silence                    held
ends cleanly, with `retry:`         the server polls (2025-11-25, Transports: it may close a stream that way)
ends cleanly, without               ended
is cut, and its session is gone     cannot tell
is cut                              by silence or by age; by age, where it had lived through as long a silence, or
                                    where a younger stream cannot be ended properly either
lives, and cannot be ended          by age, which shows only when something is written
is no stream: 405                   nothing to look at
is no stream: 5xx after a while     given up, since not even its head came
"""

from __future__ import annotations

from typing import Any, Final

from mooring.doctor.advice import Topic, advice
from mooring.doctor.check import Check
from mooring.doctor.checks.cannot_tell import failing_anyway, not_asked, throttled
from mooring.doctor.checks.cut_streams import CUT_HURTS, by_default, changes_for, judge_cut, judge_unendable
from mooring.doctor.client.held_stream import End, is_lost, reach_stream
from mooring.doctor.client.protocol import EVENT_STREAM
from mooring.doctor.client.reply import Outcome
from mooring.doctor.evidence.failing_calls import telling_replies
from mooring.doctor.evidence.heard import Heard
from mooring.doctor.evidence.question import is_gone, tries_needed
from mooring.doctor.evidence.silent_streams import PLAIN, SilentStreams
from mooring.doctor.evidence.stream_probes import GIVEN_UP_SECONDS, Probes, is_cut, is_unendable, probe
from mooring.doctor.evidence.time_limits import duration, known_limits, limit_of
from mooring.doctor.evidence.timed_call import headers_by_turn
from mooring.doctor.examination import Examination
from mooring.doctor.findings import Change, Finding, NotRun, Verdict
from mooring.doctor.proxies import Proxy
from mooring.doctor.showing import Show

NAME: Final = "idle"
_HEAD_SECONDS: Final = 1.0
_BEYOND: Final = 10.0


async def run(exam: Examination) -> Finding | NotRun:
    if exam.hangs:
        return not_asked(NAME, exam)
    silence = exam.shared(SilentStreams).held.get(PLAIN)
    if silence is None:
        return await _asked_only(exam)
    heard = await silence.heard(exam.listener.step)
    if heard.is_refused and not telling_replies(exam, [heard.reply], but_logins=True):
        return failing_anyway(NAME, exam, heard.numbers())
    if is_cut(heard) and await is_gone(exam, silence.session):
        return _gone(heard)
    return judge(heard, await probe(exam, heard), exam.proxy, exam.show, never_lost=_never_lost(exam))


def _never_lost(exam: Examination) -> bool:
    """Every call met the node of its session, so that a GET does as well, if it gets to one."""
    return bool(exam.calls) and all(call.reply.outcome is Outcome.REACHED for call in exam.calls)


async def _asked_only(exam: Examination) -> Finding | NotRun:
    """Whether a stream can be opened at all, where no time is given to hold it."""
    no_time = NotRun("no time to hold a silent stream is given (--idle)")
    if exam.first is None or exam.plan.read_only:
        return no_time
    headers = headers_by_turn(exam, {"Accept": EVENT_STREAM})
    stream = await reach_stream(exam.wire, headers, tries=tries_needed(exam), seconds=_HEAD_SECONDS)
    await stream.close()
    reply = stream.reply
    if not stream.is_refused or reply.trouble is not None or not telling_replies(exam, [reply], but_logins=True):
        return no_time
    heard = Heard(reply, stream.head_seconds, stream.age_seconds, end=stream.end, ended_seconds=stream.ended_seconds)
    return _refused(heard, exam.proxy, heard.numbers(), exam.show, never_lost=_never_lost(exam))


def judge(
    heard: Heard, probes: Probes, proxy: Proxy | None, show: Show, *, never_lost: bool = False
) -> Finding | NotRun:
    evidence = _evidence(heard, probes)
    if heard.is_refused and not is_cut(heard):
        return _refused(heard, proxy, evidence, show, never_lost=never_lost)
    if is_cut(heard):
        return judge_cut(NAME, heard, probes, proxy, evidence)
    if heard.ended_early:
        return _ended(heard, proxy, evidence)
    if heard.head_seconds is None:
        return Finding(
            NAME,
            Verdict.UNKNOWN,
            f"a stream was asked for, and no answer began in {duration(heard.held_seconds)}",
            "That does not show whether it would have lived.",
            evidence,
        )
    if is_unendable(heard) and probes.fresh is not None and probes.fresh.end is End.CLEAN:
        return judge_unendable(NAME, heard, probes, proxy, evidence)
    return _held(heard, proxy, evidence)


def _held(heard: Heard, proxy: Proxy | None, evidence: dict[str, Any]) -> Finding:
    age, longest = duration(heard.held_seconds), max((*heard.silences, heard.last_silence_seconds))
    if heard.early.sendings and heard.silences:
        kind = "a comment" if heard.early.comments else "an event"
        says = f"{kind} every {duration(max(heard.silences))} kept a stream alive for {age}"
        why = f"No idle timeout above {duration(longest)} can cut it. A limit on its age may still come later."
    else:
        says = f"{age} of silence did not end a stream"
        why = "Limits above that, such as the 60 s of nginx and AWS, are not seen: hold it for longer with --idle."
        if (limit := limit_of(proxy)) is not None and limit[0] > heard.held_seconds:
            why = f"{limit[1]} cuts a silent stream after {limit[0]:g} s: whether it does here shows "
            why += f"`--idle {limit[0] + _BEYOND:g}`."
        if heard.flushed.sendings:
            why = "The server did send something, but it was held back until the end: see the check `buffering`."
    return Finding(NAME, Verdict.OK, says, why, evidence)


def _refused(
    heard: Heard, proxy: Proxy | None, evidence: dict[str, Any], show: Show, *, never_lost: bool = False
) -> Finding | NotRun:
    reply = heard.reply
    label = show(reply.label) + (f" ({show(reply.media_type)})" if reply.is_ok and reply.media_type else "")
    if reply.status == 405:
        return NotRun("the server offers no standalone stream (405)")
    if is_lost(reply) and not never_lost:
        says = f"no node that was asked for a stream knew its session: {label}"
        return Finding(NAME, Verdict.UNKNOWN, says, "See the check `affinity`.", evidence)
    if reply.outcome is Outcome.THROTTLED:
        return throttled(NAME, evidence)
    if reply.status >= 500 and (heard.head_seconds or 0.0) >= GIVEN_UP_SECONDS:
        seconds = heard.head_seconds or 0.0
        says = f"a stream on which nothing is sent is given up after {duration(seconds)}: {label}"
        why = f"Its head is held back until something is sent. {by_default(known_limits(seconds))}{CUT_HURTS}"
        return Finding(
            NAME, Verdict.BROKEN, says, why, evidence, (advice(Topic.IDLE, proxy), advice(Topic.BUFFERING, proxy))
        )
    return Finding(
        NAME,
        Verdict.WARNING,
        f"the standalone stream cannot be opened: {label}",
        "Over it a server sends what belongs to no call, such as changes of its lists and requests of its own. One "
        "that does not offer it answers 405, which clients take in silence; anything else is an error to them.",
        evidence,
        (
            Change(
                "Pass GET on to the server as POST is, with its Mcp-Session-Id and Accept; a server that does not want "
                "it answers 405."
            ),
        ),
    )


def _gone(heard: Heard) -> Finding:
    """A node that ends takes its streams with it, whatever limits there are."""
    says = f"cannot tell: a stream was cut after {duration(heard.age_seconds)}, and its session is gone as well"
    why = "Its node was stopped or restarted meanwhile, or the server ends sessions with their stream."
    change = Change("Run it again while no node is being deployed; --watch shows what sessions see of that.")
    return Finding(NAME, Verdict.UNKNOWN, says, why, heard.numbers(), (change,))


def _ended(heard: Heard, proxy: Proxy | None, evidence: dict[str, Any]) -> Finding:
    """Cleanly, and unasked."""
    retry = heard.early.retry_milliseconds
    age = duration(heard.age_seconds)
    if retry is not None:
        return Finding(
            NAME,
            Verdict.OK,
            f"the server ends its stream after {age} and has clients return {duration(retry / 1000)} later",
            "It may do so: a stream that ends cleanly, and says when to return, is not lost.",
            evidence,
        )
    if heard.age_seconds < GIVEN_UP_SECONDS:
        return Finding(
            NAME,
            Verdict.WARNING,
            "the standalone stream is ended as soon as it is opened",
            "Clients open it again a second later, and so on as long as they live; what is sent in between is lost.",
            evidence,
            (Change("Keep the stream open, or answer GET with 405 where the server has nothing to send."),),
        )
    return Finding(
        NAME,
        Verdict.WARNING,
        f"a silent stream is ended after {age}, cleanly",
        "Clients open it again after a second; what is sent meanwhile is lost. "
        + by_default(known_limits(heard.age_seconds)),
        evidence,
        changes_for(proxy, by_age=False),
    )


def _evidence(heard: Heard, probes: Probes) -> dict[str, Any]:
    evidence = heard.numbers()
    for name, held in (("repeat", probes.repeat), ("sooner", probes.sooner), ("fresh", probes.fresh)):
        if held is not None:
            evidence[f"{name}_seconds"] = round(held.age_seconds, 2)
            evidence[f"{name}_end"] = str(held.end) if held.end is not None else None
    return evidence


CHECK: Final = Check(
    NAME,
    "how long does a stream live while nothing is sent on it, and what ends it?",
    run,
    needs_sessions=True,
    silent_streams=frozenset({PLAIN}),
)
