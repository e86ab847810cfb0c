"""What becomes of sessions and their event streams when a connection or a node is lost."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import BaseModel, Field

from mooring.core.endpoints import Endpoints
from mooring.settings.kinds import OnNodeLoss

DRAIN_SECONDS: Final = 10.0
_CALL_LOG_SECONDS: Final = 60.0
_LAST_ANSWERS_SECONDS: Final = 5.0


class SurvivalSettings(BaseModel):
    """What outlives what."""

    on_node_loss: OnNodeLoss = Field(
        "revive",
        description="What becomes of a session whose node died, or which the app ended by itself: another node opens "
        "it again under the same id (revive), or its client gets 404 and has to initialize again (reinitialize). For "
        "single endpoints: /a/mcp=reinitialize, joined by commas.",
    )
    stream_logs: bool = Field(
        True,
        description="Whether event streams of the legacy era are kept for a while, so that a client that lost its "
        "connection, or its node, comes back for what it missed.",
    )
    stream_log_bytes: int = Field(
        1024 * 1024, ge=1024, le=1024**3, description="How much of one event stream is kept in memory."
    )
    stream_room_bytes: int = Field(
        64 * 1024 * 1024,
        ge=1024,
        description="How much of all event streams a node keeps in memory; each counts 2 KiB besides what was said on "
        "it.",
    )
    stream_log_seconds: float = Field(
        300.0, ge=0, le=24 * 3600, description="How long an event stream is kept once it is over."
    )
    stream_write_after_seconds: float = Field(
        0.05,
        ge=0,
        le=60,
        description="How long a request may take before it, and what was said on its stream, is written down for the "
        "case that its node dies.",
    )
    retry_seconds: float = Field(
        2.0,
        ge=0,
        le=300,
        description="How long a client whose event stream broke off is told to wait before it comes back (`retry`).",
    )
    stream_comment_seconds: float = Field(
        25.0,
        ge=0,
        le=3600,
        description="How long an event stream may be silent before its client is sent a comment, so that no load "
        "balancer takes its connection for idle; 0 for never.",
    )

    state_bytes: int = Field(
        256 * 1024,
        ge=1024,
        le=16 * 1024**2,
        description="How much a server may keep of one session (`mooring.session_state()`), as JSON. A call that "
        "leaves more fails, and changes nothing of it.",
    )
    carry_bytes: int = Field(
        1024 * 1024,
        ge=1024,
        le=64 * 1024**2,
        description="How much may go along of one session that is given to another node, where the app dumps it "
        "(`Mooring.carry`). Beyond that it moves without.",
    )
    carry_seconds: float = Field(
        2.0,
        gt=0,
        le=60,
        description="How long the app may take to dump or to load one session (`Mooring.carry`). Its requests wait for "
        "that: so loading it gets half of `hold_seconds` at most, and dumping all sessions of a shard a third.",
    )
    drain_seconds: float | None = Field(
        None,
        ge=0,
        le=3600,
        description="How long a node that is told to stop lets running calls go on before their sessions move to "
        "other nodes all the same. Sessions without a running call move at once. By default as long as "
        "`--stop-seconds` of `mooring serve`, and 10 in a server of your own.",
    )
    ingress_seconds: float = Field(
        2.0,
        ge=0,
        le=300,
        description="How long a node that gave everything away goes on passing requests to the new owners, so that "
        "load balancers notice that it is about to end.",
    )
    drain_on_sigterm: bool = Field(
        False,
        description="For apps under a uvicorn of your own: SIGTERM drains before uvicorn hears of it. `mooring serve` "
        "always does this.",
    )
    rebalance: Literal["new_sessions", "idle_sessions"] = Field(
        "new_sessions",
        description="What goes to emptier nodes by itself, as after one was added: new sessions alone, or idle ones as "
        "well. Choose the latter for apps that keep nothing of a session in memory.",
    )
    hibernate_seconds: float | None = Field(
        None,
        gt=0,
        le=30 * 24 * 3600,
        description="After how long without a request the app ends a session, whether or not its client listens; its "
        "next request revives it. For apps that keep nothing of a session in memory; by default never.",
    )
    idle_seconds: float = Field(
        1800.0,
        gt=0,
        le=30 * 24 * 3600,
        description="How long a session that once listened for what its server says by itself may go unused before "
        "the app ends it; its next request revives it. Mooring listens in its place, so the app's own limit does not.",
    )

    @property
    def call_log_seconds(self) -> float:
        """How long it is on record of a call that it runs, or what became of it, for whoever comes back or sends it
        again."""
        return max(self.stream_log_seconds, _CALL_LOG_SECONDS)

    @property
    def retry_milliseconds(self) -> int:
        """`retry_seconds` as event streams say it (`retry`)."""
        return round(self.retry_seconds * 1000)

    @property
    def most_drain_seconds(self) -> float:
        """`drain_seconds`, or what it is where nobody has set it."""
        return DRAIN_SECONDS if self.drain_seconds is None else self.drain_seconds

    @property
    def last_answers_seconds(self) -> float:
        """How long a node that has given everything away waits for its peers to answer what it passed on to them."""
        return min(self.most_drain_seconds, _LAST_ANSWERS_SECONDS)

    def most_stop_seconds(self, stop_seconds: float) -> float:
        """The longest that a node takes to stop, from the signal on, but for a second or two.

        Args:
            stop_seconds: `--stop-seconds`.
        """
        drain_seconds = stop_seconds if self.drain_seconds is None else self.drain_seconds
        last_answers_seconds = min(drain_seconds, _LAST_ANSWERS_SECONDS)
        return max(drain_seconds + self.ingress_seconds + last_answers_seconds, stop_seconds)

    def revives(self, endpoint: str) -> bool:
        """Whether sessions of this endpoint outlive their node."""
        chosen = dict(part.rpartition("=")[::2] for part in self.on_node_loss.split(","))
        patterns = (path for path in chosen if "{" in path and Endpoints((path,), finds=False).of(endpoint) == endpoint)
        path = endpoint if endpoint in chosen else next(patterns, "")
        return chosen.get(path, "revive") == "revive"
