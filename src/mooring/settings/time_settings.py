"""How long things may take, and how long they are kept: leases, records, requests between nodes."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field


class TimeSettings(BaseModel):
    """Times, in seconds."""

    heartbeat_seconds: float = Field(0.5, gt=0, le=60, description="Time between two renewals of the node's lease.")
    lease_seconds: float = Field(
        5.0,
        gt=0,
        le=600,
        description="A node that has not renewed its lease for this long is dead; at least two heartbeats.",
    )
    hang_seconds: float = Field(
        30.0,
        gt=0,
        le=3600,
        description="A node whose event loop is blocked counts as busy, and keeps its lease, for this long. After "
        "that it counts as hung, and its lease ends.",
    )
    when_isolated: Literal["stop", "go_on"] = Field(
        "stop",
        description="What a node does whose lease ends while neither Redis nor enough of its peers answer, so that it "
        "cannot know whether they go on without it: stop serving, or go on, and risk that a session lives twice.",
    )
    session_ttl_seconds: int = Field(
        30 * 24 * 3600,
        ge=60,
        le=10 * 365 * 24 * 3600,
        description="How long the record of a session that nobody uses stays in Redis.",
    )
    touch_seconds: float = Field(
        60.0,
        ge=0,
        le=24 * 3600,
        description="A session's record is renewed at most this often, in one batch with the heartbeat; more often "
        "where session_ttl_seconds is less than twice as long.",
    )
    forget_seconds: float = Field(
        24 * 3600.0,
        gt=0,
        le=365 * 24 * 3600.0,
        description="How long a dead node and its shards are remembered, to answer owner_lost for them.",
    )
    redis_timeout_seconds: float = Field(
        1.0, gt=0, le=30, description="How long Redis may take for one answer before it counts as away."
    )
    connect_seconds: float = Field(
        1.0, gt=0, le=60, description="How long a peer may take to accept a forwarded request's connection."
    )
    hold_seconds: float = Field(
        10.0,
        ge=0,
        le=300,
        description="How long a request is held while the node that owns its session does not answer though its lease "
        "lives, before it is answered unreachable.",
    )
    held_requests: int = Field(
        2000,
        ge=0,
        le=1_000_000,
        description="How many requests a node holds like this at the same time; beyond that they are answered "
        "unreachable at once.",
    )
    peer_age_seconds: float = Field(
        30.0, gt=0, le=600, description="How old a signed peer request may be, by the clock of Redis."
    )
