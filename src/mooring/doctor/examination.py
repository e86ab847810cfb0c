"""What the checks of one run share: the plan, the wire, the sessions, and what is known so far.

What a check measures, and another one wants to know as well, is a `Shared` of its own: the examination keeps one of
each kind and closes it, and knows nothing else of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeVar

from mooring.core.masking import masked, masked_secrets
from mooring.core.text import plain
from mooring.doctor.client import protocol
from mooring.doctor.client.reply import LEAST_ID, Outcome, Reply
from mooring.doctor.client.session import Session
from mooring.doctor.client.sessions import CLOSE_SECONDS, Sessions
from mooring.doctor.client.ways import Way
from mooring.doctor.client.wire import Wire
from mooring.doctor.findings import Finding
from mooring.doctor.plan import LEAST_SESSIONS, Plan
from mooring.doctor.proxies import Front, Proxy


class ProgressListener(Protocol):
    """Hears how the examination goes on, to show it."""

    def step(self, text: str) -> None:
        """What is being done now."""

    def found(self, finding: Finding) -> None:
        """A check has ended."""

    def progress(self, done: int, wanted: int) -> None:
        """So many of the checks have ended."""


@dataclass(slots=True)
class Eras:
    """What the server speaks.

    Attributes:
        legacy: each legacy version that was asked for, with the one that the server chose.
        modern: the modern versions that it offers.
        gives_sessions: whether its answer to `initialize` names a session; None where it knows no `initialize`.
        id_is_lost: it does not, and calls without an id are refused: somebody on the way took the id out.
        id_header: the header in which something like the id came, where it came in another one.
        capabilities: of the server, as it names them.
        discovered: the last reply to `server/discover`; `discoveries` all of them.
    """

    legacy: dict[str, str] = field(default_factory=dict)
    modern: tuple[str, ...] = ()
    gives_sessions: bool | None = None
    id_is_lost: bool = False
    id_header: str = ""
    server: Mapping[str, Any] = field(default_factory=dict)
    capabilities: tuple[str, ...] = ()
    discovered: Reply = field(default_factory=Reply)
    discoveries: list[Reply] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Call:
    """One call within a session, of those that are made to see which of them reach it."""

    session: Session
    way: Way
    reply: Reply


class Shared:
    """Something that several checks of a run look at, so that it is done once; see `Examination.shared`."""

    def __init__(self, exam: Examination) -> None:
        self._exam = exam

    async def close(self) -> None:
        """Let go of what it holds; never raises."""


_NO_FAILURE: Final = (Outcome.REACHED, Outcome.LOST, Outcome.THROTTLED, Outcome.UNSENT)
"""Nothing failed, or what did is told by the calls."""
S = TypeVar("S", bound=Shared)


class Examination:
    """One run of the doctor over one deployment.

    Of the open sessions, `sessions.opened`, each has its part, so that checks side by side do not disturb one another:
    all look at the first one, the last one is for whoever deletes one, and those between can be spent on streams.

    Attributes:
        plan: what the operator asks for.
        wire: every request goes over it; `contact` changes its URL where the endpoint redirects.
        sessions: every session of the run is opened and closed by it.
        listener: is told of each step and of each finding.
        eras: what the server speaks; filled by `contact`, and with each older version that a session is opened in.
        front: who meets clients, and who else is on the way; set before the first check runs.
        calls: every call that was made to see which ones reach their session, in order; filled by the check that goes
            first, and only read by the others.
        no_calls: why no more calls are to be sent, in a few words: they go unanswered, or open sessions; empty where
            they may be. Set by the first contact, and by the check that goes first.
        is_in_turn: calls over new connections met their node as regularly as where nodes have their turns.
        checks_done, checks_wanted: how far the run is.
        failed: ordinary requests that failed, beyond those in `calls`: nothing was odd about them.
    """

    def __init__(self, plan: Plan, wire: Wire, sessions: Sessions, listener: ProgressListener) -> None:
        self.plan = plan
        self.wire = wire
        self.sessions = sessions
        self.listener = listener
        self.eras = Eras()
        self.front = Front()
        self.calls: list[Call] = []
        self.no_calls = ""
        self.is_in_turn = False
        self.checks_done = 0
        self.checks_wanted = 0
        self.failed: list[Reply] = []
        self._shared: dict[type[Shared], Any] = {}  # one of each kind, from when it was first asked for
        self._last_id = 1000  # of all requests but those that `Sessions` counts itself, from small numbers on
        self._secrets = plan.secrets

    def shared(self, kind: type[S]) -> S:
        """The one `kind` of this run, made where it is asked for first."""
        if kind not in self._shared:
            self._shared[kind] = kind(self)
        found: S = self._shared[kind]
        return found

    @property
    def proxy(self) -> Proxy | None:
        """The load balancer that meets clients, where it was recognised."""
        return self.front.proxy

    @property
    def hangs(self) -> bool:
        """No more calls are to be sent."""
        return bool(self.no_calls)

    @property
    def first(self) -> Session | None:
        """The session to look at: of the newest version."""
        return self.sessions.opened[0] if self.sessions.opened else None

    @property
    def last(self) -> Session | None:
        """The session that may be deleted; None where it would be the only one."""
        return self.sessions.opened[-1] if len(self.sessions.opened) >= LEAST_SESSIONS else None

    @property
    def between(self) -> list[Session]:
        """The sessions that may be ended with a stream in them."""
        return self.sessions.opened[1:-1]

    def show(self, text: object, longest: int = 200) -> str:
        """Foreign text as it may be shown and stored: no token, no password, no id of a session that was opened here,
        nothing that does not print."""
        ids = (one for one in self.wire.minted if len(one) >= LEAST_ID)
        return plain(masked(masked_secrets(str(text), (*self._secrets, *ids))), longest)

    async def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Close all that is shared, and every session; never raises. The sessions take at most `seconds`."""
        await asyncio.gather(*(one.close() for one in self._shared.values()))
        await self.sessions.close_all(seconds)

    def note(self, reply: Reply) -> None:
        """The answer to an ordinary request beside the calls: where it failed, nobody may call all this healthy."""
        if reply.outcome not in _NO_FAILURE:
            self.failed.append(reply)

    def next_id(self) -> int:
        """A request id that was not used before."""
        self._last_id += 1
        return self._last_id

    async def call(self, session: Session, way: Way, **options: Any) -> Reply:
        """What the operator lets the doctor call: a ping, or the tool that was named."""
        if self.plan.tool is None:
            return await self.sessions.ping(session, way, **options)
        message = protocol.request(self.next_id(), "tools/call", self.plan.tool_params)
        return await self.sessions.send(session, way, message, **options)

    async def call_without_session(self) -> Reply:
        """The same call where there are no sessions, in an era that the server speaks, over a new connection."""
        method, params = "ping", None
        if self.plan.tool is not None:
            method, params = "tools/call", self.plan.tool_params
        if self.eras.gives_sessions is None:
            return await self.modern(method if params else "tools/list", params=params)
        message = protocol.request(self.next_id(), method, params)
        headers = {protocol.VERSION: next(iter(self.eras.legacy.values()))}
        return await self.wire.send("POST", message=message, headers=headers)

    async def modern(
        self,
        method: str,
        headers: Mapping[str, str] | None = None,
        *,
        params: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Reply:
        """One request of the modern era, over a new connection."""
        version = self.eras.modern[0] if self.eras.modern else protocol.MODERN_VERSION
        needed, message = protocol.modern(self.next_id(), method, params, version=version)
        return await self.wire.send("POST", message=message, headers={**needed, **(headers or {})}, **options)
