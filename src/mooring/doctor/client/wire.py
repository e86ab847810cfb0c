"""HTTP as the doctor needs it: every cookie, connection and header is decided by the caller, and nothing raises.

A request goes over a new connection, or over a `Lane`, which is one connection kept. Redirects are shown, not
followed. What fails comes back as a `Reply` with a `Trouble`. What is refused for its rate goes out again, more slowly.

Some deployments open a new session for a call whose session id was dropped on the way. Each such call leaves one that
nobody can close, so after a few of them nothing more is sent: the wire is halted.
"""

from __future__ import annotations

import asyncio
import dataclasses
import enum
import json
import math
import time
from collections.abc import AsyncIterator, Mapping
from types import MappingProxyType, TracebackType
from typing import Any, Final, Self

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from mooring.doctor.client.lanes import Lane, Lanes, http_session
from mooring.doctor.client.pace import Pace, is_limit
from mooring.doctor.client.protocol import ACCEPT, SESSION
from mooring.doctor.client.received import Received, trouble_of
from mooring.doctor.client.reply import Outcome, Reply, Trouble
from mooring.doctor.plan import Plan

USER_AGENT: Final = "mooring-doctor"
_MOST_STRAYS: Final = 3
"""So many sessions that calls have opened, and no more."""
_MOST_STRAY_DELETES: Final = 2
_TRIES: Final = 4
"""Of a request that is refused for the rate."""
_LOOKS: Final = 3
_MOST_LOOK_SECONDS: Final = 5.0

Headers = Mapping[str, str] | list[tuple[str, str]]
NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})


class Carried(enum.Enum):
    """What a request carried, when a session was opened for it that nobody had asked for."""

    KNOWN = enum.auto()
    """The id of a session that is open: somebody dropped it on the way, or the server does not heed it."""
    INVENTED = enum.auto()
    NOTHING = enum.auto()


class Wire:
    """The way to one deployment.

    Attributes:
        url: the MCP endpoint; the first contact changes it where that redirects.
        requests: how many were sent. Whoever sends one past the wire counts it here.
        minted: the session ids that came back for requests that carried none: every session that was opened.
        ended: those of them that were closed, so that they are as unknown as any other.
        strays: those of them that nobody asked for, by what the request carried.
        arrived: how many requests with the id of a session were answered in it.
        pace: how fast requests go out.
        looks_lost: how an unknown session is answered where that is no 404, as when a proxy puts a page of its own in
            its place; an answer that looks so is one of a node that does not know the session.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.url = plan.url
        self.requests = 0
        self.minted: set[str] = set()
        self.ended: set[str] = set()
        self.strays: dict[Carried, set[str]] = {carried: set() for carried in Carried}
        self.arrived = 0
        self._by_delete = 0  # strays for a DELETE of a session: one more closes nothing
        self.pace = Pace()
        self.looks_lost: frozenset[tuple[str, str, str]] = frozenset()
        self._began = time.monotonic()
        self._lanes = Lanes()
        self._fresh = http_session(aiohttp.TCPConnector(limit=0, force_close=True))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.gather(self._fresh.close(), self._lanes.close())

    @property
    def is_halted(self) -> bool:
        """Calls within sessions open new ones here, so none is sent any more; what closes some is."""
        return len(self.strays[Carried.KNOWN]) >= self._most_strays

    @property
    def _most_strays(self) -> int:
        return max(1, min(_MOST_STRAYS, self._plan.sessions - 1))

    def _has_opened_enough(self, carried: Carried) -> bool:
        strays = len(self.strays[carried])
        is_full = strays > 0 and len(self.minted) >= self._plan.sessions
        return is_full or strays >= self._most_strays

    def _would_open(self, method: str, given: CIMultiDict[str]) -> bool:
        """Whether requests of that kind have opened so many sessions that no more are risked."""
        carried = self._carried(given)
        if method == "DELETE" and carried is Carried.KNOWN:
            return self._by_delete >= _MOST_STRAY_DELETES
        return (carried is Carried.KNOWN and self.is_halted) or self._has_opened_enough(carried)

    def _carried(self, given: CIMultiDict[str]) -> Carried:
        ids = given.getall(SESSION, [])
        if not ids:
            return Carried.NOTHING
        return Carried.KNOWN if self.minted - self.ended >= set(ids) else Carried.INVENTED

    def lane(self) -> Lane:
        """A new kept connection, closed with the wire."""
        return self._lanes.new()

    @property
    def most_connections(self) -> int:
        """About how many connections are served at a time, where more were left waiting; 0 where none was, as far as
        was seen."""
        return self._lanes.most_served

    async def send(
        self,
        method: str,
        *,
        message: Mapping[str, Any] | None = None,
        data: bytes | AsyncIterator[bytes] | None = None,
        headers: Headers = NO_HEADERS,
        lane: Lane | None = None,
        url: URL | None = None,
        token: int | None = 0,
        timeout_seconds: float | None = None,
    ) -> Reply:
        """Send one request and read its whole answer.

        Args:
            message: the JSON-RPC message for the body; `data` for any other body, or for the message in pieces.
            headers: beyond the operator's own and what MCP demands; a list may name one twice.
            lane: the connection to use; a new one where None.
            url: by default the MCP endpoint.
            token: which of the operator's bearer tokens; None for none of them.
        """
        is_opening = message is not None and message.get("method") == "initialize"
        given = self._headers(headers, token, url)
        if not is_opening and url in (None, self.url) and self._would_open(method, given):
            return Reply(trouble=Trouble.NOT_SENT)
        for attempt in range(_TRIES):
            async with self.pace.turn(is_opening=is_opening) as stage:
                reply = await self._send(
                    method, message, data, given, lane, url or self.url, timeout_seconds or self._plan.timeout_seconds
                )
            if reply.outcome is Outcome.HANG and await self._has_room_now(method, message, data):
                reply = await self._send(
                    method, message, data, given, lane, url or self.url, timeout_seconds or self._plan.timeout_seconds
                )
                self._lanes.note_room(is_answered=reply.outcome is not Outcome.HANG)
            if self._carried(given) is Carried.INVENTED and not is_limit(reply):
                break  # what refuses that has nothing to do with the pace
            again = self.pace.is_to_be_sent_again(reply, stage, is_opening=is_opening)
            # A body that is given piece by piece is gone once it was sent.
            if not again or attempt == _TRIES - 1 or not isinstance(data, bytes | None):
                break
            await self._lanes.rest()
        return reply

    async def _has_room_now(
        self, method: str, message: Mapping[str, Any] | None, data: bytes | AsyncIterator[bytes] | None
    ) -> bool:
        """Whether what went unanswered is to be sent once more, since there are fewer connections now."""
        is_safe = method != "DELETE" and (message is None or message.get("method") != "tools/call")
        may_go_again = is_safe and isinstance(data, bytes | None)
        return may_go_again and await self._lanes.make_room(self._serves_new_connections)

    async def _serves_new_connections(self) -> bool:
        """Whether any of some requests that ask for nothing is answered, each on a connection of its own: in turn they
        meet other nodes than the one that may hang."""
        seconds = min(self._plan.timeout_seconds, _MOST_LOOK_SECONDS)
        heads = (self._send("HEAD", None, None, self._headers({}, 0), None, self.url, seconds) for _ in range(_LOOKS))
        return any(reply.outcome is not Outcome.HANG for reply in await asyncio.gather(*heads))

    async def _send(
        self,
        method: str,
        message: Mapping[str, Any] | None,
        data: bytes | AsyncIterator[bytes] | None,
        given: CIMultiDict[str],
        lane: Lane | None,
        url: URL,
        seconds: float,
    ) -> Reply:
        started = time.monotonic()
        request_id = message.get("id") if message is not None else None
        body = json.dumps(message).encode() if message is not None and data is None else data
        received = Received()
        self.requests += 1
        if lane is not None:
            lane.is_busy = True
        try:
            http = self._fresh if lane is None else lane.http
            async with (
                asyncio.timeout(seconds),
                http.request(method, url, data=body, headers=given, allow_redirects=False) as response,
            ):
                received.first_byte_seconds = time.monotonic() - started
                received.status, received.headers = response.status, CIMultiDict(response.headers)
                await received.read(response, request_id)
        except Exception as error:
            received.trouble, received.detail = trouble_of(error), str(error)
        finally:
            if lane is not None:
                await self._lanes.let_go(lane, is_slow=self.pace.is_slow or self.pace.opens_slowly)
        is_opening = message is not None and message.get("method") == "initialize"
        self._note_session(method, given, received.headers, is_opening=is_opening)
        reply = received.reply(request_id, time.monotonic() - started, started - self._began)
        reply = dataclasses.replace(reply, asked_in=tuple(given.getall(SESSION, [])))
        self.arrived += self._carried(given) is Carried.KNOWN and reply.outcome is Outcome.REACHED
        return self.seen_through(reply) if SESSION in given else reply

    def seen_through(self, reply: Reply) -> Reply:
        """The same, known as one of a node that does not know the session, where it looks so here."""
        is_disguised = bool(self.looks_lost) and reply.look in self.looks_lost
        return dataclasses.replace(reply, is_disguised=True) if is_disguised else reply

    async def open(
        self,
        method: str,
        *,
        headers: Headers = NO_HEADERS,
        message: Mapping[str, Any] | None = None,
        url: URL | None = None,
        timeout_seconds: float | None = None,
    ) -> aiohttp.ClientResponse:
        """The answer's head alone, its body still to be read, over a new connection; the caller closes it.

        Args:
            timeout_seconds: for the head; by default the plan's, infinity for as long as the caller likes.

        Raises:
            aiohttp.ClientError, TimeoutError, OSError: no answer began.
        """
        given = self._headers(headers, 0, url)
        if url in (None, self.url) and self._would_open(method, given):
            raise aiohttp.ClientError(str(Trouble.NOT_SENT))
        body = None if message is None else json.dumps(message).encode()
        seconds = timeout_seconds or self._plan.timeout_seconds
        for attempt in range(_TRIES):
            async with self.pace.turn() as stage, asyncio.timeout(None if seconds == math.inf else seconds):
                self.requests += 1
                response = await self._fresh.request(
                    method, url or self.url, data=body, headers=given, allow_redirects=False
                )
            self._note_session(method, given, response.headers, is_opening=False)
            head = Reply(status=response.status, headers=response.headers)
            # A 503 that is no limit is an answer, and who holds a stream in silence wants to know when it came.
            if not is_limit(head) or not self.pace.is_to_be_sent_again(head, stage) or attempt == _TRIES - 1:
                break
            response.close()
        return response

    def _headers(self, headers: Headers, token: int | None, url: URL | None = None) -> CIMultiDict[str]:
        given = CIMultiDict({**ACCEPT, "Accept-Encoding": "identity", "User-Agent": USER_AGENT})
        if url is None or url.origin() == self.url.origin():  # they are for the endpoint, and may be secret
            given.update(self._plan.headers)
        if token is not None and token < len(self._plan.tokens):
            given["Authorization"] = f"Bearer {self._plan.tokens[token]}"
        if isinstance(headers, list):
            for name, _ in headers:
                given.popall(name, None)
            given.extend(headers)
        else:
            given.update(headers)
        return given

    def _note_session(
        self, method: str, sent: CIMultiDict[str], received: Mapping[str, str], *, is_opening: bool
    ) -> None:
        """Some servers open a session for any request that names none that they know, even for one that they refuse."""
        if SESSION not in received or received[SESSION] in sent.getall(SESSION, []):
            return
        carried = self._carried(sent)
        self.minted.add(received[SESSION])
        if not is_opening:
            self.strays[carried].add(received[SESSION])
            self._by_delete += method == "DELETE" and carried is Carried.KNOWN
