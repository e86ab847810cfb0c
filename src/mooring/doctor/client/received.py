"""An answer as it comes, and what it means that it does not."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass, field
from typing import Final

import aiohttp
from multidict import CIMultiDict, CIMultiDictProxy

from mooring.doctor.client.protocol import EVENT_STREAM, answer
from mooring.doctor.client.reply import Reply, Trouble

MOST_BYTES: Final = 4 * 1024 * 1024
"""Of one answer; what is longer is read no further."""
END_SECONDS: Final = 0.5
"""How long a stream is given to end once it has brought the answer."""


@dataclass(slots=True)
class Received:
    """What has come of an answer so far: it counts, though the rest may never come."""

    status: int = 0
    headers: CIMultiDict[str] = field(default_factory=CIMultiDict)
    body: bytearray = field(default_factory=bytearray)
    first_byte_seconds: float = 0.0
    trouble: Trouble | None = None
    detail: str = ""

    async def read(self, response: aiohttp.ClientResponse, request_id: int | None) -> None:
        """The body, to its end; of a stream that stays open, to shortly after the answer that is waited for."""
        is_stream = response.content_type == EVENT_STREAM
        async for piece in response.content.iter_any():
            self.body += piece
            if len(self.body) > MOST_BYTES:
                return
            if is_stream and request_id is not None and answer(bytes(self.body), EVENT_STREAM, request_id) is not None:
                try:
                    async with asyncio.timeout(END_SECONDS):
                        await response.content.read(MOST_BYTES)
                except TimeoutError:
                    pass
                return

    def reply(self, request_id: int | None, seconds: float, at_seconds: float) -> Reply:
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
            at_seconds=at_seconds,
        )


def trouble_of(error: Exception) -> Trouble:
    """What an exception of the HTTP library says of the answer."""
    if isinstance(error, aiohttp.ClientError) and "content-encoding" in str(error).lower():
        return Trouble.ENCODED
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
