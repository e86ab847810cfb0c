from __future__ import annotations

import pytest

from tests.cluster_in_process import running_nodes
from tests.node.apps import ScriptedApp
from tests.node.rpc import RawClient

TOKEN = "a-token-for-tests,nowhere-else"


@pytest.mark.parametrize("path", ["/mooring/status", "/mooring/traefik"])
async def test_only_who_has_the_token_reads_a_page_and_nobody_writes_one(raw: RawClient, path: str) -> None:
    async with running_nodes(ScriptedApp, 1, status_token=TOKEN) as [node]:
        for authorization in ("", "Bearer", f"Bearer {TOKEN}x", f"Basic {TOKEN}"):
            headers = {"authorization": authorization} if authorization else {}
            assert (await raw.send("GET", node.url + path, headers=headers)).status == 401
        right = {"authorization": f"Bearer {TOKEN}"}
        assert (await raw.send("GET", node.url + path, headers=right)).status == 200
        assert (await raw.send("POST", node.url + path, headers=right)).status == 405
