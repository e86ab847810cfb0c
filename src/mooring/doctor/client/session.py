"""One session that the doctor has opened, and what came of each asking for one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from yarl import URL

from mooring.doctor.client.lanes import Lane
from mooring.doctor.client.reply import Reply


@dataclass(slots=True)
class Session:
    """One session.

    Attributes:
        opened: the reply to `initialize`.
        version: the negotiated protocol version.
        server: `serverInfo` as the server gave it.
        initialized: the replies to `notifications/initialized`, the last one being that which was accepted, if any.
        lane: the connection on which it was opened.
        jar: the cookies that were set, and are sent back where a browser would; `Sessions.send` adds to it.
        last_id: the request id of the last ping; it is counted up by `Sessions.ping`.
        was_reached: a call has reached it right after it was opened; set by whoever made that.
    """

    id: str
    opened: Reply
    version: str
    server: Mapping[str, Any]
    lane: Lane
    jar: aiohttp.CookieJar
    initialized: list[Reply] = field(default_factory=list)
    last_id: int = 10
    was_reached: bool = False

    def cookies(self, url: URL) -> dict[str, str]:
        """The header that carries its cookies to that URL; none where none is sent there."""
        sent = self.jar.filter_cookies(url)
        return {"Cookie": "; ".join(f"{name}={one.coded_value}" for name, one in sent.items())} if sent else {}


@dataclass(frozen=True, slots=True)
class Attempt:
    """One `initialize`: what came for it, and the session, where there is one."""

    reply: Reply
    version: str
    session: Session | None = None

    @property
    def is_refused(self) -> bool:
        return not is_result(self.reply)


def is_result(reply: Reply) -> bool:
    """Whether that answer to `initialize` gives what was asked for."""
    return reply.is_ok and isinstance((reply.message or {}).get("result"), dict)
