"""The status page: in JSON, what this node knows of its cluster and counts of its own work.

It is made from memory alone, so it answers while the store is away: the node itself as it is now, its peers as its last
heartbeat found them. Where the store did not answer that heartbeat, `degraded` says so, and the peers are as they were
before.
"""

from __future__ import annotations

from typing import Any

from mooring.asgi import Scope
from mooring.core.model import NodeInfo
from mooring.node.pages.token_page import TokenPage
from mooring.store.registry import counters_as_json, node_as_json, state_of


class StatusPage(TokenPage):
    """The node does not join its cluster for this.

    Until it has, it says that it is `starting`, and knows only itself.
    """

    def _page(self, scope: Scope) -> tuple[int, dict[str, Any]]:
        me = self._node.describe()
        return 200, {
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
        owned = view.shards_by_node()
        infos = {**{node_id: node.info for node_id, node in view.nodes.items()}, me.id: me}
        return [
            node_as_json(
                info,
                state_of(info, lease_is_alive=info is me or view.is_alive(info.id)),
                owned.get(info.id, []),
            )
            for info in sorted(infos.values(), key=lambda info: (info.name, info.started))
        ]
