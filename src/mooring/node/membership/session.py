"""One session that lives here, and what is told of one that ended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Container
from dataclasses import dataclass, field
from typing import Any, Final, Protocol
from weakref import WeakValueDictionary

from mooring.core.jsonrpc import Asked
from mooring.core.kept_state import KeptState
from mooring.core.model import SessionRecord
from mooring.store.journal import Call, SettledCall

HOMES: Final = 5
"""How many of its last nodes a record names."""

CloseHandler = Callable[["ClosedSession"], object]
"""What it returns is awaited where it can be; else nobody looks at it."""

ReviveHandler = Callable[["RevivedSession"], object]


@dataclass(frozen=True, slots=True)
class ClosedSession:
    """A session that ended on this node.

    Attributes:
        reason: `deleted` by its client; `hibernated`, since it was idle (`hibernate_seconds`); `ended` by the app (idle
            expiry, a crash, its own decision) or with its stream (HTTP+SSE); `moved` to another node, where it goes on;
            or `fenced`: another node owns its shard now, and may go on with it. One that `ended` or `hibernated` may be
            revived at its client's next request.
    """

    id: str
    reason: str
    principal: str


@dataclass(frozen=True, slots=True)
class ClosedHandle(ClosedSession):
    """A handle that ended on this node; `id` is the handle.

    Attributes:
        reason: `deleted` by its author, `ended` since no call named it for long, or `fenced` or `moved`: another node
            owns its shard now.
        kind: what `new_handle` was asked for.
    """

    kind: str = ""


@dataclass(frozen=True, slots=True)
class MovingSession:
    """A session that is about to be given to another node; nothing runs in it."""

    id: str
    principal: str


@dataclass(frozen=True, slots=True)
class RevivedSession:
    """A session that lives here from now on: its `initialize` was replayed, and what its app kept in memory is gone,
    unless it was loaded.

    Attributes:
        incarnation: how often it was revived so far, this time included.
        last_node: the id of the node that it lived on before, which may be this one.
        last_seen: when it was last used there, as far as is known; seconds since the epoch.
        is_loaded: what was dumped of it there was loaded here (`Mooring.carry`).
    """

    id: str
    principal: str
    incarnation: int
    last_node: str
    last_seen: float
    is_loaded: bool = False


class Running(Protocol):
    """A request of a session, while the app serves it.

    Attributes:
        is_listening: it waits for what the server says by itself, and nothing is lost if it comes again.
        since: seconds, by a steady clock.
        noted: what is on record of it, while it is not answered; None where nothing is.
    """

    is_listening: bool
    since: float

    @property
    def noted(self) -> Call | None: ...

    def is_cancelled(self, cancelled: Container[Asked]) -> None:
        """The client has cancelled these requests: if it is one of them, it may stay without an answer."""

    def cut_off(self) -> None:
        """The session has another owner: let nothing more of it out, and stop the app's work on it."""


@dataclass(slots=True, weakref_slot=True)
class LocalSession:
    """A session that lives here.

    Attributes:
        inner_id: the app's own name for it, which never leaves the node.
        epoch: that this node held its shard at when it was opened here: what is written for it is refused once another
            node holds a later one.
        principal: who it belongs to; "" for nobody, until somebody takes it over.
        endpoint: the path of the MCP endpoint that it was opened at, and is served at.
        is_in_query: it is one of HTTP+SSE (`mooring.core.http_sse`): its id is in the query of what is posted, and it
            lives as long as its stream.
        is_guarded: the app asks before it serves a request of it (`inner_ids`).
        ends_as: the reason to give if it ends now.
        running: the requests that the app is serving.
        asking: by their ids as texts, the last of those requests that an event stream answers.
        incarnation: how often it was revived.
        log_level: what its client asked for, and `subscriptions` what it is told of: for the next incarnation.
        has_stream: it has, or had, a GET open for what the server says by itself.
        homes: where it lived before, and since when; and since when here, where that is not when it was opened.
        is_wakeful: the app did not end it when it was to sleep; it is not asked again.
        is_told_to_end: the app was told to end it, since it is idle; it may be at it.
        standing: what its server says by itself, while the app is asked for it (`mooring.node.requests.standing`).
        telling: while the app is told what its client told it in an earlier life (`mooring.node.requests.revival`).
        state: what its server keeps of it (`mooring.node.current_call`).
        state_turn: held by whoever writes that.
        settled_streams: of calls whose answer went on record with it, the latest last.
        call_names: what calls of this incarnation are called on record, the latest last (`requests.call_names`).
        is_closed: its record is removed, and all that is kept of it goes with that.
        is_superseded: its next incarnation has what is kept of it, or is about to.
        answered: calls whose answers are on record by themselves, the latest last, and how large each answer is.
        earlier_calls: what is on record of calls by its earlier incarnations, by stream, once anybody has asked.
        answers_in_streams: the app has answered a request of it by an event stream.
        asks_unnamed: what its server asks may have left under the app's own ids, in a stream that nobody could read.
        end_in_app: makes the app end it, where the app is not one that `inner_ids.end` can make do so.
    """

    id: str
    shard: str
    inner_id: str
    created: float
    last_seen: float
    touched: float
    principal: str
    protocol: str
    client: str
    initialize: bytes
    epoch: int = 0
    endpoint: str = ""
    is_in_query: bool = False
    is_guarded: bool = False
    ends_as: str = "ended"
    running: set[Running] = field(default_factory=set)
    asking: dict[str, Any] = field(default_factory=dict)
    incarnation: int = 0
    log_level: str = ""
    subscriptions: dict[str, None] = field(default_factory=dict)
    has_stream: bool = False
    homes: tuple[tuple[str, float], ...] = ()
    since: float = 0.0
    is_wakeful: bool = False
    is_told_to_end: bool = False
    standing: Any = None
    telling: asyncio.Task[None] | None = None
    state: KeptState = field(default_factory=KeptState)
    state_turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    settled_streams: dict[str, None] = field(default_factory=dict)
    call_names: dict[str, None] = field(default_factory=dict)
    is_closed: bool = False
    is_superseded: bool = False
    answered: dict[str, int] = field(default_factory=dict)
    earlier_calls: dict[str, Call | SettledCall] | None = None
    answers_in_streams: bool = False
    asks_unnamed: bool = False
    end_in_app: Callable[[], Awaitable[bool]] | None = None
    # By name: held by whoever carries out again what was sent to an earlier incarnation.
    _turns: WeakValueDictionary[str, asyncio.Lock] = field(default_factory=WeakValueDictionary)

    def turn_of(self, call: str) -> asyncio.Lock:
        """What whoever carries out a call of an earlier incarnation again holds, so that nobody else does."""
        return self._turns.setdefault(call, asyncio.Lock())

    def ask_no_more(self) -> None:
        """It does not live here any more, or never came to: nothing is asked of the app in its client's place, which
        may have its next life by then.
        """
        if self.telling is not None:
            self.telling.cancel()
        if self.standing is not None:
            self.standing.close()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is going on but our own GET for what its server says by itself."""
        return self.standing is not None and not self.standing.has_listener and len(self.running) <= 1

    def is_busy(self, since: float) -> bool:
        """Whether something runs that began by then, other than a listener. A stream of HTTP+SSE always does."""
        return any(request.since <= since and not request.is_listening for request in self.running)

    @property
    def is_mapped(self) -> bool:
        """Whether the app names it differently."""
        return self.inner_id != self.id

    def record(self, node_id: str) -> SessionRecord:
        return SessionRecord(
            self.id,
            node_id,
            self.created,
            self.last_seen,
            self.principal,
            self.protocol,
            self.client,
            self.initialize,
            self.epoch,
            self.endpoint,
            self.incarnation,
            self.log_level,
            tuple(self.subscriptions),
            self.has_stream,
            (*self.homes, (node_id, self.since or self.created))[-HOMES:],
        )
