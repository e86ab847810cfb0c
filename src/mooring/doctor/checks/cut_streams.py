"""The verdict on a stream that is cut: by its silence, or by its age."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from mooring.doctor.advice import Topic, advice
from mooring.doctor.evidence.heard import Heard
from mooring.doctor.evidence.stream_probes import Probes, is_by_age, is_cut, is_unendable
from mooring.doctor.evidence.time_limits import duration, known_limits, limit_of
from mooring.doctor.findings import Change, Finding, Verdict
from mooring.doctor.proxies import Proxy

_TOLERANCE: Final = 0.2
_BY_SILENCE: Final = frozenset({Proxy.NGINX, Proxy.HAPROXY, Proxy.ALB, Proxy.CLOUDFLARE})
_BY_AGE: Final = frozenset({Proxy.TRAEFIK, Proxy.GCLB})
CUT_HURTS: Final = (
    "With the Python SDK two abrupt drops in a session end its standalone stream for good, without a word: no "
    "notification arrives any more. The TypeScript SDK opens it again each time, and misses what is sent meanwhile. "
    "A tool call that says nothing for so long is cut as well: without event ids its answer is lost, and the Python "
    "SDK 1.x waits for it for ever."
)


def judge_cut(check: str, heard: Heard, probes: Probes, proxy: Proxy | None, evidence: dict[str, Any]) -> Finding:
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
    why = by_default(limits) + _beside_default(proxy, heard.last_silence_seconds) + CUT_HURTS
    return Finding(check, verdict, says, why, evidence, changes_for(proxy, by_age=by_age))


def _beside_default(proxy: Proxy | None, seconds: float) -> str:
    """Whoever meets clients is not always the one who cuts."""
    limit = limit_of(proxy)
    if proxy is None or limit is None or abs(limit[0] - seconds) <= _TOLERANCE * limit[0]:
        return ""
    return f"It is not {proxy}'s default of {limit[0]:g} s: it was set there, or something behind {proxy} has it. "


def judge_unendable(check: str, heard: Heard, probes: Probes, proxy: Proxy | None, evidence: dict[str, Any]) -> Finding:
    again = is_unendable(probes.sooner)
    sooner = probes.sooner.held_seconds if again and probes.sooner is not None else heard.held_seconds
    return Finding(
        check,
        Verdict.BROKEN if again else Verdict.WARNING,
        f"a stream looks alive, and {duration(sooner)} after its request nothing comes through",
        "The connection is cut with the first thing that is written, while a new stream passes its end on: so it is a "
        f"limit on the age of an answer. {CUT_HURTS}",
        {**evidence, "by": "age"},
        (advice(Topic.LIFETIME, proxy),),
    )


def changes_for(proxy: Proxy | None, *, by_age: bool) -> tuple[Change, ...]:
    if by_age or proxy in _BY_AGE:
        return (advice(Topic.LIFETIME, proxy),)
    if proxy in _BY_SILENCE:
        return (advice(Topic.IDLE, proxy),)
    return advice(Topic.IDLE, proxy), advice(Topic.LIFETIME, proxy)


def by_default(limits: Sequence[str]) -> str:
    """Limits that fit, for whoever does not know where to look; more than one may."""
    return f"By default, that is {' and '.join(limits)}. " if limits else ""
