"""What a node counts of its own work, for `mooring status`."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from mooring.core.model import Counters


@dataclass(slots=True)
class Tally:
    """Requests on the MCP path since the start: handed to the app here, from and to peers, and refused by reason."""

    served: int = 0
    forwarded_in: int = 0
    forwarded_out: int = 0
    refused: Counter[str] = field(default_factory=Counter)

    def counters(self) -> Counters:
        return Counters(self.served, self.forwarded_in, self.forwarded_out, dict(self.refused))
