"""A configuration of Traefik, as flags."""

from __future__ import annotations

from typing import Any


def flags_of(configuration: dict[str, Any], prefix: str = "") -> list[str]:
    """In the order in which it has them."""
    flags: list[str] = []
    for name, value in configuration.items():
        if isinstance(value, dict):
            flags += flags_of(value, f"{prefix}{name}.")
        else:
            flags.append(f"--{prefix}{name}={str(value).lower() if isinstance(value, bool) else value}")
    return flags
