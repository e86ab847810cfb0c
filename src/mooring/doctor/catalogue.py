"""Every check, in the order in which they run and are shown."""

from __future__ import annotations

from typing import Final

from mooring.doctor.check import Check
from mooring.doctor.checks import (
    affinity,
    body_limit,
    buffering,
    compression,
    cookie,
    deleted_session,
    eras,
    forged_session,
    host,
    idle,
    modern_headers,
    node_loss,
    origin,
    principals,
    resumption,
    spread,
    unknown_session,
)

CHECKS: Final[tuple[Check, ...]] = (
    eras.CHECK,
    affinity.CHECK,
    cookie.CHECK,
    spread.CHECK,
    unknown_session.CHECK,
    deleted_session.CHECK,
    forged_session.CHECK,
    principals.CHECK,
    buffering.CHECK,
    idle.CHECK,
    resumption.CHECK,
    compression.CHECK,
    origin.CHECK,
    host.CHECK,
    body_limit.CHECK,
    modern_headers.CHECK,
)

WATCH: Final = node_loss.CHECK
"""Takes the place of all others, where it is asked for."""
