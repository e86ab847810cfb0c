"""The first contact: is there an MCP endpoint at that URL, and what does it speak?

What answers is one of these; only the first two let the examination go on.

    a session, or a result without one, or a modern answer    examined; where another try was refused, that is told
    a redirect to the same place, as the server sees it       followed once at the origin that was typed, and told
    a redirect elsewhere, a login, no MCP, TLS, no            cannot be reached: one verdict, and what to do
    connection, no answer in time
"""

from __future__ import annotations

from typing import Any, Final

from mooring.doctor.checks.endpoint import cannot_examine, old_transport
from mooring.doctor.checks.redirects import redirected, redirected_away, redirected_to_no_mcp
from mooring.doctor.client import protocol
from mooring.doctor.client.reply import Outcome, Reply, Trouble
from mooring.doctor.client.session import Session
from mooring.doctor.evidence.lost_id import find_lost_id, note_lost_id
from mooring.doctor.evidence.old_transport import find_old_transport
from mooring.doctor.evidence.openings import try_calls
from mooring.doctor.evidence.redirects import redirect_of
from mooring.doctor.examination import Examination
from mooring.doctor.findings import Finding, Verdict

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_MORE_TRIES: Final = 3
"""Where a node gives out no session, another one might."""
_TRIES: Final = 6
"""Where one refuses: of three nodes in turn each is met twice."""
_LONG_SECONDS: Final = 0.7
_ENOUGH_ROOM: Final = 8
"""An older server may open a session for each asking."""
_DECISIVE: Final = frozenset({Trouble.NAME, Trouble.TLS, Trouble.REFUSED, Trouble.NO_WAY, Trouble.NOT_HTTP})
"""What another try will not change."""


async def make_contact(exam: Examination) -> tuple[Finding | None, bool]:
    """Open the first session and ask for the modern era; fills `exam.eras`.

    Returns:
        What there is to say, if anything, and whether the examination can go on.
    """
    exam.listener.step("first contact")
    found = None
    first = await _initialize(exam)
    if first is not None and first.status in _REDIRECTS:
        leads = redirect_of(exam.wire.url, first.headers.get("Location", ""))
        if leads.repaired is None:
            return redirected_away(exam, first, leads), False
        found = redirected(exam, first, leads)
        exam.wire.url = leads.repaired
        exam.sessions.forget_attempts()
        again = await _initialize(exam)
        if again is not None and again.status in _REDIRECTS:
            return redirected_away(exam, again, redirect_of(exam.wire.url, again.headers.get("Location", ""))), False
        first = again
    if (first is None or first.trouble is None) and not exam.no_calls:
        await _discover(exam)
    if first is None or exam.eras.modern:
        return found, True
    is_elsewhere = exam.wire.url.path.rstrip("/") != exam.plan.url.path.rstrip("/")
    if found is not None and is_elsewhere and not found.evidence["lost"] and first.trouble is None:
        return redirected_to_no_mcp(exam, first), False
    if found is not None and found.verdict is Verdict.BROKEN:
        return found, False  # what a redirect has lost, the server misses as well
    if first.status in (400, 404, 405) and (path := await find_old_transport(exam)) is not None:
        return old_transport(exam, first, path), False
    return cannot_examine(exam, first), False


async def _initialize(exam: Examination) -> Reply | None:
    """None where the server took `initialize`, with or without a session; else its reply."""
    session = await _open(exam)
    if session is not None:
        _note(exam, session.opened, gives_sessions=True)
        await try_calls(exam, session)
    elif exam.sessions.sessionless:
        _note(exam, exam.sessions.sessionless[-1], gives_sessions=False)
        if exam.eras.id_is_lost:
            note_lost_id(exam)
    else:
        return exam.sessions.refused[-1]
    return None


async def _open(exam: Examination) -> Session | None:
    """A session of any node that gives out one."""
    sessions = exam.sessions
    session = await sessions.open()
    if sessions.sessionless:
        _note(exam, sessions.sessionless[-1], gives_sessions=False)
        await find_lost_id(exam)
        if exam.eras.id_is_lost:
            return session or await sessions.open()  # another id shows which header it came in
    for tried in range(1, _TRIES):
        if session is not None or tried > _MORE_TRIES + len(sessions.refused):
            break
        if not sessions.sessionless and not _may_differ(sessions.refused[-1], tried):
            break
        session = await sessions.open()
    return session


def _may_differ(reply: Reply, tried: int) -> bool:
    """Whether another node, or another try, might do better."""
    if reply.trouble in _DECISIVE or reply.status in _REDIRECTS:
        return False
    return tried < 2 if reply.outcome is Outcome.HANG else True


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
    for _ in range(1 + _MORE_TRIES):
        reply = exam.eras.discovered = await exam.modern("server/discover")
        exam.eras.discoveries.append(reply)
        if reply.trouble is Trouble.CUT or reply.outcome is Outcome.UNAVAILABLE:
            exam.note(reply)
            continue
        is_slow = reply.seconds > _LONG_SECONDS
        asked = len(exam.eras.discoveries)
        if "result" in (reply.message or {}) or asked > 1 or is_slow or exam.sessions.room < _ENOUGH_ROOM:
            break  # of two nodes in turn, each was asked
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
