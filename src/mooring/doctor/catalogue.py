"""Every check, in the order in which they run and are shown."""

from __future__ import annotations

from typing import Final

from mooring.doctor.check import Check
from mooring.doctor.checks import affinity, eras, node_loss

CHECKS: Final[tuple[Check, ...]] = (
    eras.CHECK,
    affinity.CHECK,
)

WATCH: Final = node_loss.CHECK
"""Takes the place of all others, where it is asked for."""

NAMES: Final = frozenset(check.name for check in CHECKS)
