"""What a web page of some origin may do here (CORS): the preflight, and what it may read of an answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mooring.doctor.client import protocol
from mooring.doctor.client.reply import Reply
from mooring.doctor.evidence.question import ask_with_retry
from mooring.doctor.examination import Examination

ORIGINS: Final = ("https://mooring-doctor.invalid", "http://localhost:6274")
"""Nobody's page (RFC 2606, section 2), and the MCP Inspector's."""
_ASKED: Final = ("authorization", "content-type", "mcp-protocol-version", "mcp-session-id")


@dataclass(frozen=True, slots=True)
class CrossOrigin:
    """
    Attributes:
        origin: of the page.
        preflight: the answer to OPTIONS, which a browser asks before any request with these headers.
        post: the answer to a call from that page.
        asked: the headers that were named in the preflight: those that clients of this server send.
    """

    origin: str
    preflight: Reply
    post: Reply
    asked: tuple[str, ...] = _ASKED

    @property
    def allows(self) -> bool:
        """The page may read the answer to its call."""
        return self._is_allowed(self.post)

    @property
    def passes_preflight(self) -> bool:
        return self.preflight.is_ok and self._is_allowed(self.preflight) and not self.headers_refused

    @property
    def is_doubled(self) -> bool:
        """Two hops have each said who is allowed, which browsers take for nobody."""
        return any(len(_listed(reply, "Access-Control-Allow-Origin")) > 1 for reply in (self.preflight, self.post))

    @property
    def headers_refused(self) -> tuple[str, ...]:
        """Headers of MCP that a page may not send."""
        allowed = {name.lower() for name in _listed(self.preflight, "Access-Control-Allow-Headers")}
        # A star does not stand for Authorization (Fetch, CORS protocol and credentials).
        return tuple(name for name in self.asked[1:] if name not in allowed and "*" not in allowed)

    @property
    def hides_session(self) -> bool:
        """A page cannot read the id of its session."""
        exposed = {name.lower() for name in _listed(self.post, "Access-Control-Expose-Headers")}
        return protocol.SESSION.lower() not in exposed and "*" not in exposed

    def _is_allowed(self, reply: Reply) -> bool:
        return _listed(reply, "Access-Control-Allow-Origin") in (["*"], [self.origin])


def _listed(reply: Reply, name: str) -> list[str]:
    return [part.strip() for line in reply.headers.getall(name, []) for part in line.split(",") if part.strip()]


async def ask_from_pages(exam: Examination, more: Sequence[str] = ()) -> list[CrossOrigin]:
    """The same from pages of several origins."""
    found = []
    # Without sessions no client has an id to send, and a list of allowed headers may well lack it.
    headers = tuple(name for name in _ASKED if name != protocol.SESSION.lower() or exam.eras.gives_sessions)
    for origin in dict.fromkeys((*more, *ORIGINS)):
        asked = {
            "Origin": origin,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": ",".join(headers),
        }
        # A browser sends no session with it; some servers open one for whatever names none.
        named = {protocol.SESSION: exam.first.id} if exam.first is not None else {}
        preflight = await exam.wire.send("OPTIONS", headers={**asked, **named}, token=None)
        post = await ask_with_retry(exam, {"Origin": origin})
        found.append(CrossOrigin(origin, preflight, post, headers))
    return found
