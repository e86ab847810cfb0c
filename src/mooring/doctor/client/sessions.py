"""The sessions that the doctor opens: never more than asked, and every one of them closed."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

import aiohttp

from mooring.doctor.client import protocol
from mooring.doctor.client.reply import MAY_PASS, Outcome, Reply
from mooring.doctor.client.session import Attempt, Session, is_result
from mooring.doctor.client.ways import HOME, Way
from mooring.doctor.client.wire import Wire

_TRIES: Final = 8
"""To reach a session's node where nothing leads there: enough for three nodes in turn, likely enough at random."""
_CLOSE_TRIES: Final = 30
_FEW_CLOSE_TRIES: Final = 4
_LOGIN_TRIES: Final = 4
"""Where one of two nodes refuses every token, so many tries find the other, mostly."""
CLOSE_SECONDS: Final = 6.0
_CLOSE_AGAIN: Final = 4
_CLOSE_AGAIN_SECONDS: Final = 1.0
_PASSING: Final = MAY_PASS | {Outcome.THROTTLED}
"""What may be over in a moment: a limit on the rate of requests, a node that restarts. A DELETE is sent again then."""


class Sessions:
    """Opens sessions up to a limit, sends within them, closes them.

    Attributes:
        opened: those that are open now; in the order of opening, until `Examination.open_sessions` sorts them by their
            version. `close` takes one out.
        attempts: every `initialize` of ours, in the order in which they were answered.
        refused: replies to `initialize` that gave no result.
        sessionless: replies that gave a result and no session id: the server works without, or it was lost on the way.
        loses_none: no call has ever missed its session, so that a 404 means that it is gone.
        reaches_none: every call has missed it, so that few tries are enough to see that none can be closed.
        unseen: sessions that the server has opened, and whose id never came; set by whoever finds that out.
    """

    def __init__(self, wire: Wire, limit: int) -> None:
        self._wire = wire
        self._limit = limit
        self._unanswered = 0  # `initialize` that went out and has no whole answer: each may have opened a session
        self._asked: set[str] = set()  # the ids that came for an `initialize` of ours; the server minted all others
        self._closed: set[str] = set()  # the ids whose DELETE was answered
        self._unclosed: dict[str, str] = {}  # what the last DELETE of the others met, in a few words
        self._closing: list[Session] = []  # what `close` was asked for, so that `close_all` tries again where it failed
        self._opening: set[asyncio.Task[Session | None]] = set()  # `close_all` waits for them
        self.opened: list[Session] = []
        self.attempts: list[Attempt] = []
        self.unseen = 0
        self.loses_none = False
        self.reaches_none = False
        self.refused: list[Reply] = []
        self.sessionless: list[Reply] = []

    @property
    def room(self) -> int:
        """How many more may be opened; what the server opened unasked counts, or may have opened without an answer."""
        return self._limit - self.count - self._unanswered

    @property
    def count(self) -> int:
        """How many were opened in all."""
        return len(self._wire.minted) + self.unseen

    @property
    def closed(self) -> int:
        """How many of them were closed."""
        return len(self._closed)

    @property
    def left(self) -> int:
        """How many were not, or not yet."""
        return len(self._wire.minted - self._closed) + self.unseen

    @property
    def why_left(self) -> str:
        """Why they were not, in a few words; empty where nothing is known of it."""
        if self.unseen:
            return "their ids never came"
        if self.reaches_none:
            return "no request reaches them"
        if self._wire.is_halted:
            return "their id does not reach the server"
        met = Counter(reply for session_id, reply in self._unclosed.items() if session_id not in self._closed)
        return met.most_common(1)[0][0] if met else "there was no time to"

    async def open(self, version: str = protocol.LEGACY_VERSIONS[0], *, token: int = 0) -> Session | None:
        """A new session, or None where the server gave none or there is no room.

        Goes on when the caller is cancelled: a session whose id nobody has read could not be closed.
        """
        if self.room <= 0:
            return None
        task = asyncio.create_task(self._open(version, token))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)
        return await asyncio.shield(task)

    async def _open(self, version: str, token: int) -> Session | None:
        lane = self._wire.lane()
        self._unanswered += 1
        reply = await self._wire.send("POST", message=protocol.initialize(1, version), lane=lane, token=token)
        if reply.trouble is None:
            self._unanswered -= 1
        result = (reply.message or {}).get("result")
        session_id = reply.headers.get(protocol.SESSION)
        if not is_result(reply) or not isinstance(result, dict):
            self.attempts.append(Attempt(reply, version))
            self.refused.append(reply)
            return None
        if session_id is None:
            self.attempts.append(Attempt(reply, version))
            self.sessionless.append(reply)
            return None
        jar = aiohttp.CookieJar(unsafe=True)  # a name is an address in many a test
        session = Session(
            session_id, reply, str(result.get("protocolVersion", "")), _mapping(result.get("serverInfo")), lane, jar
        )
        _keep_cookies(session, reply, self._wire)
        self._asked.add(session.id)
        self.opened.append(session)
        self.attempts.append(Attempt(reply, version, session))
        failed = 0
        for attempt in range(_TRIES):
            way = HOME if attempt == 0 else Way(cookies=True, one_connection=False)
            accepted = await self.send(session, way, protocol.INITIALIZED, token=token)
            session.initialized.append(accepted)
            failed += accepted.outcome in MAY_PASS
            if accepted.is_ok or (accepted.outcome is not Outcome.LOST and failed != 1):
                break  # any request may fail once
        return session

    def forget_attempts(self) -> None:
        """What was asked of another URL says nothing of this one."""
        self.attempts.clear()
        self.refused.clear()

    @property
    def openings(self) -> list[Attempt]:
        """Every `initialize`, with those that were refused for the rate and sent again."""
        refusals = [one.reply for one in self._wire.pace.refusals if one.is_opening]
        kept = {id(attempt.reply) for attempt in self.attempts}
        again = [Attempt(reply, "") for reply in refusals if id(reply) not in kept]
        return sorted((*self.attempts, *again), key=lambda attempt: attempt.reply.at_seconds)

    def headers(self, session: Session, way: Way) -> dict[str, str]:
        """What a request of that session carries on that way."""
        given = {protocol.SESSION: session.id, protocol.VERSION: session.version}
        return given | (session.cookies(self._wire.url) if way.cookies else {})

    async def send(
        self,
        session: Session,
        way: Way,
        message: Mapping[str, Any] | None = None,
        *,
        method: str = "POST",
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        token: int | None = 0,
        timeout_seconds: float | None = None,
    ) -> Reply:
        """One request within the session."""
        reply = await self._wire.send(
            method,
            message=message,
            data=data,
            headers={**self.headers(session, way), **(headers or {})},
            lane=session.lane if way.one_connection else None,
            token=token,
            timeout_seconds=timeout_seconds,
        )
        if way.cookies:
            _keep_cookies(session, reply, self._wire)
        return reply

    async def ping(self, session: Session, way: Way, **options: Any) -> Reply:
        """A ping, which every server answers (2025-11-25, Utilities: Ping)."""
        session.last_id += 1
        return await self.send(session, way, protocol.request(session.last_id, "ping"), **options)

    async def close(self, session: Session) -> Reply:
        """DELETE it: first where it was opened, then at whatever node the load balancer chooses, until one knows it.

        Where that fails, or its caller is cancelled meanwhile, `close_all` tries again.
        """
        self.opened.remove(session)
        self._closing.append(session)
        return await self._end(session)

    async def _end(self, session: Session) -> Reply:
        reply = await self._delete(session)
        if _is_over(reply) or await self._has_ended(session, reply):
            self._closed.add(session.id)
            self._wire.ended.add(session.id)
        else:
            is_lost = reply.outcome is Outcome.LOST and not self.loses_none
            met = "met no node that knows them" if is_lost else f"was answered with {reply.status_in_words}"
            self._unclosed[session.id] = f"DELETE {met}" if reply.status else f"DELETE: {reply.status_in_words}"
        return reply

    async def _has_ended(self, session: Session, reply: Reply) -> bool:
        """Whether it has ended by itself, as that answer to DELETE says, and not only has no route for DELETE."""
        if not self.loses_none or reply.outcome is not Outcome.LOST:
            return False
        return (await self.ping(session, HOME)).outcome is not Outcome.REACHED

    async def _delete(self, session: Session) -> Reply:
        reply = Reply()
        failed = logins = 0
        for attempt in range(_FEW_CLOSE_TRIES if self.loses_none or self.reaches_none else _CLOSE_TRIES):
            way = HOME if attempt == 0 else Way(cookies=attempt % 2 == 1, one_connection=False)
            reply = await self.send(session, way, method="DELETE")
            failed += reply.outcome in MAY_PASS
            logins += reply.outcome is Outcome.LOGIN
            is_last = failed != 1 and not 0 < logins < _LOGIN_TRIES
            if _is_over(reply) or (reply.outcome is not Outcome.LOST and is_last):
                break  # any request may fail once, and one node may take no token
            if self._wire.is_halted and attempt > 0:
                break
        return reply

    async def close_all(self, seconds: float = CLOSE_SECONDS) -> None:
        """Close what is open, in at most `seconds`. What cannot be closed is counted by `left`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                if self._opening:
                    await asyncio.wait(self._opening)
                left = [session for session in (*self.opened, *self._closing) if session.id not in self._closed]
                await asyncio.gather(*(self._end_at_last(session) for session in left))
                await self._close_minted()

    async def _end_at_last(self, session: Session) -> None:
        for _ in range(_CLOSE_AGAIN):
            reply = await self._end(session)
            if reply.outcome not in _PASSING:
                break
            await asyncio.sleep(_CLOSE_AGAIN_SECONDS)

    async def _close_minted(self) -> None:
        """Sessions that the server opened without being asked for one.

        The Python SDK 1.x names one in the answer that refuses a request, and has thrown it away by then: 404.
        """
        unasked = self._wire.minted - self._asked
        if self._wire.is_halted:
            return  # a DELETE that loses its id closes nothing
        for session_id in unasked - self._closed:
            headers = {protocol.SESSION: session_id, protocol.VERSION: protocol.LEGACY_VERSIONS[0]}
            for _ in range(_TRIES):
                reply = await self._wire.send("DELETE", headers=headers)
                if reply.outcome is not Outcome.LOST:
                    break
            if _is_over(reply) or reply.outcome is Outcome.LOST:
                self._closed.add(session_id)


def _is_over(reply: Reply) -> bool:
    """Whether that answer to DELETE ends what there is to do: with 405 the server lets no client end a session, and
    does so itself (2025-11-25, Transports: Session Management)."""
    return (reply.is_ok and not reply.is_disguised and not reply.is_page) or reply.status == 405


def _keep_cookies(session: Session, reply: Reply, wire: Wire) -> None:
    values = reply.headers.getall("Set-Cookie", [])
    if values:
        session.jar.update_cookies_from_headers(values, wire.url)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
