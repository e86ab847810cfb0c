"""What the checks of one run share: the plan, the wire, the sessions, and what is known so far.

What a check measures, and another one wants to know as well, is a `Shared` of its own: the examination keeps one of
each kind and closes it, and knows nothing else of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from mooring.core.masking import masked, masked_secrets
from mooring.core.text import plain
from mooring.doctor.client import protocol
from mooring.doctor.client.reply import Reply
from mooring.doctor.client.sessions import CLOSE_SECONDS, Session, Sessions
from mooring.doctor.client.ways import Way
from mooring.doctor.client.wire import Wire
from mooring.doctor.findings import Finding
from mooring.doctor.plan import LEAST_SESSIONS, Plan
from mooring.doctor.proxies import Proxy


class ProgressListener(Protocol):
    """Hears how the examination goes on, to show it."""

    def step(self, text: str) -> None:
        """What is being done now."""

    def found(self, finding: Finding) -> None:
        """A check has ended."""


@dataclass(slots=True)
class Eras:
    """What the server speaks.

    Attributes:
        legacy: each legacy version that was asked for, with the one that the server chose.
        modern: the modern versions that it offers.
        gives_sessions: whether its answer to `initialize` names a session; None where it knows no `initialize`.
        capabilities: of the server, as it names them.
        discovered: the reply to `server/discover`.
    """

    legacy: dict[str, str] = field(default_factory=dict)
    modern: tuple[str, ...] = ()
    gives_sessions: bool | None = None
    server: Mapping[str, Any] = field(default_factory=dict)
    capabilities: tuple[str, ...] = ()
    discovered: Reply = field(default_factory=Reply)


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
        proxy: the load balancer, where it was recognised; set before the first check runs.
        calls: every call that was made to see which ones reach their session, in order; filled by the check that goes
            first, and only read by the others.
        hangs: calls go unanswered, so to send more wastes the operator's time; set by the check that goes first.
    """

    def __init__(self, plan: Plan, wire: Wire, sessions: Sessions, listener: ProgressListener) -> None:
        self.plan = plan
        self.wire = wire
        self.sessions = sessions
        self.listener = listener
        self.eras = Eras()
        self.proxy: Proxy | None = None
        self.calls: list[Call] = []
        self.hangs = False
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
        """Foreign text as it may be shown and stored: no token, no password, nothing that does not print."""
        return plain(masked(masked_secrets(str(text), self._secrets)), longest)

    async def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Close all that is shared, and every session; never raises. The sessions take at most `seconds`."""
        await asyncio.gather(*(one.close() for one in self._shared.values()))
        await self.sessions.close_all(seconds)

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

    async def open_sessions(self, most: int | None = None) -> None:
        """Open sessions at once until `most` are open, or there is no more room; a few of the older versions, which
        come last in `sessions.opened`.
        """
        count = self.sessions.room
        if most is not None:
            count = min(count, most - len(self.sessions.opened))
        older = protocol.LEGACY_VERSIONS[1:] if count >= 2 * len(protocol.LEGACY_VERSIONS) else ()
        versions = [*older, *([protocol.LEGACY_VERSIONS[0]] * count)][:count]
        opened = await asyncio.gather(*(self.sessions.open(version) for version in versions))
        for asked, session in zip(versions, opened, strict=True):
            if session is not None:
                self.eras.legacy[asked] = session.version
        self.sessions.opened.sort(key=lambda session: session.version, reverse=True)
