"""Whether the list of tools comes, which every client asks for before it can do anything: pings may pass without it."""

from __future__ import annotations

from typing import Final

from mooring.doctor.client.protocol import challenge_of
from mooring.doctor.client.received import MOST_BYTES
from mooring.doctor.client.reply import Outcome, Reply
from mooring.doctor.client.ways import Way
from mooring.doctor.evidence.question import request_in_era, with_one_retry
from mooring.doctor.examination import Examination
from mooring.doctor.findings import Change, Finding, Verdict
from mooring.doctor.showing import Show

_SAY_NOTHING: Final = frozenset({Outcome.REACHED, Outcome.LOST, Outcome.THROTTLED, Outcome.UNSENT})


async def find_unlisted(check: str, exam: Examination) -> Finding | None:
    """The finding where a server that has tools does not list them; None where it does, or was not asked."""
    if "tools" not in exam.eras.capabilities or not exam.eras.legacy:
        return None
    headers, message = request_in_era(exam, "tools/list")
    if exam.first is not None:
        headers = exam.sessions.headers(exam.first, Way(cookies=True, one_connection=False))
    reply = await with_one_retry(lambda: exam.wire.send("POST", message=message, headers=headers))
    return judge(check, reply, exam.show)


def judge(check: str, reply: Reply, show: Show) -> Finding | None:
    """The verdict, where pings are answered."""
    if reply.outcome in _SAY_NOTHING or (reply.is_ok and len(reply.body) >= MOST_BYTES):
        return None
    evidence = {"tools_list": show(reply.label)}
    if reply.outcome is Outcome.LOGIN and challenge_of(reply.headers):
        return Finding(
            check,
            Verdict.UNKNOWN,
            f"pings are answered, and `tools/list` is not: {show(reply.label)}",
            f"The answer asks for: {show(challenge_of(reply.headers))}. A login seems to be needed for it.",
            evidence,
            (Change("Put a bearer token into an environment variable and name it: --token-env VAR; or use --header."),),
        )
    page = " The answer is a page made for people, so a proxy gave it and no MCP server." if reply.is_page else ""
    return Finding(
        check,
        Verdict.BROKEN,
        f"pings are answered, and `tools/list` is not: {show(reply.label)}",
        f"Every client asks for the tools before it can use one. So it is that request, and not the way there.{page}",
        evidence,
        (
            Change(
                "Look for what treats it in another way: a proxy or firewall that reads methods, a limit on the size "
                "of answers, or an error of the server's own, which its log has."
            ),
        ),
    )
