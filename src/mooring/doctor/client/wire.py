"""HTTP as the doctor needs it: every cookie, connection and header is decided by the caller, and nothing raises.

A request goes over a new connection, or over a `Lane`, which is one connection kept. Redirects are shown, not
followed. What fails comes back as a `Reply` with a `Trouble`.
"""

from __future__ import annotations

import asyncio
import json
import math
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType, TracebackType
from typing import Any, Final, Self

import aiohttp
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from mooring.doctor.client.protocol import ACCEPT, EVENT_STREAM, SESSION, answer
from mooring.doctor.client.reply import Reply, Trouble
from mooring.doctor.plan import Plan

MOST_BYTES: Final = 4 * 1024 * 1024
"""Of one answer; what is longer is read no further."""
END_SECONDS: Final = 0.5
"""How long a stream is given to end once it has brought the answer."""
USER_AGENT: Final = "mooring-doctor"

Headers = Mapping[str, str] | list[tuple[str, str]]
NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})


class Lane:
    """One connection, kept open between requests; a new one where the other side has closed it."""

    def __init__(self) -> None:
        self.http = _http(aiohttp.TCPConnector(limit=1, keepalive_timeout=60.0))


class Wire:
    """The way to one deployment.

    Attributes:
        url: the MCP endpoint; the first contact changes it where that redirects.
        requests: how many were sent. Whoever sends one past the wire counts it here.
        minted: the session ids that came back for requests that carried none: every session that was opened.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.url = plan.url
        self.requests = 0
        self.minted: set[str] = set()
        self._lanes: list[Lane] = []  # closed with the wire
        self._fresh = _http(aiohttp.TCPConnector(limit=0, force_close=True))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.gather(self._fresh.close(), *(lane.http.close() for lane in self._lanes))

    def lane(self) -> Lane:
        """A new kept connection, closed with the wire."""
        lane = Lane()
        self._lanes.append(lane)
        return lane

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
        started = time.monotonic()
        given = self._headers(headers, token, url)
        request_id = message.get("id") if message is not None else None
        body = json.dumps(message).encode() if message is not None and data is None else data
        http = self._fresh if lane is None else lane.http
        received = _Received()
        self.requests += 1
        try:
            async with (
                asyncio.timeout(timeout_seconds or self._plan.timeout_seconds),
                http.request(method, url or self.url, data=body, headers=given, allow_redirects=False) as response,
            ):
                received.first_byte_seconds = time.monotonic() - started
                received.status, received.headers = response.status, CIMultiDict(response.headers)
                await _read(response, received.body, request_id)
        except Exception as error:
            received.trouble, received.detail = trouble_of(error), str(error)
        self._note_session(given, received.headers)
        return received.reply(request_id, time.monotonic() - started)

    async def open(
        self,
        method: str,
        *,
        headers: Headers = NO_HEADERS,
        message: Mapping[str, Any] | None = None,
        timeout_seconds: float | None = None,
    ) -> aiohttp.ClientResponse:
        """The answer's head alone, its body still to be read, over a new connection; the caller closes it.

        Args:
            timeout_seconds: for the head; by default the plan's, infinity for as long as the caller likes.

        Raises:
            aiohttp.ClientError, TimeoutError, OSError: no answer began.
        """
        self.requests += 1
        given = self._headers(headers, 0)
        body = None if message is None else json.dumps(message).encode()
        seconds = timeout_seconds or self._plan.timeout_seconds
        async with asyncio.timeout(None if seconds == math.inf else seconds):
            response = await self._fresh.request(method, self.url, data=body, headers=given, allow_redirects=False)
        self._note_session(given, response.headers)
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

    def _note_session(self, sent: CIMultiDict[str], received: Mapping[str, str]) -> None:
        """Some servers open a session for any request that names none that they know, even for one that they refuse."""
        if SESSION in received and received[SESSION] not in sent.getall(SESSION, []):
            self.minted.add(received[SESSION])


@dataclass(slots=True)
class _Received:
    """What has come of an answer so far: it counts, though the rest may never come."""

    status: int = 0
    headers: CIMultiDict[str] = field(default_factory=CIMultiDict)
    body: bytearray = field(default_factory=bytearray)
    first_byte_seconds: float = 0.0
    trouble: Trouble | None = None
    detail: str = ""

    def reply(self, request_id: int | None, seconds: float) -> Reply:
        media_type = self.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        body = bytes(self.body)
        found = answer(body, media_type, request_id) if request_id is not None else None
        return Reply(
            status=self.status,
            headers=CIMultiDictProxy(self.headers),
            body=body,
            message=found,
            # An answer that came is an answer, though the connection then broke.
            trouble=None if found is not None else self.trouble,
            detail=self.detail,
            first_byte_seconds=self.first_byte_seconds,
            seconds=seconds,
        )


def _http(connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None),
        max_line_size=65_536,
        max_field_size=65_536,
    )


async def _read(response: aiohttp.ClientResponse, into: bytearray, request_id: int | None) -> None:
    """The body, to its end; of a stream that stays open, to shortly after the answer that is waited for."""
    is_stream = response.content_type == EVENT_STREAM
    async for piece in response.content.iter_any():
        into += piece
        if len(into) > MOST_BYTES:
            return
        if is_stream and request_id is not None and answer(bytes(into), EVENT_STREAM, request_id) is not None:
            try:
                async with asyncio.timeout(END_SECONDS):
                    await response.content.read(MOST_BYTES)
            except TimeoutError:
                pass
            return


def trouble_of(error: Exception) -> Trouble:
    """What an exception of the HTTP library says of the answer."""
    troubles: list[tuple[type[Exception] | tuple[type[Exception], ...], Trouble]] = [
        (TimeoutError, Trouble.HANG),
        ((aiohttp.ClientConnectorCertificateError, aiohttp.ClientSSLError, ssl.SSLError), Trouble.TLS),
        (aiohttp.ClientConnectorDNSError, Trouble.NAME),
        (aiohttp.ClientPayloadError, Trouble.CUT),
        (aiohttp.ClientResponseError, Trouble.NOT_HTTP),
        (aiohttp.ServerDisconnectedError, Trouble.CUT),
    ]
    for exceptions, trouble in troubles:
        if isinstance(error, exceptions):
            return trouble
    os_error = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(os_error, ConnectionRefusedError):
        return Trouble.REFUSED
    # What breaks on an open connection comes as the library's own error, with the system's number alone.
    return Trouble.CUT if isinstance(os_error, (ConnectionError, aiohttp.ClientOSError)) else Trouble.NO_WAY
