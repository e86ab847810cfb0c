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
    cors,
    deleted_session,
    eras,
    forged_session,
    host,
    idle,
    modern_clients,
    modern_headers,
    node_loss,
    old_transport,
    openings,
    origin,
    pause,
    principals,
    resumption,
    speed,
    spread,
    state,
    unknown_session,
)

CHECKS: Final[tuple[Check, ...]] = (
    eras.CHECK,
    openings.CHECK,
    affinity.CHECK,
    cookie.CHECK,
    spread.CHECK,
    unknown_session.CHECK,
    deleted_session.CHECK,
    forged_session.CHECK,
    principals.CHECK,
    buffering.CHECK,
    idle.CHECK,
    pause.CHECK,
    resumption.CHECK,
    compression.CHECK,
    origin.CHECK,
    cors.CHECK,
    host.CHECK,
    body_limit.CHECK,
    speed.CHECK,
    modern_headers.CHECK,
    modern_clients.CHECK,
    state.CHECK,
    old_transport.CHECK,
)

WATCH: Final = node_loss.CHECK
"""Takes the place of all others, where it is asked for."""
