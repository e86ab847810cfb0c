"""Which requests are Mooring's, and what the author of a server can ask it."""

from __future__ import annotations

from tests.cluster_in_process import RunningNode
from tests.node.apps import ScriptedApp
from tests.node.rpc import RawClient


async def test_other_paths_pass_untouched(node: RunningNode, app: ScriptedApp, raw: RawClient) -> None:
    for path in ("/", "/mcpfoo", "/api/mcp"):
        await raw.send("POST", f"{node.url}{path}", session="anything at all", body=b"x")
        scope = app.scopes[-1]
        assert scope["path"] == path
        assert (b"mcp-session-id", b"anything at all") in scope["headers"]
    assert node.mooring._node.tally.served == 0
