"""Where a session lives: its record joined with the node that holds it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from mooring.core.ids import brief
from mooring.core.model import SessionRecord
from mooring.core.text import plain
from mooring.store.registry import OVER, NodeStatus

_LAST: Final = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()


@dataclass(frozen=True, slots=True)
class LocatedSession:
    """
    Attributes:
        node: None where the registry has forgotten it.
        running: the calls that are under way on it, where the secret is known that they are sealed with.
    """

    record: SessionRecord
    node: NodeStatus | None
    running: list[str] = field(default_factory=list)

    @property
    def is_alive(self) -> bool:
        return self.node is not None and self.node.state not in OVER

    @property
    def node_name(self) -> str:
        return plain(self.node.info.name if self.node else self.record.node_id)

    @property
    def client(self) -> str:
        return plain(self.record.client)

    @property
    def principal(self) -> str:
        """Subject, client and issuer, as far as the app's authentication named them."""
        try:
            issuer, subject, client = json.loads(self.record.principal)
        except (ValueError, TypeError, RecursionError):
            return plain(self.record.principal)
        parts = [subject, f"through {client}" if client else None, f"at {issuer}" if issuer else None]
        return plain(" ".join(str(part) for part in parts if part))

    def shown_id(self, whole_ids: bool) -> str:
        """Cut short, unless it is asked for whole: it is as good as a password where the app does not authenticate."""
        return self.record.id if whole_ids else brief(self.record.id)

    def as_json(self, whole_ids: bool) -> dict[str, Any]:
        info = self.node.info if self.node else None
        return {
            "id": self.shown_id(whole_ids),
            "node": {
                "id": self.record.node_id,
                "name": info.name if info else None,
                "url": info.url if info else None,
                "state": self.node.state if self.node else None,
                "alive": self.is_alive,
            },
            "created": moment(self.record.created),
            "last_seen": moment(self.record.last_seen),
            "client": self.client,
            "protocol": plain(self.record.protocol),
            "principal": self.principal,
            "incarnation": self.record.incarnation,
            "homes": [{"node": node_id, "since": moment(began)} for node_id, began in self.record.homes],
            "running": self.running,
        }


def join(records: Iterable[SessionRecord], nodes: Iterable[NodeStatus]) -> list[LocatedSession]:
    """Each record with its node."""
    by_id = {node.info.id: node for node in nodes}
    return [LocatedSession(record, by_id.get(record.node_id)) for record in records]


def moment(seconds: float) -> str:
    """Seconds since the epoch as ISO 8601 in UTC; what is before or beyond all that can be written, the nearest."""
    seconds = min(max(seconds, 0.0), _LAST)
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def since(seconds: float) -> float:
    """How long ago a moment was, by this machine's clock."""
    return min(max(0.0, time.time() - seconds), _LAST)
