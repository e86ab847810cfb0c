"""Whether event streams are compressed, which some compressors do only once they have enough to compress.

the stream                                         verdict
is not compressed                                  ok
is compressed, and what was sent came at once      ok
  with its head only then                          warning, unless the plain one's comes late too
is compressed, and all came with its end           broken
is compressed, and nothing was sent on it          warning
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from mooring.doctor.check import Check
from mooring.doctor.checks.cannot_tell import not_asked
from mooring.doctor.checks.hops import compression_changes
from mooring.doctor.client import protocol
from mooring.doctor.client.reply import Reply
from mooring.doctor.evidence.heard import Heard
from mooring.doctor.evidence.question import request_in_era
from mooring.doctor.evidence.silent_streams import COMPRESSED, PLAIN, SilentStreams
from mooring.doctor.evidence.time_limits import duration
from mooring.doctor.evidence.timed_call import TimedCall, timed_call
from mooring.doctor.examination import Examination
from mooring.doctor.findings import Finding, NotRun, Verdict
from mooring.doctor.proxies import Proxy
from mooring.doctor.showing import Show

NAME: Final = "compression"
_HURTS: Final = (
    "Every client accepts gzip. A compressor that waits for more to compress keeps progress, logging and questions of "
    "the server until then."
)


@dataclass(frozen=True, slots=True)
class Streams:
    """
    Attributes:
        post: the answer to a POST that accepts compression.
        held: what was heard on a stream that may be compressed; None where none was held.
        plain: the same on one that may not.
        tool: the call of the operator's tool, which may be compressed; None where none is named, or streams are not.
    """

    post: Reply
    held: Heard | None = None
    plain: Heard | None = None
    tool: TimedCall | None = None


async def run(exam: Examination) -> Finding | NotRun:
    if exam.hangs:
        return not_asked(NAME, exam)
    post = await _post(exam)
    streams = exam.shared(SilentStreams)
    held = await streams.heard(COMPRESSED)
    plain = await streams.heard(PLAIN) if held is not None else None
    tool = await _call_tool(exam) if exam.plan.tool is not None and encoding_of(post) else None
    return judge(Streams(post, held, plain, tool), exam.proxy, exam.show)


async def _call_tool(exam: Examination) -> TimedCall:
    """As a client that accepts compression calls it."""
    params = {**exam.plan.tool_params, "_meta": {"progressToken": NAME}}
    headers, message = request_in_era(exam, "tools/call", params)
    meta = {**message["params"].get("_meta", {}), "progressToken": NAME}
    message = {**message, "params": {**message["params"], "_meta": meta}}
    return await timed_call(exam, {**headers, "Accept-Encoding": COMPRESSED}, message)


async def _post(exam: Examination) -> Reply:
    """Ask for what is long, where there is something: short answers are often left as they are."""
    is_long = "tools" in exam.eras.capabilities or not exam.eras.legacy
    headers, message = request_in_era(exam, "tools/list" if is_long else "ping")
    return (await timed_call(exam, {**headers, "Accept-Encoding": COMPRESSED}, message)).reply


def encoding_of(reply: Reply) -> str:
    """How that event stream is compressed; empty where it is not, or is none."""
    encoding = reply.headers.get("Content-Encoding", "").strip().lower()
    return encoding if reply.media_type == protocol.EVENT_STREAM and encoding != "identity" else ""


def judge(streams: Streams, proxy: Proxy | None, show: Show) -> Finding | NotRun:
    post, held = streams.post, streams.held
    is_held = held is not None and held.is_stream
    evidence = _evidence(streams, show)
    if not is_held and post.media_type != protocol.EVENT_STREAM:
        if post.status != 200:
            return Finding(NAME, Verdict.UNKNOWN, f"no stream was answered: {show(post.label)}", "", evidence)
        return NotRun("the server sends no event streams")
    if streams.tool is not None and streams.tool.is_burst:
        count, seconds = len(streams.tool.event_seconds), duration(streams.tool.seconds)
        says = f"compressed streams hold events back: all {count} of a call of {seconds} came at its end"
        why = f"{_HURTS} Clients that accept no compression may see nothing of it."
        return Finding(NAME, Verdict.BROKEN, says, why, evidence, compression_changes(proxy))
    if streams.tool is not None and streams.tool.passes:
        says = "event streams are compressed, and the events of a call pass at once"
        return Finding(NAME, Verdict.OK, says, evidence=evidence)
    if held is not None and encoding_of(held.reply):
        return _held(held, streams.plain, proxy, evidence)
    if encoding_of(post):
        says = f"event streams are compressed ({show(encoding_of(post))})"
        why = f"{_HURTS} Whether this one does was not seen."
        return Finding(NAME, Verdict.WARNING, says, why, evidence, compression_changes(proxy))
    return Finding(NAME, Verdict.OK, "event streams are not compressed", evidence=evidence)


def _held(heard: Heard, plain: Heard | None, proxy: Proxy | None, evidence: dict[str, Any]) -> Finding:
    changes = compression_changes(proxy)
    if heard.is_held_back:
        count, age = heard.flushed.sendings, duration(heard.held_seconds)
        says = f"compressed streams hold events back: nothing came for {age}, then {count} at once"
        return Finding(NAME, Verdict.BROKEN, says, _HURTS, evidence, changes)
    if not heard.passes:
        says = "event streams are compressed, and nothing shows whether events are held back"
        why = f"{_HURTS} The server sent nothing on the stream that was held, so this was not seen."
        return Finding(NAME, Verdict.WARNING, says, why, evidence, changes)
    if heard.is_head_late and plain is not None and not plain.is_head_late:
        says = f"compression holds the head of a stream back: it came after {duration(heard.head_seconds or 0.0)}"
        why = (
            "Without compression it comes at once. Until something is sent, a client does not know whether its stream "
            "is open; what is sent then does come through."
        )
        return Finding(NAME, Verdict.WARNING, says, why, evidence, changes)
    says = f"event streams are compressed, and events pass at once: {heard.early.sendings} came while one was open"
    return Finding(NAME, Verdict.OK, says, evidence=evidence)


def _evidence(streams: Streams, show: Show) -> dict[str, Any]:
    post = streams.post
    evidence: dict[str, Any] = {
        "post_media_type": show(post.media_type),
        "post_encoding": show(post.headers.get("Content-Encoding", "")),
    }
    if streams.held is not None:
        encoding = show(streams.held.reply.headers.get("Content-Encoding", ""))
        evidence["held_stream"] = {"encoding": encoding, **streams.held.numbers()}
    return evidence


CHECK: Final = Check(
    NAME,
    "are event streams compressed, and held back by it?",
    run,
    is_reading=True,
    silent_streams=frozenset({COMPRESSED}),
)
