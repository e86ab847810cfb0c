"""Asking peers whether they can renew their leases, when we cannot renew ours (`mooring.core.standing`).

Signed both ways, and straight from node to node: the store, which they would meet at, is what does not answer.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Collection, Sequence

import aiohttp
from yarl import URL

from mooring.core.model import NodeInfo
from mooring.core.signing import ACCEPTED, BODY_MAC_BYTES, NO_BODY, BodyMac, PeerClaim, sign_request, verify_reply
from mooring.core.standing import QUESTION_PATH, PeerWord, decode_word
from mooring.errors import SignatureError

logger = logging.getLogger("mooring.lease")

_WORD_BYTES = 64 * 1024


class PeerQuestions:
    """
    Args:
        key: for signatures, derived from the cluster secret.
        within_seconds: how long a peer may take: it tries to renew its own lease before it answers.
    """

    def __init__(self, key: bytes, node_id: str, within_seconds: float, now: Callable[[], float] = time.time) -> None:
        self._key = key
        self._node_id = node_id
        self._within_seconds = within_seconds
        self._now = now

    async def ask(self, peers: Sequence[NodeInfo], shards: Collection[str]) -> Sequence[tuple[NodeInfo, PeerWord]]:
        """The words of those who answer in time, and are who they should be."""
        timeout = aiohttp.ClientTimeout(total=self._within_seconds)
        async with aiohttp.ClientSession(timeout=timeout, trust_env=False) as client:
            words = await asyncio.gather(*(self._ask(client, peer, shards) for peer in peers))
        return [(peer, word) for peer, word in zip(peers, words, strict=True) if word is not None]

    async def _ask(self, client: aiohttp.ClientSession, peer: NodeInfo, shards: Collection[str]) -> PeerWord | None:
        nonce = secrets.token_urlsafe(16)
        target = "?".join(filter(None, (QUESTION_PATH, "+".join(sorted(shards)))))
        claim = PeerClaim(self._node_id, peer.id, int(self._now() * 1000), nonce, "", NO_BODY)
        headers = {"Mooring-Peer": sign_request(self._key, claim, "GET", target.encode(), None)}
        try:
            url = URL(peer.url + target, encoded=True)
            async with client.get(url, headers=headers, allow_redirects=False) as answer:
                text = await answer.content.read(_WORD_BYTES)
            verdict = verify_reply(self._key, answer.headers.get("Mooring-Reply", ""), nonce, peer.id, answer.status)
            if verdict != ACCEPTED:
                raise SignatureError(f"it was {verdict}")
            return decode_word(self._verified(text, nonce))
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, SignatureError) as error:
            logger.debug("no word from node %s: %s", peer.id, str(error) or type(error).__name__)
            return None

    def _verified(self, text: bytes, nonce: str) -> bytes:
        word, given = text[:-BODY_MAC_BYTES], text[-BODY_MAC_BYTES:]
        mac = word_mac(self._key, nonce)
        mac.update(word)
        if not mac.matches(given):
            raise SignatureError("its word is not what it said")
        return word


def word_mac(key: bytes, nonce: str) -> BodyMac:
    """For what a peer answers to the question with this nonce."""
    return BodyMac(key, f"{nonce} word")
