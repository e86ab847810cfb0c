"""A link that can be cut: a TCP proxy that passes on all, or nothing, or refuses."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final, Literal
from urllib.parse import urlsplit

State = Literal["open", "silent", "refused"]

_PIECE: Final = 64 * 1024


class Link:
    """From its own port to somewhere else.

    Attributes:
        port: where it listens, on this machine.
    """

    def __init__(self, to: str) -> None:
        self.port = 0
        self._to = urlsplit(to)
        self._open = asyncio.Event()
        self._open.set()
        self._state: State = "open"
        self._writers: set[asyncio.StreamWriter] = set()

    def cut(self, state: State = "silent") -> None:
        """`silent`: what was and what will be connected stays so, and nothing gets through, as when a network is cut.
        `refused`: it is closed, and so is what comes after it."""
        self._state = state
        self._open.clear()
        if state == "refused":
            self._open.set()
            for writer in self._writers:
                writer.transport.abort()

    def mend(self) -> None:
        self._state = "open"
        self._open.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            await self._open.wait()
            if self._state == "refused":
                writer.transport.abort()
                return
            if self._to.scheme == "unix":
                far_reader, far_writer = await asyncio.open_unix_connection(self._to.path)
            else:
                far_reader, far_writer = await asyncio.open_connection(self._to.hostname, self._to.port)
            self._writers |= {writer, far_writer}
            try:
                passing = [self._pass(reader, far_writer), self._pass(far_reader, writer)]
                await asyncio.gather(*passing, return_exceptions=True)
            finally:
                self._writers -= {writer, far_writer}
                far_writer.close()
                writer.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(_PIECE):
            await self._open.wait()
            writer.write(piece)
            await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def link(to: str) -> AsyncIterator[Link]:
    """A link to a `http://host:port`, or a `unix:///path`."""
    made = Link(to)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        made.cut("refused")
        server.close()
