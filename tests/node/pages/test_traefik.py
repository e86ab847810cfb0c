"""What a node tells Traefik; and a real Traefik that asks it."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest
import yaml

from mooring.ingress.topology import topology_of
from mooring.ingress.traefik import FromNodes, dump, dynamic_configuration, static_configuration
from tests.bare import listening
from tests.cluster_in_process import RunningNode, running_nodes
from tests.ingress.real_proxies import find_traefik_or_skip
from tests.node.apps import ScriptedApp
from tests.node.rpc import RawClient, Reply
from tests.ports import free_port
from tests.waiting import until

TOKEN = "a-token-for-tests,nowhere-else"
PATH = "/mooring/traefik"


async def ask(raw: RawClient, node: RunningNode, query: str = "") -> Reply:
    return await raw.send("GET", node.url + PATH + query, headers={"authorization": f"Bearer {TOKEN}"})


@pytest.mark.parametrize("query", ["", "?insecure_cookies", "?insecure_cookies=1"])
async def test_it_is_the_configuration_for_the_nodes_that_it_knows(raw: RawClient, query: str) -> None:
    async with running_nodes(ScriptedApp, 2, status_token=TOKEN) as nodes:
        for node in nodes:
            await node.mooring._node.keeper.beat()
        reply = await ask(raw, nodes[0], query)
        view = nodes[0].mooring._node.membership.view
        expected = dynamic_configuration(topology_of(view, nodes[0].mooring.settings), secure_cookie=not query)
    assert reply.status == 200
    assert reply.json == yaml.safe_load(dump(expected))
    assert len([name for name in reply.json["http"]["routers"] if name.startswith("mcp-")]) == 2


async def test_without_a_token_there_is_no_page(raw: RawClient) -> None:
    async with running_nodes(ScriptedApp, 1) as [node]:
        assert (await ask(raw, node)).json == {"other": True}  # the app's


@pytest.mark.real
async def test_traefik_follows_the_nodes_by_asking_them(raw: RawClient, tmp_path: Path) -> None:
    program = find_traefik_or_skip()
    port = free_port()
    async with running_nodes(ScriptedApp, 2, status_token=TOKEN) as nodes:
        for node in nodes:
            await node.mooring._node.keeper.beat()
        static = static_configuration(
            address=f"127.0.0.1:{port}",
            admin_address=f"127.0.0.1:{free_port()}",
            from_nodes=FromNodes(nodes[0].url + PATH, TOKEN),
        )
        (tmp_path / "traefik.yml").write_text(dump(static))
        command: list[str | Path] = [program, f"--configfile={tmp_path}/traefik.yml"]
        url = f"http://127.0.0.1:{port}"
        async with listening(command, port, what="traefik", ask_to_stop=False), aiohttp.ClientSession() as http:

            async def routes() -> bool:
                async with http.get(f"{url}/healthz") as answer:
                    return answer.status == 200

            await until(routes, what="Traefik to have asked")
            session = await raw.open(nodes[1].url)
            before = nodes[1].mooring._node.describe().counters.forwarded_in
            for _ in range(5):
                assert (await raw.call(url, session)).status == 200
            assert nodes[1].mooring._node.describe().counters.forwarded_in == before
