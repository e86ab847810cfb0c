"""Which cluster a node belongs to, how it is reached, and how much it takes."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, Field

from mooring.advertised import looked_up
from mooring.errors import SettingsError
from mooring.settings.kinds import (
    Host,
    KeyPrefix,
    NodeName,
    NodeUrl,
    PeerPorts,
    RedisUrl,
    Secret,
    checked_node_url,
    secret_parts,
)
from mooring.settings.platforms import default_node_name


class NodeSettings(BaseModel):
    """The node, and its cluster."""

    redis_url: RedisUrl | None = Field(
        None,
        repr=False,
        description="Redis or Valkey that all nodes share: one server, one behind sentinels (redis+sentinel://) or a "
        "cluster (redis+cluster://). Without it `serve` runs a single node that keeps everything in memory, and `up` "
        "brings a Redis of its own.",
    )
    key_prefix: KeyPrefix = Field(
        "mcp", description="Prefix of every key in Redis; clusters that share a Redis need one each."
    )
    secret: Secret | None = Field(
        None,
        description="Cluster secret, the same on every node: signs session ids and what nodes tell each other, and "
        "encrypts what Redis keeps of sessions. Needed with redis_url. Several, joined by commas or one a line of a "
        "file: the first signs and encrypts, all are accepted.",
    )
    node_name: NodeName = Field(
        default_factory=default_node_name,
        description="What this node is called in tables and logs; by default what the platform calls it (POD_NAME, "
        "CONTAINER_APP_REPLICA_NAME, FLY_MACHINE_ID, K_REVISION), or else the host's name.",
    )
    advertise_url: NodeUrl | None = Field(
        None,
        description="Where peers and the ingress reach this node, such as http://10.0.0.7:8000, http://[fd00::7]:8000, "
        "http://$POD_IP:8000 (a variable) or http://{eth0}:8000 (the address of an interface). `mooring serve` works "
        "it out from the host and port that it listens on. Under another server, peers come to a port of the "
        "process's own where it is not set, and no generated ingress routes to the node.",
    )
    peer_host: Host | None = Field(
        None,
        description="Where a port of the process's own for its peers listens, and is reached; by default the address "
        "from which this machine speaks to Redis.",
    )
    peer_ports: PeerPorts | None = Field(
        None,
        description="Have peers come to a port of the process's own: any free one (any), or the first free one of a "
        "range such as 9000-9015, one for each process. By default only where it is needed: advertise_url is not set, "
        "or several processes share it.",
    )
    peer_link: Literal["direct", "redis", "auto"] = Field(
        "direct",
        description="How requests get from node to node: to the peer's address (direct); through Redis, for platforms "
        "on which nodes cannot reach each other (redis); or to its address where it answers there, else through Redis "
        "(auto).",
    )
    capacity: int = Field(
        10_000,
        ge=1,
        description="How many sessions this node wants to hold; beyond that, new ones go to the least loaded peer.",
    )
    shards: int = Field(8, ge=1, le=64, description="How many fresh shards a node starts with.")
    gc: Literal["server", "python"] = Field(
        "server",
        description="Python's garbage collector in `mooring serve`, once the app has started: set for a server, for "
        "fewer and shorter pauses, or left as Python sets it.",
    )

    def placed(self) -> Self:
        """The same on this machine: with what the names in `advertise_url` stand for.

        Raises:
            SettingsError: one of them stands for nothing here, or for what is no part of a URL.
        """
        if self.advertise_url is None:
            return self
        url = looked_up(self.advertise_url)
        try:
            checked_node_url(url)
        except ValueError as error:
            raise SettingsError("advertise_url", url, str(error)) from error
        return self.model_copy(update={"advertise_url": url})

    @property
    def secrets(self) -> tuple[str, ...]:
        """The cluster secrets: the first signs and seals, all verify and open. None where there is none."""
        return () if self.secret is None else secret_parts(self.secret)

    @property
    def peer_port_range(self) -> range:
        """What `peer_ports` says; 0 is any port."""
        first, _, last = (self.peer_ports or "any").partition("-")
        return range(1) if first == "any" else range(int(first), int(last or first) + 1)
