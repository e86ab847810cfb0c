"""What peers have claimed of themselves on this node: each is taken once, and none that is not of now."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from mooring.core.signing import NonceWindow, PeerClaim


class PeerClaims:
    """
    Args:
        cluster_time: seconds since the epoch, as every node has them.
    """

    def __init__(self, max_age_seconds: float, cluster_time: Callable[[], float]) -> None:
        max_age_ms = round(max_age_seconds * 1000)
        self._cluster_time = cluster_time
        self._nonces, self._asked = NonceWindow(max_age_ms), NonceWindow(max_age_ms)

    def accept(self, claim: PeerClaim) -> None:
        """
        Raises:
            SignatureError: it is not of now, or was accepted before.
        """
        self._nonces.accept(claim, round(self._cluster_time() * 1000), _steady_ms())

    def accept_of_any_time(self, claim: PeerClaim) -> None:
        """The same for what does no harm whenever it is asked: whoever cannot renew its lease has the time of the store
        as it was, and not of another that has taken its place since.

        Raises:
            SignatureError: it was accepted before, a moment ago.
        """
        now_ms = _steady_ms()
        self._asked.accept(replace(claim, time_ms=now_ms), now_ms, now_ms)


def _steady_ms() -> int:
    return round(time.monotonic() * 1000)
