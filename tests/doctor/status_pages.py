"""Status pages made by hand, and what they say of a cluster of three nodes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from mooring.doctor.client.reply import Reply

TOKEN: Final = "a-token-for-tests,nowhere-else"


def node_on_page(name: str, *shards: str, **fields: Any) -> dict[str, Any]:
    """A node, as a status page has it."""
    return {
        "id": f"{name}-abcde",
        "name": name,
        "pid": 1,
        "url": "http://127.0.0.1:1",
        "version": "0.1.0",
        "state": "ready",
        "alive": True,
        "sessions": 4,
        "capacity": 10_000,
        "shards": list(shards),
        "served": 8,
        "forwarded_in": 2,
        "forwarded_out": 0,
        "refused": {},
        **fields,
    }


def page_with(*nodes: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    """The page that the first of these nodes gives."""
    counters = {"served": 8, "forwarded_in": 2, "forwarded_out": 0, "refused": {}}
    me = {"node": nodes[0]["id"], "version": "0.1.0", "state": "ready", "degraded": None}
    return {**me, "nodes": list(nodes), "counters": counters, **fields}


def answered(page: object, code: int = 200) -> Reply:
    """The reply with that page."""
    return Reply(status=code, body=json.dumps(page).encode())


SHARDS: Final = ("aaaaa", "bbbbb", "ccccc")
EVEN: Final = [f"{SHARDS[n % 3]}.{n}" for n in range(20)]
"""Session ids, a third of them on each node."""
NODES: Final = [node_on_page(f"node-{n}", shard) for n, shard in enumerate(SHARDS, 1)]
DEAD: Final = node_on_page("node-4", "ddddd", state="dead", alive=False)
GONE: Final = node_on_page("node-5", state="gone", alive=False)
