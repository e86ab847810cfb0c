"""What Traefik's HTTP provider asks for: its configuration, from any node, with no file and no process in between.

Where no node is alive, or this one has not joined its cluster yet, the answer is 503, upon which Traefik keeps what it
has. An empty configuration it would apply as "404 everywhere".
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

from mooring.asgi import Scope
from mooring.errors import ClusterError
from mooring.ingress.topology import topology_of
from mooring.ingress.traefik import INSECURE_COOKIES, dynamic_configuration
from mooring.node.pages.token_page import TokenPage


class TraefikPage(TokenPage):
    """The nodes as this one's last heartbeat found them."""

    def _page(self, scope: Scope) -> tuple[int, dict[str, Any]]:
        if not self._node.has_joined:
            return 503, {"error": "this node has not joined its cluster yet"}
        query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        topology = topology_of(self._node.membership.view, self._node.settings)
        try:
            return 200, dynamic_configuration(topology, secure_cookie=INSECURE_COOKIES not in query)
        except ClusterError as error:
            return 503, {"error": str(error)}
