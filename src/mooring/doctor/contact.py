"""The first contact: is there an MCP endpoint at that URL, and what does it speak?

What answers is one of these; only the first lets the examination go on.

    a session, or a result without one, or a modern answer    examined
    a redirect within the origin                              followed once, as clients do, and warned of
    a redirect elsewhere, 401, 403, 421, no MCP, TLS,
    no connection, no answer in time                          cannot be reached: one verdict, and what to do
"""

from __future__ import annotations

from typing import Any, Final

from yarl import URL

from mooring.doctor.checks.endpoint import cannot_examine, old_transport, redirected, redirected_away
from mooring.doctor.client import protocol
from mooring.doctor.client.reply import Outcome, Reply, Trouble
from mooring.doctor.examination import Examination
from mooring.doctor.findings import Finding

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_OLD_TRANSPORT_SECONDS: Final = 3.0
_MORE_TRIES: Final = 3
"""Where a node gives out no session, or fails, another one might do better."""


async def make_contact(exam: Examination) -> tuple[Finding | None, bool]:
    """Open the first session and ask for the modern era; fills `exam.eras`.

    Returns:
        What there is to say, if anything, and whether the examination can go on.
    """
    exam.listener.step("first contact")
    redirect = None
    first = await _initialize(exam)
    if first is not None and first.status in _REDIRECTS:
        target = _target(exam, first)
        if target is None or target.origin() != exam.wire.url.origin() or target.path == exam.wire.url.path:
            return redirected_away(exam, first), False
        redirect = redirected(exam, first, target)
        exam.wire.url = target
        first = await _initialize(exam)
    if first is None or first.trouble is None:
        await _discover(exam)
    if first is None or exam.eras.modern:
        return redirect, True
    if first.status in (404, 405) and await _speaks_old_transport(exam):
        return old_transport(exam, first), False
    return cannot_examine(exam, first), False


async def _initialize(exam: Examination) -> Reply | None:
    """None where the server took `initialize`, with or without a session; else its reply."""
    session = await exam.sessions.open()
    for _ in range(_MORE_TRIES):
        if session is None and (exam.sessions.sessionless or _may_pass(exam.sessions.refused[-1])):
            session = await exam.sessions.open()
    if session is not None:
        _note(exam, session.opened, gives_sessions=True)
    elif exam.sessions.sessionless:
        _note(exam, exam.sessions.sessionless[-1], gives_sessions=False)
    else:
        return exam.sessions.refused[-1]
    return None


def _may_pass(reply: Reply) -> bool:
    """One node may be down, or one connection broken, where the next is not."""
    return reply.trouble is Trouble.CUT or reply.outcome is Outcome.UNAVAILABLE


def _note(exam: Examination, reply: Reply, *, gives_sessions: bool) -> None:
    result: dict[str, Any] = (reply.message or {}).get("result") or {}
    exam.eras.gives_sessions = gives_sessions
    exam.eras.legacy[protocol.LEGACY_VERSIONS[0]] = str(result.get("protocolVersion", ""))
    _note_server(exam, result, result.get("serverInfo"))


def _note_server(exam: Examination, result: dict[str, Any], server: object) -> None:
    if isinstance(server, dict):
        exam.eras.server = server
    capabilities = result.get("capabilities")
    if isinstance(capabilities, dict):
        exam.eras.capabilities = tuple(sorted(str(name) for name in capabilities))


async def _discover(exam: Examination) -> None:
    """Ask for the modern era (2026-07-28, Discovery)."""
    if exam.eras.gives_sessions and exam.sessions.room < 1:
        return
    for _ in range(_MORE_TRIES):
        reply = exam.eras.discovered = await exam.modern("server/discover")
        if not _may_pass(reply):
            break
    result = (reply.message or {}).get("result")
    if not isinstance(result, dict):
        return
    versions = result.get("supportedVersions")
    if isinstance(versions, list):
        exam.eras.modern = tuple(
            sorted((str(one) for one in versions if str(one) >= protocol.MODERN_VERSION), reverse=True)
        )
    meta = result.get("_meta")
    if not exam.eras.server and isinstance(meta, dict):
        _note_server(exam, result, meta.get("io.modelcontextprotocol/serverInfo"))


async def _speaks_old_transport(exam: Examination) -> bool:
    reply = await exam.wire.send(
        "GET", headers={"Accept": protocol.EVENT_STREAM}, timeout_seconds=_OLD_TRANSPORT_SECONDS
    )
    return reply.media_type == protocol.EVENT_STREAM and b"event: endpoint" in reply.body


def _target(exam: Examination, reply: Reply) -> URL | None:
    try:
        return exam.wire.url.join(URL(reply.headers.get("Location", "")))
    except ValueError:
        return None
