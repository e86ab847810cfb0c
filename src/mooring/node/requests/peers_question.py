"""A peer that cannot renew its lease asks whether we can, and whose its shards are by now."""

from __future__ import annotations

import logging

from mooring.asgi import App, Receive, Scope, Send, request_header, respond, route_of
from mooring.core.request import CLIENT_HEADER, PEER_HEADER, read_facts
from mooring.core.standing import QUESTION_PATH, YOURS_IS_OVER, PeerWord, encode_word
from mooring.errors import SignatureError
from mooring.node.node import Node
from mooring.node.requests.from_peer import PeerRequest

logger = logging.getLogger("mooring.lease")


def is_question(scope: Scope) -> bool:
    """Whether this may be such a question; anyone can write one, so who asks is checked by `answer_question`.

    What a client asks at that path, and a peer passes on, is none: a peer says of whom that is.
    """
    headers = scope["headers"]
    is_peers_own = request_header(headers, PEER_HEADER) is not None and request_header(headers, CLIENT_HEADER) is None
    return is_peers_own and QUESTION_PATH in (scope["path"], route_of(scope))


async def answer_question(node: Node, app: App, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a peer; one that no peer has signed is the app's, as any request on a path that is not ours."""
    request = PeerRequest(node.id, node.peer_keys, scope, receive, send)
    asked_for = scope.get("query_string", b"").decode("latin-1").split("+")
    accept = node.claims.accept if YOURS_IS_OVER in asked_for else node.claims.accept_of_any_time
    try:
        request.verify(read_facts(scope["method"], scope["headers"]), accept)
    except SignatureError as error:
        logger.debug("not a peer's question: %s", error)
        await app(scope, receive, send)
        return
    can_renew = await node.keeper.renew.join()  # quickly: the peer's lease is about to end
    if YOURS_IS_OVER in asked_for and not can_renew:
        node.keeper.was_told_that_it_is_over()
    owners = {shard: node.membership.owner_of(shard) for shard in asked_for}
    known = {shard: owner for shard, owner in owners.items() if owner is not None}
    word = encode_word(PeerWord(can_renew, known, round(node.cluster_time() * 1000)))
    mac = request.mac_over_word()
    mac.update(word)
    await respond(request.send, 200, word + mac.digest(), b"application/octet-stream")
