"""What a node counts of its own work, for `mooring status`."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from mooring.core.model import Counters


@dataclass(slots=True)
class Tally:
    """See `mooring.core.model.Counters`."""

    served: int = 0
    forwarded_in: int = 0
    forwarded_out: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    adopted: int = 0
    revived: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)

    def counters(self, streams_open: int = 0, streams_kept: int = 0) -> Counters:
        return Counters(
            self.served,
            self.forwarded_in,
            self.forwarded_out,
            dict(self.refused),
            self.adopted,
            self.revived,
            dict(self.outcomes),
            streams_open,
            streams_kept,
        )
