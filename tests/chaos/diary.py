"""What a client knows of the state that its server keeps of its session, and whether it is right."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Diary:
    """What one client knows of its session.

    Attributes:
        entries: those whose call was answered.
        unknown, cut: those whose node died before it had answered with a byte, so that the client has nothing to come
            back with: as the node said that had passed the request on, or whoever balances the load.
    """

    entries: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    cut: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    calls: int = 0

    @property
    def counts(self) -> tuple[int, int, int]:
        """Its calls; and how many of them nobody knows of, or were cut."""
        return self.calls, len(self.unknown), len(self.cut)

    def verdict(self, state: dict[str, Any]) -> list[str]:
        """What is not right; empty where each call is there once, and each that was answered is there."""
        kept = state.get("kept", {}).get("entries", [])
        wrong = list(self.wrong)
        wrong += [f"{entry} is there {times} times" for entry, times in Counter(kept).items() if times > 1]
        wrong += [f"{entry} was answered, and is lost" for entry in self.entries if entry not in kept]
        wrong += [f"{entry} is nobody's" for entry in kept if entry not in {*self.entries, *self.unknown, *self.cut}]
        if state.get("count", 0) != len(kept):
            wrong.append(f"counted {state.get('count')} of {len(kept)}")
        if [entry for entry in kept if entry in self.entries] != self.entries:
            wrong.append("out of order")
        return wrong
