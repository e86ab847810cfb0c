"""What a node takes of its peers, by two clocks."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from mooring.core.signing import NO_BODY, PeerClaim
from mooring.errors import SignatureError
from mooring.node.peer_claims import PeerClaims

NOW = 1_800_000_000.0


def a_claim(seconds_ago: float = 0.0, nonce: str = "n" * 22) -> PeerClaim:
    return PeerClaim("node-1-aaaaa", "node-2-aaaaa", round((NOW - seconds_ago) * 1000), nonce, "", NO_BODY)


def test_a_claim_is_taken_once_and_only_while_it_is_of_now() -> None:
    claims = PeerClaims(30, lambda: NOW)
    claims.accept(a_claim())
    with pytest.raises(SignatureError, match="used before"):
        claims.accept(a_claim())
    for seconds_ago in (31, -31):
        with pytest.raises(SignatureError, match="by its clock"):
            claims.accept(a_claim(seconds_ago, "m" * 22))


def test_what_does_no_harm_is_taken_once_whatever_its_date() -> None:
    claims = PeerClaims(30, lambda: NOW)
    claims.accept_of_any_time(a_claim(3600))
    with pytest.raises(SignatureError, match="used before"):
        claims.accept_of_any_time(a_claim(-3600))
    claims.accept(a_claim())  # its name counts for questions alone


def test_a_clock_that_was_set_forward_makes_nothing_new(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster, steady = [NOW], [1_000.0]
    monkeypatch.setattr(time, "monotonic", lambda: steady[0])
    claims = PeerClaims(30, lambda: cluster[0])
    claims.accept(a_claim())
    cluster[0] += 120
    with pytest.raises(SignatureError, match="used before"):
        claims.accept(replace(a_claim(), time_ms=round(cluster[0] * 1000)))
    steady[0] += 120
    claims.accept(replace(a_claim(), time_ms=round(cluster[0] * 1000)))
