"""Asking peers whether they can renew their leases, when we cannot renew ours (`mooring.core.standing`).

Signed both ways, and straight from node to node: the store, which they would meet at, is what does not answer. A peer
that is reached through Redis alone is asked there: a node whose lease does not get through may still be heard.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

import aiohttp
from yarl import URL

from mooring.asgi import HeaderList
from mooring.core.model import NodeInfo
from mooring.core.request import PEER_HEADER, REPLY_HEADER
from mooring.core.signing import ACCEPTED, BODY_MAC_BYTES, NO_BODY, BodyMac, PeerClaim, sign_request, verify_reply
from mooring.core.standing import QUESTION_PATH, PeerWord, decode_word
from mooring.errors import PeerSilent, SignatureError

logger = logging.getLogger("mooring.lease")

_WORD_BYTES = 1024 * 1024
"""Of a word about more than ten thousand shards."""


class PeerRelay(Protocol):
    """The way to those peers that are reached through Redis alone."""

    def leads_to(self, peer: NodeInfo) -> bool:
        """Whether the peer is one of them, as far as is known."""
        ...

    async def get(self, peer: NodeInfo, target: str, headers: HeaderList) -> tuple[int, HeaderList, bytes]:
        """Status, headers and body of the peer's answer.

        Raises:
            PeerSilent: there is none.
        """
        ...


class PeerQuestions:
    """
    Args:
        key: for signatures, derived from the cluster secret.
        within_seconds: how long a peer may take: it tries to renew its own lease before it answers.

    Attributes:
        relay: None where every peer is asked at its address.
    """

    def __init__(
        self,
        key: bytes,
        node_id: str,
        within_seconds: float,
        now: Callable[[], float],
    ) -> None:
        self._key = key
        self._node_id = node_id
        self._within_seconds = within_seconds
        self._now = now
        self.relay: PeerRelay | None = None

    async def ask(self, peers: Sequence[NodeInfo], shards: Collection[str]) -> Sequence[tuple[NodeInfo, PeerWord]]:
        """The words of those who answer in time, and are who they should be."""
        timeout = aiohttp.ClientTimeout(total=self._within_seconds)
        async with aiohttp.ClientSession(timeout=timeout, trust_env=False) as client:
            words = await asyncio.gather(*(self._ask(client, peer, shards) for peer in peers))
        return [(peer, word) for peer, word in zip(peers, words, strict=True) if word is not None]

    async def call(self, peer: NodeInfo) -> None:
        """Have a peer answer to its name; a node that calls itself learns whether its address leads to it.

        Raises:
            PeerSilent: nobody answers at its address.
            SignatureError: somebody else does.
        """
        timeout = aiohttp.ClientTimeout(total=self._within_seconds)
        async with aiohttp.ClientSession(timeout=timeout, trust_env=False) as client:
            try:
                await self._answer(client, peer, (), None)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                raise PeerSilent(str(error) or type(error).__name__, may_have_run=False) from error

    async def _ask(self, client: aiohttp.ClientSession, peer: NodeInfo, shards: Collection[str]) -> PeerWord | None:
        relay = self.relay if self.relay is not None and self.relay.leads_to(peer) else None
        try:
            async with asyncio.timeout(self._within_seconds):
                return decode_word(await self._answer(client, peer, shards, relay))
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, SignatureError, PeerSilent) as error:
            logger.debug("no word from node %s: %s", peer.id, str(error) or type(error).__name__)
            return None

    async def _answer(
        self, client: aiohttp.ClientSession, peer: NodeInfo, shards: Collection[str], relay: PeerRelay | None
    ) -> bytes:
        """What the peer says, once it is sure that it was the peer."""
        nonce = secrets.token_urlsafe(16)
        target = "?".join(filter(None, (QUESTION_PATH, "+".join(sorted(shards)))))
        claim = PeerClaim(self._node_id, peer.id, int(self._now() * 1000), nonce, "", NO_BODY)
        signature = sign_request(self._key, claim, "GET", target.encode(), None)
        if relay is not None:
            status, headers, text = await relay.get(peer, target, [(PEER_HEADER, signature.encode())])
            said = dict(headers).get(REPLY_HEADER, b"").decode("latin-1")
        else:
            url = URL(peer.url + target, encoded=True)
            async with client.get(url, headers={"Mooring-Peer": signature}, allow_redirects=False) as answer:
                text = await _read(answer.content)
            status, said = answer.status, answer.headers.get("Mooring-Reply", "")
        try:
            verdict = verify_reply(self._key, said, nonce, peer.id, status)
        except SignatureError as error:
            raise SignatureError(f"HTTP {status}, {error}") from error
        if verdict != ACCEPTED:
            raise SignatureError(f"it was {verdict}")
        return self._verified(text, nonce)

    def _verified(self, text: bytes, nonce: str) -> bytes:
        word, given = text[:-BODY_MAC_BYTES], text[-BODY_MAC_BYTES:]
        mac = word_mac(self._key, nonce)
        mac.update(word)
        if not mac.matches(given):
            raise SignatureError("its word is not what it said")
        return word


async def _read(content: aiohttp.StreamReader) -> bytes:
    """All of an answer, which comes in pieces as the network likes; more than a word may have belongs to none."""
    pieces = bytearray()
    async for piece in content.iter_any():
        pieces += piece
        if len(pieces) > _WORD_BYTES:
            raise SignatureError("its word is longer than any")
    return bytes(pieces)


def word_mac(key: bytes, nonce: str) -> BodyMac:
    """For what a peer answers to the question with this nonce."""
    return BodyMac(key, f"{nonce} word")
