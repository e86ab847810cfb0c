"""Whether a stream that was cut can be taken up again, over another connection (2025-11-25, Transports: Resumability).

A ping's stream gives its first event id away; with that a GET has to bring everything that came after it.

    ids    the GET with Last-Event-ID              verdict
    none   not sent                                ok: a server need not offer it
    some   brings the answer                       ok
           brings other answers                    broken
           405, another error, or no event stream  broken: clients were told that they may come back
           nothing                                 warning: the server may keep no stream that is complete
           404 where calls miss their node too     cannot tell
           a failure where other calls fail too    cannot tell
    on the answer alone: nothing comes after it, so only whether the GET is taken is seen
"""

from __future__ import annotations

from typing import Any, Final

from mooring.doctor.check import Check
from mooring.doctor.checks.cannot_tell import failing_anyway, not_asked, throttled
from mooring.doctor.client import protocol
from mooring.doctor.client.held_stream import is_lost
from mooring.doctor.client.reply import Outcome, Reply
from mooring.doctor.evidence.failing_calls import telling_replies
from mooring.doctor.evidence.resumed_stream import REPLAY_SECONDS, Asked, Resumed, ask, resume
from mooring.doctor.evidence.time_limits import duration
from mooring.doctor.examination import Examination
from mooring.doctor.findings import Change, Finding, NotRun, Verdict
from mooring.doctor.proxies import Proxy
from mooring.doctor.showing import Show

NAME: Final = "resumption"
_NOT_OFFERED: Final = (
    "The protocol leaves it to the server. Where a connection breaks during a call, its answer is lost: the Python SDK "
    "1.x waits for ever, the TypeScript SDK for 60 s, the Python SDK 2.x has an error at once."
)
_PROMISED: Final = (
    "An event with an id tells clients that they may come back for what they miss. They try it, twice in the SDKs, and "
    "then the answer is lost: the Python SDK 1.x waits for ever."
)


async def run(exam: Examination) -> Finding | NotRun:
    if exam.hangs:
        return not_asked(NAME, exam)
    session = exam.first
    if session is None:
        return NotRun("no session could be opened")
    asked = await ask(exam, session)
    resumed = await resume(exam, asked) if asked.facts.ids else None
    if resumed is not None and not telling_replies(exam, [resumed.reply], but_logins=True):
        return failing_anyway(NAME, exam, _evidence(asked, resumed, exam.show))
    return judge(asked, resumed, exam.proxy, exam.show)


def judge(asked: Asked, resumed: Resumed | None, proxy: Proxy | None, show: Show) -> Finding | NotRun:
    evidence = _evidence(asked, resumed, show)
    if asked.reply.status != 200 or asked.reply.trouble is not None:
        return Finding(NAME, Verdict.UNKNOWN, f"the ping was not answered: {show(asked.reply.label)}", "", evidence)
    if asked.reply.media_type != protocol.EVENT_STREAM:
        return NotRun("calls are answered without streams, so that none can be cut")
    if resumed is None:
        return Finding(NAME, Verdict.OK, "not offered: streams carry no event ids", _NOT_OFFERED, evidence)
    reply = resumed.reply
    if resumed.may_be_lost and is_lost(reply):
        says = f"cannot tell: no node that was asked for the rest knew the session ({show(reply.label)})"
        return Finding(NAME, Verdict.UNKNOWN, says, "See the check `affinity`.", evidence)
    if reply.outcome is Outcome.THROTTLED:
        return throttled(NAME, evidence)
    if reply.status != 200 or reply.media_type != protocol.EVENT_STREAM:
        return _failed(asked, reply, evidence, show)
    others = [one for one in resumed.answers if one != asked.request_id]
    if others or len(resumed.answers) > 1:
        return _mixed(len(others), evidence)
    return _taken_up(asked, resumed, evidence)


def _taken_up(asked: Asked, resumed: Resumed, evidence: dict[str, Any]) -> Finding:
    retry = asked.facts.retry_milliseconds
    when = f"; clients return after {duration(retry / 1000)}" if retry is not None else ""
    if resumed.answers:
        why = "" if retry is not None else "No `retry:` says when to return: after a second, in the SDKs."
        return Finding(NAME, Verdict.OK, f"a stream is taken up on another connection{when}", why, evidence)
    if not asked.facts.is_primed:
        return Finding(
            NAME,
            Verdict.OK,
            f"event ids are given with the first message, and a GET with one is taken{when}",
            "Before that message a stream that is cut cannot be taken up: it does not begin with a priming event, as "
            f"revisions from 2025-11-25 on want it to; {asked.version} is spoken here.",
            evidence,
        )
    return Finding(
        NAME,
        Verdict.WARNING,
        f"the answer does not come again: to its stream's first event id nothing came in {duration(REPLAY_SECONDS)}",
        "The server may keep no stream that it takes for complete. But where a connection broke with the answer on its "
        f"way, the client still waits for it. {_PROMISED}",
        evidence,
        (
            Change(
                "Keep the events of a stream for some time after its answer was written, and see that a proxy does not "
                "hold them back: the check `buffering`."
            ),
        ),
    )


def _failed(asked: Asked, reply: Reply, evidence: dict[str, Any], show: Show) -> Finding:
    if reply.trouble is not None or reply.status == 0:
        says = f"event ids are given, and a GET with one fails: {show(reply.label)}"
    elif reply.is_ok:
        says = f"event ids are given, and a GET with one brings no events but {show(reply.media_type) or 'nothing'}"
    else:
        says = f"event ids are given, and a GET with one is refused: {show(reply.label)}"
    why = _PROMISED
    if reply.status in (400, 404):
        why += f" Some take a {reply.status} for the end of their session as well."
    return Finding(
        NAME,
        Verdict.BROKEN,
        says,
        why,
        evidence,
        (
            Change(
                "Give event ids only where the server can go on from them: from a store of events that every node "
                "reads, or on the node that holds the session. Pass GET and Last-Event-ID on to the server."
            ),
        ),
    )


def _mixed(others: int, evidence: dict[str, Any]) -> Finding:
    what = f"{others} answers that were not asked for" if others else "the answer more than once"
    return Finding(
        NAME,
        Verdict.BROKEN,
        f"a stream that is taken up brings {what}",
        "Only what came later on that same stream may be sent again. An event store that does not tell streams apart "
        "gives a client all later answers of its session once more; one that all sessions share, and that knows a "
        "stream by its request id alone, gives it what belongs to another client.",
        evidence,
        (Change("Key the events that are kept by session and stream, not by the request id."),),
    )


def _evidence(asked: Asked, resumed: Resumed | None, show: Show) -> dict[str, Any]:
    facts = asked.facts
    evidence: dict[str, Any] = {
        "version": asked.version,
        "media_type": show(asked.reply.media_type),
        "event_ids": len(facts.ids),
        "primed": facts.is_primed,
        "retry_milliseconds": facts.retry_milliseconds,
    }
    if resumed is not None:
        evidence["status"] = resumed.reply.status
        evidence["answers"] = len(resumed.answers)
        evidence["answered_seconds"] = round(resumed.seconds, 3)
    return evidence


CHECK: Final = Check(NAME, "can a stream that was cut be taken up again?", run, needs_sessions=True)
