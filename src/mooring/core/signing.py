"""How one node proves to another that it passes a request on, and the other that it was the one who answered.

The request carries `Mooring-Peer: 1;<from>;<to>;<time, ms>;<nonce>;<principal>;<body>;<mac>`. The MAC (HMAC-SHA256)
covers all of these and the method, the target and the session id. A body is passed on as it comes, so its own MAC
can only follow it: where `<body>` is `signed`, the last 32 bytes of the body are the MAC over the nonce and the rest.
The answer carries `Mooring-Reply: <node id>;<verdict>;<mac>`, the MAC over the request's nonce, the node, the
verdict and the status; so that neither a stranger on the same address nor an old answer is taken for the owner's.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections import deque
from dataclasses import dataclass
from typing import Final, Protocol

from mooring.core.model import ShardOwner
from mooring.errors import RequestSeen, SignatureError

BODY_MAC_BYTES: Final = 32
SIGNED_BODY: Final = "signed"
NO_BODY: Final = "none"
ACCEPTED: Final = "accepted"
"""The answer is the app's, or what the owner says in its place."""
REFUSED: Final = "refused"
"""The signature or its age is wrong; nothing was carried out."""
SEEN: Final = "seen"
"""The same request came before and was accepted then; nobody can say what became of it."""
MOVED: Final = "moved"
"""The shard is not this node's; nothing was carried out. The owner and its epoch follow, as far as they are known."""

_VERSION = "1"
_FORM = re.compile(
    r"1;(?P<sender>[a-z0-9-]{1,80});(?P<recipient>[a-z0-9-]{1,80});(?P<time_ms>\d{1,15});"
    r"(?P<nonce>[A-Za-z0-9_-]{22});(?P<principal>[A-Za-z0-9_-]{0,2048});(?P<body>signed|none);"
    r"(?P<mac>[0-9a-f]{64})",
    re.ASCII,
)
_REPLY = re.compile(
    r"[a-z0-9-]{1,80};(?P<verdict>accepted|refused|seen|moved(:\d{1,16}:[a-z0-9-]{1,80})?);[0-9a-f]{64}", re.ASCII
)


@dataclass(frozen=True, slots=True)
class PeerClaim:
    """What one node says to another about a request that it passes on.

    Attributes:
        time_ms: when it was sent, milliseconds since the epoch by the clock of all nodes, which is the store's.
        nonce: 22 letters, used once.
        principal: who sent it, as far as the sender says; "" from nodes of today. It decides nothing.
        body: `signed` where a body follows with its MAC, else `none`.
    """

    sender: str
    recipient: str
    time_ms: int
    nonce: str
    principal: str
    body: str


def sign_request(key: bytes, claim: PeerClaim, method: str, target: bytes, session_id: str | None) -> str:
    """The value of `Mooring-Peer`."""
    mac = _request_mac(key, claim, method, target, session_id)
    principal = base64.urlsafe_b64encode(claim.principal.encode()).rstrip(b"=").decode()
    return ";".join(
        [_VERSION, claim.sender, claim.recipient, str(claim.time_ms), claim.nonce, principal, claim.body, mac]
    )


def verify_request(
    key: bytes, text: str, method: str, target: bytes, session_id: str | None, *, recipient: str
) -> PeerClaim:
    """The claim in `Mooring-Peer`, if a node of this cluster signed it for `recipient` and this very request.

    Raises:
        SignatureError: why not. Age and nonce are `NonceWindow`'s to check.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise SignatureError("not the form of a peer request")
    padded = match["principal"] + "=" * (-len(match["principal"]) % 4)
    try:
        principal = base64.urlsafe_b64decode(padded).decode()
    except ValueError as error:
        raise SignatureError("not the form of a peer request") from error
    claim = PeerClaim(
        match["sender"], match["recipient"], int(match["time_ms"]), match["nonce"], principal, match["body"]
    )
    if not hmac.compare_digest(text, sign_request(key, claim, method, target, session_id)):
        raise SignatureError("bad signature")
    if claim.recipient != recipient:
        raise SignatureError(f"meant for node {claim.recipient}")
    return claim


def _request_mac(key: bytes, claim: PeerClaim, method: str, target: bytes, session_id: str | None) -> str:
    said = [_VERSION, claim.sender, claim.recipient, str(claim.time_ms), claim.nonce, claim.principal, claim.body]
    parts = [part.encode() for part in [*said, method, session_id or ""]]
    text = b"".join(b"%d:%s," % (len(part), part) for part in [*parts, target])
    return hmac.new(key, b"request " + text, hashlib.sha256).hexdigest()


class BodyMac:
    """The MAC over a body that passes by in pieces."""

    def __init__(self, key: bytes, nonce: str) -> None:
        self._mac = hmac.new(key, b"body " + nonce.encode(), hashlib.sha256)

    def update(self, piece: bytes) -> None:
        self._mac.update(piece)

    def digest(self) -> bytes:
        return self._mac.digest()

    def matches(self, mac: bytes) -> bool:
        return hmac.compare_digest(self._mac.digest(), mac)


def sign_reply(key: bytes, nonce: str, node_id: str, verdict: str, status: int) -> str:
    """The value of `Mooring-Reply`."""
    return f"{node_id};{verdict};{_reply_mac(key, nonce, node_id, verdict, status)}"


def verify_reply(key: bytes, text: str, nonce: str, node_id: str, status: int) -> str:
    """The verdict in `Mooring-Reply`, if `node_id` gave this very answer.

    Raises:
        SignatureError: it did not.
    """
    said = text.encode(errors="surrogatepass")  # foreign bytes reach us as surrogates
    match = _REPLY.fullmatch(text)
    verdict = match["verdict"] if match else ACCEPTED
    if match and hmac.compare_digest(said, sign_reply(key, nonce, node_id, verdict, status).encode()):
        return verdict
    raise SignatureError(f"the answer is not from node {node_id}")


def moved_to(owner: ShardOwner | None) -> str:
    """The verdict that the shard is another node's, as far as is known."""
    return MOVED if owner is None else f"{MOVED}:{owner.epoch}:{owner.node_id}"


def owner_in(verdict: str) -> ShardOwner | None:
    """The owner that a `moved` names; None where it names none."""
    _, _, named = verdict.partition(":")
    epoch, _, node_id = named.partition(":")
    return ShardOwner(node_id, int(epoch)) if node_id else None


def _reply_mac(key: bytes, nonce: str, node_id: str, verdict: str, status: int) -> str:
    said = f"reply {nonce} {node_id} {verdict} {status}"
    return hmac.new(key, said.encode(), hashlib.sha256).hexdigest()


class Dated(Protocol):
    """What is accepted once, and not for long."""

    @property
    def time_ms(self) -> int: ...

    @property
    def nonce(self) -> str: ...


class NonceWindow:
    """Refuses what is too old, and what was used before.

    A nonce is remembered for as long as a claim with it could be accepted, in either direction: clocks may disagree,
    and one that was set back comes to the same times again. And at least for that long by a clock that nobody sets:
    where the other was set forward, what is sent once more under the same name is dated anew.
    """

    def __init__(self, max_age_ms: int) -> None:
        self._max_age_ms = max_age_ms
        self._used: set[str] = set()
        # When each was used, by that clock and by this one.
        self._order: deque[tuple[int, int, str]] = deque()
        # Those of times that are far ahead, since the clock was set back; the earliest first.
        self._ahead: dict[str, int] = {}

    def accept(self, claim: Dated, now_ms: int, steady_ms: int) -> None:
        """
        Args:
            now_ms: by the clock of claims.
            steady_ms: by one that nobody sets.

        Raises:
            SignatureError: the claim is too old, from the future, or repeated.
        """
        age_ms = now_ms - claim.time_ms
        if abs(age_ms) > self._max_age_ms:
            raise SignatureError(f"sent {age_ms / 1000:.1f} s ago by its clock, {self._max_age_ms / 1000:g} s allowed")
        self._forget(now_ms, steady_ms)
        if claim.nonce in self._used or claim.nonce in self._ahead:
            raise RequestSeen("used before")
        self._used.add(claim.nonce)
        self._order.append((steady_ms, now_ms, claim.nonce))

    def _forget(self, now_ms: int, steady_ms: int) -> None:
        long_ms = 2 * self._max_age_ms
        while self._order and steady_ms - self._order[0][0] > long_ms and abs(now_ms - self._order[0][1]) > long_ms:
            _, used_ms, nonce = self._order.popleft()
            self._used.discard(nonce)
            if used_ms > now_ms:
                self._ahead[nonce] = used_ms
        while self._ahead and now_ms - next(iter(self._ahead.values())) > long_ms:
            del self._ahead[next(iter(self._ahead))]
