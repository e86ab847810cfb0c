"""A cluster has one secret, or while it is changed all nodes know each other's first one; nobody else learns it."""

from __future__ import annotations

import hashlib
import re

import pytest

from mooring import Settings
from mooring.core.model import NodeInfo, NodeState
from mooring.errors import SettingsError
from mooring.node.cluster_secrets import check_secrets, cluster_secrets, fingerprint

ONE, OTHER = "a secret for tests, nowhere else", "another secret for tests, nowhere else"


def node(name: str, *secrets: str) -> NodeInfo:
    return NodeInfo(
        f"{name}-aaaaa", name, "http://node", 1, NodeState.READY, 0, 1, "1", secret_id=fingerprint(secrets), started=0.0
    )


def test_a_secret_is_known_by_a_fingerprint_that_does_not_tell_it() -> None:
    assert fingerprint([ONE]) == fingerprint([ONE]) != fingerprint([OTHER])
    assert re.fullmatch(r"[0-9a-f]{8}", fingerprint([ONE]))
    assert not hashlib.sha256(ONE.encode()).hexdigest().startswith(fingerprint([ONE]))


def test_nodes_that_share_redis_have_to_be_given_one() -> None:
    assert cluster_secrets(Settings.load(secret=ONE)) == (ONE,)
    assert cluster_secrets(Settings.load()) != cluster_secrets(Settings.load())
    with pytest.raises(SettingsError, match="needed with redis_url"):
        cluster_secrets(Settings.load(redis_url="redis://127.0.0.1:1"))


def test_who_has_another_one_is_named() -> None:
    alive = [node("node-1", ONE), node("node-2", OTHER), node("node-3", OTHER)]
    with pytest.raises(SettingsError, match="not the one that node-2, node-3 has"):
        check_secrets(alive, fingerprint([ONE]))
    check_secrets([node("node-1", ONE), node("node-2", OTHER, ONE)], fingerprint([ONE, OTHER]))
