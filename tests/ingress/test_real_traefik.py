"""The generated configuration in the real Traefik, in front of three real backends."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from http.cookies import SimpleCookie
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from mooring.ingress.topology import Topology
from tests.ingress.real_traefik import RealBackend, RealTraefik, backends, real_traefik
from tests.ingress.topologies import SHARDS, backend, three_nodes
from tests.waiting import until

pytestmark = pytest.mark.real

REST = "AAAAAAAAAAAAAAAAAAAAAA.AAAAAAAAAAA"


@pytest_asyncio.fixture
async def nodes() -> AsyncIterator[dict[str, RealBackend]]:
    async with backends(*SHARDS) as running:
        yield running


@pytest_asyncio.fixture
async def traefik(nodes: dict[str, RealBackend], tmp_path: Path) -> AsyncIterator[RealTraefik]:
    async with real_traefik(tmp_path, three_nodes({name: node.url for name, node in nodes.items()})) as running:
        yield running


async def test_a_session_id_goes_to_the_node_that_holds_its_shard(traefik: RealTraefik) -> None:
    for path in ("/mcp", "/mcp/x"):
        for name, shards in SHARDS.items():
            for shard in shards:
                for method in ("POST", "GET", "DELETE"):
                    assert await traefik.answer(path, f"{shard}.{REST}", method) == name


async def test_ids_that_name_no_shard_are_spread_over_the_pool(traefik: RealTraefik) -> None:
    for session_id in (f"eeeee.{REST}", f"aaaaab.{REST}", f"xaaaaa.{REST}", "aaaaa", "", f"a|bbbbb.{REST}"):
        assert {await traefik.answer("/mcp", session_id) for _ in range(6)} == set(SHARDS)


async def test_a_header_with_underscores_is_not_the_session_header(traefik: RealTraefik) -> None:
    async def answer() -> str:
        async with traefik.request("/mcp", Mcp_Session_Id=f"ccccc.{REST}") as response:
            return str((await response.json())["name"])

    assert {await answer() for _ in range(6)} == set(SHARDS)


async def test_the_cookie_has_the_attributes_that_keep_it_to_the_mcp_path(traefik: RealTraefik) -> None:
    async with traefik.request("/mcp") as response:
        cookie = SimpleCookie(response.headers["Set-Cookie"])["_mcp_backend"]
        assert len(response.headers.getall("Set-Cookie")) == 1
    assert cookie["path"] == "/mcp"
    assert cookie["httponly"] is True
    assert cookie["secure"] is True
    assert cookie["samesite"] == "Strict"
    assert not cookie["domain"]
    assert not cookie["max-age"]
    assert not cookie["expires"]


async def test_the_cookie_brings_its_client_back_to_the_same_node(traefik: RealTraefik) -> None:
    async with traefik.request("/mcp") as response:
        cookie = response.headers["Set-Cookie"].partition(";")[0]
        first = (await response.json())["name"]
    for path in ("/mcp", "/mcp/x"):
        for _ in range(6):
            async with traefik.request(path, Cookie=cookie) as response:
                assert (await response.json())["name"] == first
                assert "Set-Cookie" not in response.headers


async def test_the_cookie_is_never_set_outside_the_mcp_path(traefik: RealTraefik) -> None:
    for path in ("/", "/mcpfoo", "/other", "/mc", "/MCP", "/healthz", "/other/mcp"):
        for _ in range(3):
            async with traefik.request(path, method="GET") as response:
                assert response.status == 200
                assert "Set-Cookie" not in response.headers


async def test_other_traffic_goes_to_all_nodes_in_turn(traefik: RealTraefik) -> None:
    for path in ("/other", "/mcpfoo"):
        for session_id in (None, f"aaaaa.{REST}"):
            answers = Counter([await traefik.answer(path, session_id) for _ in range(30)])
            assert set(answers) == set(SHARDS)
            assert max(answers.values()) - min(answers.values()) <= 2


async def test_a_change_is_applied_in_two_seconds_and_cuts_no_stream(
    traefik: RealTraefik, nodes: dict[str, RealBackend]
) -> None:
    async with traefik.request("/mcp", f"aaaaa.{REST}", "GET", Accept="text/event-stream") as stream:
        assert await _next_event(stream) == "node-1 0"
        moved = Topology((backend("node-2", nodes["node-2"].url, ("aaaaa",)),))
        started = time.monotonic()
        await traefik.apply(moved)

        async def is_applied() -> bool:
            return await traefik.answer("/mcp", f"aaaaa.{REST}") == "node-2"

        await until(is_applied, what="the shard to move")
        assert time.monotonic() - started < 2
        assert {await traefik.answer("/other") for _ in range(6)} == {"node-2"}
        for _ in range(30):
            assert (await _next_event(stream)).startswith("node-1 ")


async def test_no_request_fails_while_the_configuration_changes(
    traefik: RealTraefik, nodes: dict[str, RealBackend]
) -> None:
    at_home = three_nodes({name: node.url for name, node in nodes.items()})
    without_third = Topology(at_home.backends[:2])
    answers: Counter[str] = Counter()
    for number in range(8):
        await traefik.apply(without_third if number % 2 == 0 else at_home)
        until_time = time.monotonic() + 0.3
        while time.monotonic() < until_time:
            answers[await traefik.answer("/mcp", f"aaaaa.{REST}")] += 1
    assert set(answers) == {"node-1"}


async def test_a_dead_node_hands_its_requests_to_the_pool_at_once(
    traefik: RealTraefik, nodes: dict[str, RealBackend]
) -> None:
    nodes["node-3"].process.kill()
    await nodes["node-3"].process.wait()
    answers = await asyncio.gather(*(traefik.answer("/mcp", f"ddddd.{REST}") for _ in range(20)))
    assert set(answers) == {"node-1", "node-2"}
    assert {await traefik.answer("/mcp") for _ in range(6)} == {"node-1", "node-2"}
    assert {await traefik.answer("/other") for _ in range(6)} == {"node-1", "node-2"}


async def test_requests_that_fail_everywhere_cost_nobody_else_an_answer(traefik: RealTraefik) -> None:
    """Traefik takes a node out for answers of 500; its requests then go to its peers, until the next check."""
    for path in ("/fail", "/mcp/fail"):
        assert {await traefik.answer(path, f"aaaaa.{REST}") for _ in range(12)} == {"500"}
    for path, session_id in (("/mcp", f"aaaaa.{REST}"), ("/mcp", None), ("/other", None)):
        assert {await traefik.answer(path, session_id) for _ in range(6)} <= set(SHARDS)
    assert {await traefik.answer("/other") for _ in range(6)} == set(SHARDS)

    async def is_home_again() -> bool:
        return {await traefik.answer("/mcp", f"aaaaa.{REST}") for _ in range(6)} == {"node-1"}

    await until(is_home_again, what="the next health check", seconds=3)


async def test_a_full_node_keeps_its_sessions_and_other_traffic_and_gets_no_new_ones(
    traefik: RealTraefik, nodes: dict[str, RealBackend]
) -> None:
    await _fill(traefik, nodes["node-1"])

    async def is_avoided() -> bool:
        return {await traefik.answer("/mcp") for _ in range(6)} == {"node-2", "node-3"}

    await until(is_avoided, what="the health check to find out")
    assert await traefik.answer("/mcp", f"aaaaa.{REST}") == "node-1"
    assert {await traefik.answer("/other") for _ in range(6)} == set(SHARDS)


async def test_where_every_node_is_full_requests_still_reach_one(
    traefik: RealTraefik, nodes: dict[str, RealBackend]
) -> None:
    for node in nodes.values():
        await _fill(traefik, node)

    async def has_no_cookie() -> bool:
        async with traefik.request("/mcp") as response:
            assert response.status == 200
            return "Set-Cookie" not in response.headers

    await until(has_no_cookie, what="the health checks to find out")
    assert await traefik.answer("/mcp", f"aaaaa.{REST}") == "node-1"
    assert {await traefik.answer("/mcp", f"eeeee.{REST}") for _ in range(6)} == set(SHARDS)
    assert {await traefik.answer("/other") for _ in range(6)} == set(SHARDS)


async def test_without_a_living_node_nobody_is_told_404(traefik: RealTraefik, nodes: dict[str, RealBackend]) -> None:
    for node in nodes.values():
        node.process.kill()
        await node.process.wait()
    await traefik.apply(Topology(()))

    for shard in ("aaaaa", "ddddd", "eeeee"):
        assert await traefik.answer("/mcp", f"{shard}.{REST}") in ("502", "503")


async def _fill(traefik: RealTraefik, node: RealBackend) -> None:
    async with traefik.session.get(f"{node.url}/fill") as response:
        assert response.status == 200


async def _next_event(stream: aiohttp.ClientResponse) -> str:
    async with asyncio.timeout(5):
        while not (line := await stream.content.readline()).startswith(b"data: "):
            assert line, "the stream was cut"
    return line.decode().removeprefix("data: ").strip()
