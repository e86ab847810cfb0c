"""The secrets of a cluster: which of them a node has, and whether it is the cluster's."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable

from mooring.core.ids import derive_key
from mooring.core.model import NodeInfo, share_secrets
from mooring.errors import SettingsError
from mooring.settings import Settings


def cluster_secrets(settings: Settings) -> tuple[str, ...]:
    """Those of the settings, the first one signs; one of its own for a node that shares nothing.

    Raises:
        SettingsError: there is none, and others have to know it.
    """
    if settings.secrets:
        return settings.secrets
    if settings.redis_url is None:
        return (secrets.token_hex(32),)
    raise SettingsError(
        "secret", None, "needed with redis_url, the same on every node; `openssl rand -hex 32` makes a good one"
    )


def fingerprint(secrets_known: Iterable[str]) -> str:
    """What tells them from others, and does not tell them."""
    return ",".join(hashlib.sha256(derive_key(one, "fingerprint")).hexdigest()[:8] for one in secrets_known)


def check_secrets(alive: Iterable[NodeInfo], own: str) -> None:
    """
    Args:
        alive: the nodes of the cluster.
        own: the fingerprint of this one's.

    Raises:
        SettingsError: others have other secrets.
    """
    # A node whose entry does not read has no fingerprint.
    others = {info.name for info in alive if not share_secrets(info.secret_id, own)}
    if others:
        raise SettingsError(
            "secret",
            "(hidden)",
            f"not the one that {', '.join(sorted(others))} has; a cluster has one secret, or while it is changed "
            "each node knows the first one of every other",
        )
