"""How long a stream lives on which nothing is sent, and what ends it.

the stream                          says
lives, and the server says          kept alive: no limit above its interval can bite
  something now and then
lives in silence                    held
ends cleanly, with `retry:`         the server polls (2025-11-25, Transports: it may close a stream that way)
ends cleanly, without               ended
is cut, and its session is gone     not to be told
is cut                              by silence or by age; by age, where it had lived through as long a silence, or
                                    where a younger stream cannot be ended properly either
lives, and cannot be ended          by age, which shows only when something is written
is no stream: 405                   nothing to look at
is no stream: 5xx after a while     given up, since not even its head came
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from mooring.doctor.advice import Topic, advice
from mooring.doctor.check import Check
from mooring.doctor.checks.cannot_tell import failing_anyway, not_asked, throttled
from mooring.doctor.client.held_stream import End, is_lost
from mooring.doctor.client.reply import Outcome
from mooring.doctor.evidence.failing_calls import telling_replies
from mooring.doctor.evidence.heard import Heard
from mooring.doctor.evidence.question import is_gone
from mooring.doctor.evidence.silent_streams import PLAIN, SilentStreams
from mooring.doctor.evidence.time_limits import duration, known_limits
from mooring.doctor.examination import Examination
from mooring.doctor.findings import Change, Finding, NotRun, Verdict
from mooring.doctor.hiding import Show
from mooring.doctor.proxies import Proxy

NAME: Final = "idle"
_CONFIRMED_TO_SECONDS: Final = 40.0
"""What was cut later is not tried again: it would take too long."""
_REPEATED_FOR: Final = 1.3
_SOONER: Final = 0.75
_FRESH_SECONDS: Final = 0.3
_TOLERANCE: Final = 0.2
_GIVEN_UP_SECONDS: Final = 1.5
"""A refusal that takes longer is a limit on time."""
_BY_SILENCE: Final = frozenset({Proxy.NGINX, Proxy.HAPROXY, Proxy.ALB, Proxy.CLOUDFLARE})
_BY_AGE: Final = frozenset({Proxy.TRAEFIK, Proxy.GCLB})

_CUT_HURTS: Final = (
    "With the Python SDK two abrupt drops in a session end its standalone stream for good, without a word: no "
    "notification arrives any more. The TypeScript SDK opens it again each time, and misses what is sent meanwhile. "
    "A tool call that says nothing for so long is cut as well: without event ids its answer is lost, and the Python "
    "SDK 1.x waits for it for ever."
)


@dataclass(frozen=True, slots=True)
class Probes:
    """Streams held after the first one, to be sure of what it showed.

    Attributes:
        repeat: held for a little longer than the first one lived.
        sooner: whose session was ended a while before that age.
        fresh: whose session was ended right away.
    """

    repeat: Heard | None = None
    sooner: Heard | None = None
    fresh: Heard | None = None


async def run(exam: Examination) -> Finding | NotRun:
    if exam.hangs:
        return not_asked(NAME)
    silence = exam.shared(SilentStreams).held.get(PLAIN)
    if silence is None:
        return NotRun("no time to hold a silent stream is given (--idle)")
    heard = await silence.heard(exam.listener.step)
    if heard.is_refused and not telling_replies(exam, [heard.reply]):
        return failing_anyway(NAME, exam, heard.numbers())
    if is_cut(heard) and await is_gone(exam, silence.session):
        return _gone(heard)
    return judge(heard, await _probe(exam, heard), exam.proxy, exam.show)


async def _probe(exam: Examination, heard: Heard) -> Probes:
    """Hold more streams, where the first one leaves a doubt."""
    age = heard.age_seconds
    if age > _CONFIRMED_TO_SECONDS:
        return Probes()
    if is_cut(heard):
        exam.listener.step(f"a stream was cut after {age:.0f} s: is the next one too?")
        repeat, sooner = await asyncio.gather(_hold(exam, age * _REPEATED_FOR), _hold(exam, age * _SOONER))
        return Probes(repeat, sooner)
    if is_unendable(heard):
        sooner, fresh = await asyncio.gather(_hold(exam, age * _SOONER), _hold(exam, _FRESH_SECONDS))
        return Probes(None, sooner, fresh)
    return Probes()


async def _hold(exam: Examination, seconds: float) -> Heard | None:
    heard = await exam.shared(SilentStreams).hear(seconds)
    return heard if heard is not None and (heard.is_stream or is_cut(heard)) else None


def is_cut(heard: Heard) -> bool:
    """It ended with its connection, nobody had asked for its end, and it was not refused right away."""
    return heard.ended_early and heard.end is End.CUT and (heard.is_stream or heard.age_seconds >= _GIVEN_UP_SECONDS)


def is_unendable(heard: Heard | None) -> bool:
    """It seemed to live, but its end did not come through."""
    return heard is not None and heard.is_session_ended and not heard.ended_early and heard.end is End.CUT


def is_by_age(heard: Heard, probes: Probes) -> bool:
    """Whether it was cut for its age; else it may have been cut for its silence, or for either."""
    survived = max(heard.silences, default=0.0)
    return survived >= 0.95 * heard.last_silence_seconds or is_unendable(probes.sooner)


def judge(heard: Heard, probes: Probes, proxy: Proxy | None, show: Show) -> Finding | NotRun:
    evidence = _evidence(heard, probes)
    if heard.is_refused and not is_cut(heard):
        return _refused(heard, proxy, evidence, show)
    if is_cut(heard):
        return _cut(heard, probes, proxy, evidence)
    if heard.ended_early:
        return _ended(heard, proxy, evidence)
    if heard.head_seconds is None:
        return Finding(
            NAME,
            Verdict.UNKNOWN,
            f"a stream was asked for, and no answer began in {duration(heard.held_seconds)}",
            "Whether it would have lived cannot be told from that.",
            evidence,
        )
    if is_unendable(heard) and probes.fresh is not None and probes.fresh.end is End.CLEAN:
        return _unendable(heard, probes, proxy, evidence)
    return _held(heard, evidence)


def _held(heard: Heard, evidence: dict[str, Any]) -> Finding:
    age, longest = duration(heard.held_seconds), max((*heard.silences, heard.last_silence_seconds))
    if heard.early.sendings and heard.silences:
        kind = "a comment" if heard.early.comments else "an event"
        says = f"{kind} every {duration(max(heard.silences))} kept a stream alive for {age}"
        why = f"No idle timeout above {duration(longest)} can cut it. A limit on its age may still come later."
    else:
        says = f"{age} of silence did not end a stream"
        why = "Limits above that, such as the 60 s of nginx and AWS, are not seen: hold it for longer with --idle."
        if heard.flushed.sendings:
            why = "The server did send something, but it was held back until the end: see the check `buffering`."
    return Finding(NAME, Verdict.OK, says, why, evidence)


def _refused(heard: Heard, proxy: Proxy | None, evidence: dict[str, Any], show: Show) -> Finding | NotRun:
    reply = heard.reply
    label = show(reply.label) + (f" ({show(reply.media_type)})" if reply.is_ok else "")
    if reply.status == 405:
        return NotRun("the server offers no standalone stream (405)")
    if is_lost(reply):
        says = f"no node that was asked for a stream knew its session: {label}"
        return Finding(NAME, Verdict.UNKNOWN, says, "See the check `affinity`.", evidence)
    if reply.outcome is Outcome.THROTTLED:
        return throttled(NAME, evidence)
    if reply.status >= 500 and (heard.head_seconds or 0.0) >= _GIVEN_UP_SECONDS:
        seconds = heard.head_seconds or 0.0
        says = f"a stream on which nothing is sent is given up after {duration(seconds)}: {label}"
        why = f"Its head is held back until something is sent. {_known(known_limits(seconds))}{_CUT_HURTS}"
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
    says = f"not to be told: a stream was cut after {duration(heard.age_seconds)}, and its session is gone as well"
    why = "Its node was stopped or restarted meanwhile, or the server ends sessions with their stream."
    change = Change("Run it again while no node is being deployed; --watch tells what sessions see of that.")
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
            "It may do so: who ends a stream cleanly, and says when to return, has not lost it.",
            evidence,
        )
    if heard.age_seconds < _GIVEN_UP_SECONDS:
        return Finding(
            NAME,
            Verdict.WARNING,
            "the standalone stream is ended as soon as it is opened",
            "Clients open it again a second later, and so on for as long as they live; what is sent between is lost.",
            evidence,
            (Change("Keep the stream open, or answer GET with 405 where the server has nothing to send."),),
        )
    return Finding(
        NAME,
        Verdict.WARNING,
        f"a silent stream is ended after {age}, cleanly",
        "Clients open it again after a second; what is sent meanwhile is lost. "
        + _known(known_limits(heard.age_seconds)),
        evidence,
        _changes(proxy, by_age=False),
    )


def _cut(heard: Heard, probes: Probes, proxy: Proxy | None, evidence: dict[str, Any]) -> Finding:
    age, by_age = heard.age_seconds, is_by_age(heard, probes)
    repeat = probes.repeat
    evidence["by"] = "age" if by_age else "silence or age"
    if is_unendable(probes.sooner) and probes.sooner is not None:
        # The limit is below that age: when it showed was for the server to say.
        says = f"streams are cut by their age: {duration(probes.sooner.held_seconds)} old, one brings nothing any more"
        limits = []
    else:
        limits = evidence["known_limits"] = known_limits(age, age if by_age else heard.last_silence_seconds)
        says = f"a silent stream is cut after {duration(heard.last_silence_seconds)}"
        if by_age:
            says = f"streams are cut at an age of {duration(age)}, whatever is sent on them"
    confirmed = repeat is not None and is_cut(repeat) and abs(repeat.age_seconds - age) <= _TOLERANCE * age + 0.5
    verdict = Verdict.BROKEN
    if repeat is not None and not confirmed:
        verdict = Verdict.WARNING
        second = f"was cut after {duration(repeat.age_seconds)}" if is_cut(repeat) else "lived longer"
        says = f"a stream was cut after {duration(age)}; the second one {second}"
    elif repeat is None and not limits:
        verdict = Verdict.WARNING
        says += ", as seen once"
    return Finding(NAME, verdict, says, _known(limits) + _CUT_HURTS, evidence, _changes(proxy, by_age=by_age))


def _unendable(heard: Heard, probes: Probes, proxy: Proxy | None, evidence: dict[str, Any]) -> Finding:
    again = is_unendable(probes.sooner)
    sooner = probes.sooner.held_seconds if again and probes.sooner is not None else heard.held_seconds
    return Finding(
        NAME,
        Verdict.BROKEN if again else Verdict.WARNING,
        f"a stream looks alive, and {duration(sooner)} after its request nothing comes through",
        "The connection is cut with the first thing that is written, while a new stream passes its end on: so it is a "
        f"limit on the age of an answer. {_CUT_HURTS}",
        {**evidence, "by": "age"},
        (advice(Topic.LIFETIME, proxy),),
    )


def _changes(proxy: Proxy | None, *, by_age: bool) -> tuple[Change, ...]:
    if by_age or proxy in _BY_AGE:
        return (advice(Topic.LIFETIME, proxy),)
    if proxy in _BY_SILENCE:
        return (advice(Topic.IDLE, proxy),)
    return advice(Topic.IDLE, proxy), advice(Topic.LIFETIME, proxy)


def _known(limits: Sequence[str]) -> str:
    """Limits that fit, for whoever does not know where to look; more than one may."""
    return f"By default, that is {' and '.join(limits)}. " if limits else ""


def _evidence(heard: Heard, probes: Probes) -> dict[str, Any]:
    evidence = heard.numbers()
    for name, probe in (("repeat", probes.repeat), ("sooner", probes.sooner), ("fresh", probes.fresh)):
        if probe is not None:
            evidence[f"{name}_seconds"] = round(probe.age_seconds, 2)
            evidence[f"{name}_end"] = str(probe.end) if probe.end is not None else None
    return evidence


CHECK: Final = Check(
    NAME,
    "how long does a stream live on which nothing is sent, and what ends it?",
    run,
    needs_sessions=True,
    silent_streams=frozenset({PLAIN}),
)
