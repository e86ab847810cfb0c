"""One session that lives here, and what is told of one that ended."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from mooring.core.model import SessionRecord

CloseHandler = Callable[["ClosedSession"], Awaitable[None] | None]


@dataclass(frozen=True, slots=True)
class ClosedSession:
    """A session that ended on this node.

    Attributes:
        reason: `deleted` by its client, `ended` by the app (idle expiry, a crash, its own decision) or with its
            stream (HTTP+SSE), or `fenced`: another node owns its shard now, and may go on with it.
    """

    id: str
    reason: str
    principal: str


class Running(Protocol):
    """A request of a session, while the app serves it."""

    def cut_off(self) -> None:
        """The session has another owner: let nothing more of it out, and stop the app's work on it."""


@dataclass(slots=True)
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
    end_in_app: Callable[[], Awaitable[bool]] | None = None

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
        )
