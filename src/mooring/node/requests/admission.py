"""Who may use a session: whoever opened it, or the first who signed in to one that was opened by nobody.

    the session is  the request is of  it may
    --------------  -----------------  ---------------------------------------------------------------
    somebody's      the same           yes
    somebody's      another, or nobody no: nothing is carried out, and on the wire there is no session
    nobody's        nobody             yes
    nobody's        somebody           yes, and the session is theirs from then on; who listened hears the end

The last row is for apps that let anybody in and ask for a token when a tool needs one.

A session that is gone is somebody's as long as its record is there: its principal alone learns what became of it
(`mooring.node.requests.refusing`).
"""

from __future__ import annotations

import logging
from typing import Final, Protocol

from mooring.asgi import Scope, Send, route_of
from mooring.core.ids import brief
from mooring.core.model import SessionRecord
from mooring.core.routing import Reason
from mooring.core.stream_ids import StreamKind
from mooring.core.text import clean
from mooring.node.membership.inner_ids import Guard
from mooring.node.membership.session import LocalSession
from mooring.node.node import Node
from mooring.node.requests.answers import refuse
from mooring.node.requests.principal import NOBODY, principal_of

logger = logging.getLogger("mooring.sessions")

REQUEST: Final = "mooring.request"
"""In the scope: the request, as Mooring passed it to the app. Whoever copies the scope copies it too."""


_DOES_NOTHING: Final = "OPTIONS"
"""A method that the SDK does not serve: all that it does is to look where the request comes from (Host, Origin)."""


class Asking(Protocol):
    """A request that waits for its session's guard to decide.

    Attributes:
        is_inquiry: it only wants to know who asks: the app serves nothing, and nobody is admitted.
    """

    is_inquiry: bool

    def let_in(self, principal: str) -> None:
        """It may use the session, being this principal's."""

    async def turn_away(self) -> None:
        """It may not: answer it, and let nothing else out."""


async def admit(node: Node, session: LocalSession, principal: str) -> bool:
    """Whether `principal` may use the session; if it is nobody's, it is theirs when this returns.

    Of two who want the same session at once one gets it: it is theirs before anything is waited for.
    """
    if session.principal == NOBODY and principal != NOBODY:
        logger.info("session %s was nobody's, and belongs to whoever signed in from now on", brief(session.id))
        # A client that stalls holds nobody up; and one that leaves now keeps nothing from being done.
        node.sessions.run_errand(end_nobodys_listening(node, session))
        await node.sessions.take_over(session, principal)
    return session.principal == principal


async def end_nobodys_listening(node: Node, session: LocalSession) -> None:
    """The session is somebody's from now on. Whoever listens was nobody; its principal comes back signed in."""
    for stream in node.streams.of(session.id):
        if stream.facts.kind is StreamKind.STANDING:
            await stream.dismiss()


def guard_of(node: Node, session: LocalSession) -> Guard:
    """Asked by the SDK before it serves a request of this session: the app has authenticated, in its own way."""

    async def ask(scope: Scope, send: Send) -> bool:
        asking: Asking | None = scope.get(REQUEST)
        principal = principal_of(scope)
        if asking is not None and asking.is_inquiry:
            asking.let_in(principal)
            scope["method"] = _DOES_NOTHING
            return True
        if await admit(node, session, principal):
            if asking is not None:
                asking.let_in(principal)
            return True
        if asking is None:  # it came by a path that is not ours
            note_refusal(node, session.id)
        else:
            await asking.turn_away()
        await refuse(send, Reason.PRINCIPAL)
        return False

    return ask


def note_refusal(node: Node, session_id: str) -> None:
    """Count and log that the session was asked for by another than its principal."""
    node.tally.refused[Reason.PRINCIPAL] += 1
    logger.warning(
        "session %s belongs to another principal: answered as unknown; if it is the same user, look at what "
        "its tokens say of issuer, subject and client",
        brief(session_id),
    )


def is_elsewhere(node: Node, scope: Scope, record: SessionRecord) -> bool:
    """Whether a request is for an endpoint other than the session's, where there is no session of this id."""
    asked = node.endpoint_of(scope)
    return record.endpoint != "" and asked is not None and not is_below(route_of(scope), record.endpoint)


def is_below(route: str, endpoint: str) -> bool:
    """Whether it is the endpoint's path, or one below it."""
    return route == endpoint or route.startswith(endpoint.rstrip("/") + "/")


async def refuse_elsewhere(node: Node, send: Send, session_id: str, endpoint: str, asked: str | None) -> None:
    """A session is served at the endpoint that it was opened at, and at another one there is none of that id."""
    node.tally.refused[Reason.UNKNOWN] += 1
    logger.warning(
        "session %s is of %s, and not of %s: its client has to stay where it was opened",
        brief(session_id),
        clean(endpoint),
        clean(asked or ""),
    )
    await refuse(send, Reason.UNKNOWN)
