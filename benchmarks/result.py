"""What a benchmark gives back: a table for its readers, and the figures that have a target."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of some rounds; least and most are its noise."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        measured = list(values)
        return cls(statistics.median(measured), min(measured), max(measured))

    def text(self, digits: int = 2) -> str:
        return f"{self.median:,.{digits}f}"

    def noise(self, digits: int = 2) -> str:
        return f"{self.least:,.{digits}f} to {self.most:,.{digits}f}"


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` of the values do not exceed."""
    return sorted(values)[math.ceil(len(values) * share) - 1]


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured quantity.

    Attributes:
        bound: `floor`: the target is at least `target`; `ceiling`: at most.
    """

    name: str
    measured: Spread
    unit: str
    bound: Literal["floor", "ceiling"]
    target: float
    digits: int = 2

    @property
    def holds(self) -> bool:
        """Whether the median is on the right side of the target."""
        if self.bound == "floor":
            return self.measured.median >= self.target
        return self.measured.median <= self.target


@dataclass(slots=True)
class Result:
    """One benchmark's table, and what of it goes into the summary."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    caption: str = ""

    def add_row(self, label: str, measured: Spread, digits: int = 2) -> None:
        """A row of label, median and noise."""
        self.rows.append((label, measured.text(digits), measured.noise(digits)))
