"""The server with a book, whose counts go along when a node gives its sessions away."""

from typing import Final

from mooring import Mooring, MovingSession, RevivedSession
from tests.servers.entries import counted, server


def dump(session: MovingSession) -> bytes | None:
    return b"%d" % counted[session.id] if session.id in counted else None


async def load(session: RevivedSession, data: bytes) -> None:
    counted[session.id] = int(data)


app: Final = Mooring(server.streamable_http_app())
app.carry(dump, load)
