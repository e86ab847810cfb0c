"""A request that says a peer passed it on: verified, unwrapped to what the client sent, and its answer signed."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Sequence

from mooring.asgi import Message, Receive, Scope, Send, has_body, off_root, request_header, respond, target_of
from mooring.core.model import ShardOwner
from mooring.core.passed_on import PassedOn, decode
from mooring.core.request import CLIENT_HEADER, REPLY_HEADER, RequestFacts, tidied
from mooring.core.routing import Reason
from mooring.core.signing import (
    ACCEPTED,
    BODY_MAC_BYTES,
    REFUSED,
    SEEN,
    SIGNED_BODY,
    BodyMac,
    PeerClaim,
    moved_to,
    sign_reply,
    verify_request,
)
from mooring.errors import RequestSeen, SignatureError
from mooring.node.links.asking import word_mac
from mooring.node.requests.answers import refuse
from mooring.node.requests.bodies import SignedBody

logger = logging.getLogger("mooring.routing")


class PeerRequest:
    """One such request.

    Args:
        keys: of which one has signed it, if it is a peer's; the answer is signed with the same.

    Attributes:
        scope, receive: once it is verified, the request as the client sent it.
    """

    def __init__(self, node_id: str, keys: Sequence[bytes], scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.receive = receive
        self._node_id = node_id
        self._keys = keys
        # The one that it was signed with, once that is known.
        self._key = keys[0]
        self._send = send
        # Known once the signature was found right; until then no answer of ours can be bound to the request.
        self._nonce = ""
        # What our answer says of the request: see `mooring.core.signing`.
        self._verdict = REFUSED
        self._body: SignedBody | None = None
        # Whether an answer has begun; and whether it is our refusal of a forged body, so that the app's is dropped.
        self._has_begun = False
        self._withheld = False

    def verify(self, facts: RequestFacts, accept: Callable[[PeerClaim], None]) -> PeerClaim:
        """What the peer claims, if it is true, recent and not used before.

        Args:
            accept: raises where it is not recent or was used before.

        Raises:
            RequestSeen: it was used before; the caller has to say so.
            SignatureError: why not; the caller has to refuse the request.
        """
        claim = self._verify_target(facts)
        self._nonce = claim.nonce
        said = request_header(self.scope["headers"], CLIENT_HEADER)
        passed_on = None if said is None else decode(self._key, claim.nonce, said.decode("latin-1"))
        if claim.body != SIGNED_BODY and has_body(self.scope["headers"]):
            raise SignatureError("a body that its sender did not announce")
        try:
            accept(claim)
        except RequestSeen:
            self._verdict = SEEN
            raise
        self._verdict = ACCEPTED
        if claim.body == SIGNED_BODY:
            self._body = SignedBody(self.receive, BodyMac(self._key, claim.nonce))
            self.receive = self._body.receive
        self.scope = _as_from_client(self.scope, claim, passed_on)
        return claim

    def _verify_target(self, facts: RequestFacts) -> PeerClaim:
        """The claim. A server that puts `root_path` before each path has put it before the peer's, which had it."""
        below = off_root(self.scope)
        try:
            return self._verify_for(facts, self.scope)
        except SignatureError:
            if below is None:
                raise
        claim = self._verify_for(facts, below)
        self.scope = below
        return claim

    def _verify_for(self, facts: RequestFacts, scope: Scope) -> PeerClaim:
        """The claim, by the first key that it was signed with; what is said of one that was not is the last key's."""
        *others, last = self._keys
        for key in others:
            with contextlib.suppress(SignatureError):
                return self._verify_with(key, facts, scope)
        return self._verify_with(last, facts, scope)

    def _verify_with(self, key: bytes, facts: RequestFacts, scope: Scope) -> PeerClaim:
        target = target_of(scope)
        claim = verify_request(key, facts.peer or "", facts.method, target, facts.session_id, recipient=self._node_id)
        self._key = key
        return claim

    def mac_over_word(self) -> BodyMac:
        """For what answers a peer's question, once it is verified."""
        return word_mac(self._key, self._nonce)

    async def send(self, message: Message) -> None:
        """Send the answer, signed; or a refusal in its place where the body turned out to be forged."""
        if message["type"] == "http.response.start":
            await self.finish()
            self._has_begun = True
            if not self._withheld and self._nonce:  # else it is anybody's, who need not know which node this is
                reply = sign_reply(self._key, self._nonce, self._node_id, self._verdict, message["status"])
                message = {**message, "headers": [*message.get("headers", []), (REPLY_HEADER, reply.encode())]}
        if not self._withheld:
            await self._send(message)

    async def send_moved(self, owner: ShardOwner | None) -> None:
        """Say that the shard is another node's. Nothing was carried out."""
        self._verdict = moved_to(owner)
        await refuse(self.send, Reason.MISROUTED)

    async def send_failure(self) -> None:
        """What the server answers for an app that raised, or said nothing, but signed: else the peer takes it for a
        stranger's."""
        if not self._has_begun:
            await respond(self.send, 500, b"Internal Server Error")

    async def finish(self) -> None:
        """Refuse a request whose body was found forged, whether the app answers what it saw of it or not.

        An app that answered before it had read the whole body said nothing of what was forged: its answer stands.
        """
        if self._body is not None and self._body.is_forged and not self._withheld and not self._has_begun:
            self._withheld = True
            logger.warning(
                "refused a peer request: its body is not what the peer sent; let nothing between nodes change bodies "
                "(advertise_url, peer_host)"
            )
            await refuse(self._send, Reason.SIGNATURE)


def _as_from_client(scope: Scope, claim: PeerClaim, passed_on: PassedOn | None) -> Scope:
    """The scope as it was where the client came to; and with the length of the client's own body."""
    headers = tidied(scope["headers"])
    # What the owner's server offers beyond answers (trailers, early hints, its own TLS) ends at the peer.
    scope = {name: value for name, value in scope.items() if name != "extensions"}
    if passed_on is None:
        if claim.body == SIGNED_BODY:
            headers = [
                (name, b"%d" % (int(value) - BODY_MAC_BYTES) if name == b"content-length" else value)
                for name, value in headers
            ]
        return {**scope, "headers": headers}
    told: Scope = {
        **passed_on.routed,
        "headers": passed_on.restored(headers),
        "method": passed_on.method,
        "scheme": passed_on.scheme,
        "http_version": passed_on.http_version,
        "client": passed_on.client,
        "root_path": passed_on.root_path,
    }
    if passed_on.server is not None:
        told["server"] = passed_on.server
    if passed_on.path is not None:
        told["path"] = passed_on.path
    if passed_on.target is not None:
        told["raw_path"], _, told["query_string"] = passed_on.target.partition(b"?")
    return {**scope, **told}
