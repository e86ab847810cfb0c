"""The status page: in JSON, what this node knows of its cluster and counts of its own work.

It is made from memory alone, so it answers while the store is away: the node itself as it is now, its peers as its last
heartbeat found them. Where the store did not answer that heartbeat, `degraded` says so, and the peers are as they were
before.
"""

from __future__ import annotations

import hmac
import json
from typing import Any, Final

from pydantic import SecretStr

from mooring.asgi import HeaderList, Scope, Send, header, respond
from mooring.core.model import NodeInfo
from mooring.node.node import Node
from mooring.store.registry import counters_as_json, node_as_json, state_of

_METHODS: Final = frozenset({"GET", "HEAD"})
_UNAUTHORIZED: Final = b"Send the status token of this cluster (MOORING_STATUS_TOKEN): Authorization: Bearer <token>\n"
_READ_ONLY: Final = b"The status page can only be read: send GET or HEAD.\n"


class StatusPage:
    """Answers anyone who has the token.

    The node does not join its cluster for this: until it has, it says that it is `starting`, and knows only itself.

    Args:
        token: what `Authorization: Bearer` has to carry (RFC 6750, section 2.1).
    """

    def __init__(self, node: Node, token: SecretStr) -> None:
        self._node = node
        self._token = token

    async def answer(self, scope: Scope, send: Send) -> None:
        method: str = scope["method"]
        if method not in _METHODS:
            await respond(send, 405, _READ_ONLY, extra=[(b"allow", b"GET, HEAD")])
        elif not self._is_allowed(scope["headers"]):
            await respond(send, 401, _UNAUTHORIZED, extra=[(b"www-authenticate", b"Bearer")], method=method)
        else:
            await respond(send, 200, json.dumps(self._page()).encode(), b"application/json", method=method)

    def _is_allowed(self, headers: HeaderList) -> bool:
        scheme, _, token = (header(headers, b"authorization") or b"").partition(b" ")
        expected = self._token.get_secret_value().encode()
        return hmac.compare_digest(token.strip(b" "), expected) and scheme.lower() == b"bearer"

    def _page(self) -> dict[str, Any]:
        me = self._node.describe()
        return {
            "node": me.id,
            "version": me.version,
            "state": str(me.state),
            "degraded": self._node.membership.why_degraded or None,
            "nodes": self._nodes(me),
            "counters": counters_as_json(me.counters),
        }

    def _nodes(self, me: NodeInfo) -> list[dict[str, Any]]:
        """Every node that is remembered, dead ones too, by name and age. Whoever answers is alive."""
        view = self._node.membership.view
        infos = {**{node_id: node.info for node_id, node in view.nodes.items()}, me.id: me}
        return [
            node_as_json(
                info,
                state_of(info, lease_is_alive=info is me or view.is_alive(info.id)),
                view.shards_of(info.id),
            )
            for info in sorted(infos.values(), key=lambda info: (info.name, info.started))
        ]
