"""The nouns of a cluster: nodes with their leases, shards with their owners, sessions with their records.

A node's states, and who may follow whom:

    state      means                                         next
    starting   registered, the app is not up yet             ready, gone
    ready      serves, and takes new sessions                degraded, draining, gone
    degraded   as ready, but Redis does not answer           ready, draining, gone
    draining   serves what it has, takes nothing new         gone
    gone       said goodbye                                  -
    unknown    says something that does not read here        gone

`gone` is written at a node's own goodbye. A node that died without one has a lease that is over: by itself, or at once
where its parent process saw it end. `unknown` is never written: it is what a reader makes of an entry that it cannot
read, such as a newer version's. Such a node lives as long as its lease, and takes no new sessions from here.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from mooring.errors import IllegalMove


class NodeState(enum.StrEnum):
    """Where a node is in its life; see the table above."""

    STARTING = "starting"
    READY = "ready"
    DEGRADED = "degraded"
    DRAINING = "draining"
    GONE = "gone"
    UNKNOWN = "unknown"


NODE_MOVES: Final[Mapping[NodeState, frozenset[NodeState]]] = {
    NodeState.STARTING: frozenset({NodeState.READY, NodeState.GONE}),
    NodeState.READY: frozenset({NodeState.DEGRADED, NodeState.DRAINING, NodeState.GONE}),
    NodeState.DEGRADED: frozenset({NodeState.READY, NodeState.DRAINING, NodeState.GONE}),
    NodeState.DRAINING: frozenset({NodeState.GONE}),
    NodeState.GONE: frozenset(),
    NodeState.UNKNOWN: frozenset({NodeState.GONE}),
}


def move(current: NodeState, following: NodeState) -> NodeState:
    """`following`, if a node may go there from `current`.

    Raises:
        IllegalMove: the table does not know the move.
    """
    if following not in NODE_MOVES[current]:
        raise IllegalMove(f"a node that is {current} cannot become {following}")
    return following


TAKES_NEW_SESSIONS: Final = frozenset({NodeState.READY, NodeState.DEGRADED})


@dataclass(frozen=True, slots=True)
class Counters:
    """What a node did since it started.

    Attributes:
        served, forwarded_in, forwarded_out, refused: requests on the MCP path: handed to the app, from and to peers,
            and refused, by reason.
        adopted: shards taken over from nodes that are dead.
        revived: sessions opened again from their records.
        outcomes: calls that were running when their node died, by what became of them.
        streams_open, streams_kept: event streams that are under way now; and those that a client can come back to now,
            these included.
    """

    served: int = 0
    forwarded_in: int = 0
    forwarded_out: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)
    adopted: int = 0
    revived: int = 0
    outcomes: Mapping[str, int] = field(default_factory=dict)
    streams_open: int = 0
    streams_kept: int = 0


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """What a node says of itself, renewed with each heartbeat.

    Attributes:
        id: of this one process: `<name>-<5 letters>`. A node that is restarted has a new id.
        name: what the operator calls it; stays the same over restarts.
        url: where its peers reach it, without a path; and everybody else, as long as `client_url` does not differ.
        capacity: the most sessions that it wants to hold.
        secret_id: fingerprints of the cluster's secrets, joined by commas, which show nodes that cannot understand each
            other: see `share_secrets`.
        started: seconds since the epoch, by the node's own clock; for people, and for all to name the same node as the
            oldest (`mooring.core.one_node`).
        endpoints: the paths and patterns of the MCP endpoints that it knows; none from versions that know one alone.
        client_url: where clients and the ingress reach it, if not at `url`, which then is a port for peers alone.
            Other processes may answer there, too. "" where the node cannot know it.
        peer_link: whether peers pass requests on to its `url` (direct), through Redis (redis), or either (auto).
        relayed_to: the ids of those peers that it found out to be reached through Redis alone, where it is auto.
    """

    id: str
    name: str
    url: str
    pid: int
    state: NodeState
    sessions: int
    capacity: int
    version: str
    secret_id: str
    started: float
    endpoints: tuple[str, ...] = ()
    counters: Counters = field(default_factory=Counters)
    client_url: str | None = None
    peer_link: str = "direct"
    relayed_to: tuple[str, ...] = ()

    @property
    def has_a_way(self) -> bool:
        """Whether anything can be passed on to it. Not so of a node of which little can be read."""
        return bool(self.url) or self.peer_link != "direct"

    @property
    def url_for_clients(self) -> str:
        """ "" where it is not known."""
        return self.url if self.client_url is None else self.client_url


def unknown_node(node_id: str) -> NodeInfo:
    """A node of which nothing is known but its id: it has no URL, so nothing can be passed on to it."""
    return NodeInfo(
        id=node_id,
        name=node_id.rpartition("-")[0] or node_id,
        url="",
        pid=0,
        state=NodeState.UNKNOWN,
        sessions=0,
        capacity=1,
        version="",
        secret_id="",
        started=0.0,
    )


def share_secrets(one: str, other: str) -> bool:
    """Whether two nodes understand each other, by their `secret_id`; one that says nothing is not judged.

    They do where each knows the secret that the other one signs with: the first of its own.
    """
    ours, theirs = one.split(","), other.split(",")
    return "" in (one, other) or (ours[0] in theirs and theirs[0] in ours)


@dataclass(frozen=True, slots=True)
class Lease:
    """A node's claim to be alive.

    Attributes:
        until_ms: when it ends, in milliseconds since the epoch by the store's clock; 0 once the node said goodbye, or
            was seen to end. That is final: the id is used up.
        renewed_ms: when it was last renewed, by the same clock.
        is_over: whether it had ended at the moment of the snapshot that it is in. That alone says so: a store need not
            tell anew of leases that were merely renewed, so the two times may be those of an earlier snapshot.
    """

    node: NodeInfo
    until_ms: int
    renewed_ms: int
    is_over: bool = False


@dataclass(frozen=True, slots=True)
class ShardOwner:
    """Who owns a shard. The epoch grows with each change of owner, which tells the new owner apart from older ones."""

    node_id: str
    epoch: int


NO_OWNER: Final = ShardOwner("", 0)
"""What the store answers of a shard that has none."""

CHANGES_PER_LIFE: Final = 1_000_000
"""After more changes than that, a store is taken for another one; all that follows is a grace."""


def life_of(version: int) -> int:
    """Which filling of the store a version of its shards belongs to."""
    return version // CHANGES_PER_LIFE


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the store knew at one moment.

    Attributes:
        now_ms: that moment, by the store's clock.
        version: of the shards; 0 while there never were any. It starts at the second in which the shards were first
            written times `CHANGES_PER_LIFE`, and grows by one with each change: so it never comes again in a store that
            was emptied and filled again, and such a store can be recognised (`life_of`).
        mark: the store's own note of how far this goes: given back with the next question, only what changed since need
            be told (`mooring.core.changes`). Empty where it has none.
    """

    now_ms: int
    version: int
    leases: Mapping[str, Lease]
    shards: Mapping[str, ShardOwner]
    mark: str = ""


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """What the cluster knows of a session: enough to say where it lives, and later to open it again elsewhere.

    Attributes:
        node_id: the node that it was opened on.
        created: seconds since the epoch.
        last_seen: seconds since the epoch; renewed at most once a minute.
        principal: whose it is (`mooring.node.requests.principal`), "" for nobody's: the app does not authenticate, or
            nobody has signed in yet.
        protocol: the negotiated protocol revision, "" where the answer did not say.
        client: name and version, as the client says: foreign text.
        initialize: the client's `initialize` message, as it came; empty where it was too large to keep, so that the
            session cannot be opened again elsewhere.
        epoch: of the session's shard, as its writer held it. Who holds a lower one may not write the record any more.
            0 in records of versions that did not keep it.
        endpoint: the path of the MCP endpoint that it was opened at; "" in records of versions that did not keep it.
        incarnation: how often it was revived.
        log_level: what the client asked for last (`logging/setLevel`), "" where it did not.
        subscriptions: the URIs of resources that it asked to be told of.
        has_stream: it has, or had, a GET open for what the server says by itself.
        homes: the nodes that it lived on last, this one included, and since when, in seconds since the epoch.
    """

    id: str
    node_id: str
    created: float
    last_seen: float
    principal: str = ""
    protocol: str = ""
    client: str = ""
    initialize: bytes = b""
    epoch: int = 0
    endpoint: str = ""
    incarnation: int = 0
    log_level: str = ""
    subscriptions: tuple[str, ...] = ()
    has_stream: bool = False
    homes: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Touch:
    """A session was seen, on the node that holds its shard at `epoch`."""

    session_id: str
    epoch: int
    last_seen: float


class Written(enum.Enum):
    """What became of a write to a session's record.

    A record, and the mark that a removed one leaves for a while, is of an epoch. Whoever writes with a lower one is
    refused: the shard has had another owner since. What was removed stays removed for a writer of the same epoch, too.
    """

    DONE = 1
    MISSING = 0
    """There was no record to renew or remove."""
    REFUSED = -1
