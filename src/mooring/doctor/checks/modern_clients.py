"""Whether clients work that try the modern era first, as the official Python clients do by default.

They send `server/discover`. What is modern goes on in that era; any other answer lets them fall back to `initialize`.
A connection that is cut ends their connecting.

    answers to server/discover            verdict
    all modern, or all refused            ok
    some modern, some refused             broken: the era goes by the node
    a cut                                 broken; a warning where it is one of many
    a 5xx, a redirect, a page, a hang     a warning: they do fall back, and nobody learns of the modern era
    only a limit on the rate              cannot tell
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Sequence
from typing import Final

from mooring.doctor.check import Check
from mooring.doctor.checks.cannot_tell import failing_anyway, not_asked
from mooring.doctor.client import protocol
from mooring.doctor.client.reply import Outcome, Reply
from mooring.doctor.evidence.failing_calls import telling_replies
from mooring.doctor.examination import Examination
from mooring.doctor.findings import Change, Finding, NotRun, Verdict
from mooring.doctor.showing import Show

NAME: Final = "modern-clients"
_TIMES: Final = 6


class Era(enum.Enum):
    """What such a client makes of an answer."""

    MODERN = enum.auto()
    LEGACY = enum.auto()
    NEITHER = enum.auto()
    FAILED = enum.auto()
    UNTOLD = enum.auto()


async def run(exam: Examination) -> Finding | NotRun:
    if exam.hangs:
        return not_asked(NAME, exam)
    replies = list(exam.eras.discoveries)
    if not replies:
        return NotRun("there was no session left to ask with")
    if not any(protocol.SESSION in reply.headers for reply in replies):  # else each asking may open one
        replies += [await exam.modern("server/discover") for _ in range(_TIMES - len(replies))]
    return (
        judge(telling_replies(exam, replies), exam.show)
        if telling_replies(exam, replies)
        else failing_anyway(NAME, exam)
    )


def era_of(reply: Reply) -> Era:
    """What a client on the modern default makes of that answer."""
    if reply.outcome in (Outcome.THROTTLED, Outcome.UNSENT):
        return Era.UNTOLD
    if reply.outcome is Outcome.HANG:
        return Era.FAILED
    if reply.trouble is not None:
        return Era.NEITHER
    result = (reply.message or {}).get("result")
    if isinstance(result, dict):
        versions = result.get("supportedVersions")
        is_modern = isinstance(versions, list) and any(str(one) >= protocol.MODERN_VERSION for one in versions)
        return Era.MODERN if is_modern else Era.LEGACY
    if 400 <= reply.status < 500 or protocol.error_code(reply.message) is not None:
        return Era.LEGACY
    return Era.FAILED


def judge(replies: Sequence[Reply], show: Show) -> Finding:
    eras = Counter(era_of(reply) for reply in replies)
    count = len(replies)
    evidence = {
        "asked": count,
        **{era.name.lower(): eras[era] for era in Era},
        "answers": dict(Counter(show(reply.label) for reply in replies)),
    }
    neither = [reply for reply in replies if era_of(reply) is Era.NEITHER]
    if neither:
        label = show(neither[0].label)
        return Finding(
            NAME,
            Verdict.WARNING if len(neither) == 1 and count > 2 else Verdict.BROKEN,
            f"clients that try the modern era first fail on {len(neither)} of {count} tries: {label}",
            "The official Python clients ask `server/discover` before anything else. Any answer lets them go on with "
            "`initialize`; a connection that is cut ends their connecting, though older clients work.",
            evidence,
            (
                Change(
                    "Pass such requests on like all others, and let a server that does not know them answer 400 or 404."
                ),
            ),
        )
    failed = [reply for reply in replies if era_of(reply) is Era.FAILED]
    if failed:
        return Finding(
            NAME,
            Verdict.WARNING,
            f"`server/discover` fails on {len(failed)} of {count} tries: {show(failed[0].label)}",
            "Clients that try the modern era first ask that before anything else. The official Python clients take any "
            "answer for a refusal, and go on with `initialize`, where none comes after 10 s; others may not. A 4xx is "
            "due from a server that does not know it. With this, no client uses the modern era, though the server "
            "might speak it.",
            evidence,
            (
                Change(
                    "Pass such requests on like all others, and let a server that does not know them answer 400 or 404."
                ),
            ),
        )
    logins = [reply for reply in replies if reply.status in (401, 403)]
    if eras[Era.MODERN] and logins:
        return Finding(
            NAME,
            Verdict.BROKEN,
            f"{len(logins)} of {count} modern requests are refused, and others answered: {show(logins[0].label)}",
            "A client that has met the modern era goes on in it. A node, or a proxy before one, refuses what "
            "the others take.",
            evidence,
            (Change("Compare the settings for tokens on all nodes, and the rules of what stands before each."),),
        )
    strange = [reply for reply in replies if era_of(reply) is Era.LEGACY and reply.message is None]
    if eras[Era.MODERN] and strange:
        return Finding(
            NAME,
            Verdict.BROKEN,
            f"{len(strange)} of {count} modern requests met no MCP server: {show(strange[0].label)}",
            "Others are answered in the modern era. What answers these speaks no JSON-RPC: a node that serves MCP at "
            "another path, or something else among the nodes.",
            evidence,
            (Change("Compare the nodes, and the list of them that the load balancer has for this path."),),
        )
    if eras[Era.MODERN] and eras[Era.LEGACY]:
        return Finding(
            NAME,
            Verdict.BROKEN,
            f"some nodes speak the modern era and some do not: {eras[Era.MODERN]} of {count} answers are modern",
            "A client that has met a modern node goes on in that era, and the other nodes refuse it.",
            evidence,
            (Change("Run the same version of the server on every node."),),
        )
    if not eras[Era.MODERN] and not eras[Era.LEGACY]:
        return Finding(NAME, Verdict.UNKNOWN, f"cannot tell: {show(replies[0].label)}", evidence=evidence)
    how = "are answered in it" if eras[Era.MODERN] else "are refused so that they fall back to sessions"
    return Finding(NAME, Verdict.OK, f"clients that try the modern era first {how}", evidence=evidence)


CHECK: Final = Check(NAME, "do clients work that try the modern era first?", run, is_reading=True)
