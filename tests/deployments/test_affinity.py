"""Where requests go: the deployments without affinity, with each kind of it, and with a node that is left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tests.deployments import haproxy, mixed, nginx, traefik
from tests.deployments.haproxy import NODE_HEADER
from tests.deployments.traffic import call, calls, client, modern_call, statuses
from tests.node.rpc import INITIALIZE

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="package")]

Deploy = Callable[[Sequence[str]], Any]
BROKEN = {200, 404}


@pytest.mark.parametrize("deploy", [haproxy.round_robin, nginx.round_robin, traefik.round_robin])
async def test_in_turn_a_session_is_found_now_and_then(three: list[str], deploy: Deploy) -> None:
    async with deploy(three) as url, client(cookies=True) as raw:
        assert await statuses(raw, url) == BROKEN
        assert {(await modern_call(raw, url)).status for _ in three} == {200}


@pytest.mark.parametrize("deploy", [haproxy.sticky_cookie, traefik.sticky_cookie])
async def test_a_cookie_helps_the_clients_that_keep_it(three: list[str], deploy: Deploy) -> None:
    async with deploy(three) as url:
        async with client(cookies=False) as raw:
            assert await statuses(raw, url) == BROKEN
        async with client(cookies=True) as raw:
            assert await statuses(raw, url) == {200}


async def test_traefik_says_nothing_of_its_cookie_but_the_root_path(three: list[str]) -> None:
    async with traefik.sticky_cookie(three) as url, client() as raw:
        reply = await raw.send("POST", url, body=INITIALIZE)
        assert reply.headers["set-cookie"].split("; ")[1:] == ["Path=/"]


async def test_a_cookie_for_another_path_is_never_sent_back(three: list[str]) -> None:
    async with traefik.cookie_elsewhere(three) as url, client(cookies=True) as raw:
        reply = await raw.send("POST", url, body=INITIALIZE)
        replies = await calls(raw, url, reply.session_id)
        assert {reply.status for reply in replies} == BROKEN
        cookies = [reply.headers["set-cookie"] for reply in replies]
        assert all(cookie.startswith("affinity=") and cookie.endswith("; Path=/other") for cookie in cookies)


@pytest.mark.parametrize("deploy", [haproxy.hashed_session_id, nginx.hashed_session_id])
async def test_a_hash_sends_all_calls_to_one_node_which_seldom_has_the_session(
    three: list[str], deploy: Deploy
) -> None:
    async with deploy(three) as url, client() as raw:
        met = [await statuses(raw, url) for _ in range(16)]  # all are right once in 43 million runs
    assert {404} in met
    assert all(one in ({200}, {404}) for one in met)


async def test_what_the_proxy_learned_brings_every_session_home(three: list[str]) -> None:
    async with haproxy.learned_session_id(three, tell_node=True) as url, client(keep_alive=False) as raw:
        homes = set()
        for _ in three:
            opened = await raw.send("POST", url, body=INITIALIZE)
            replies = await calls(raw, url, opened.session_id)
            assert {(reply.status, reply.headers[NODE_HEADER]) for reply in replies} == {
                (200, opened.headers[NODE_HEADER])
            }
            homes.add(opened.headers[NODE_HEADER])
    assert homes == {"node-1", "node-2", "node-3"}


async def test_a_connection_stays_at_its_node_and_the_next_goes_elsewhere(three: list[str]) -> None:
    async with haproxy.by_connection(three) as url:
        async with client(keep_alive=True) as raw:
            assert await statuses(raw, url) == {200}
        async with client(keep_alive=False) as raw:
            assert await statuses(raw, url) == BROKEN


@pytest.mark.parametrize("deploy", [haproxy.round_robin, haproxy.sticky_cookie])
async def test_the_proxy_names_the_node_if_asked_to(three: list[str], deploy: Callable[..., Any]) -> None:
    async with deploy(three, tell_node=True) as url, client() as raw:
        named = [(await raw.send("POST", url, body=INITIALIZE)).headers[NODE_HEADER] for _ in three]
    assert sorted(named) == ["node-1", "node-2", "node-3"]


async def test_a_starved_node_answers_but_gets_no_session(three: list[str]) -> None:
    async with haproxy.starved_node(three) as url, client() as raw:
        opened = [await raw.send("POST", url, body=INITIALIZE) for _ in range(6)]
        assert Counter(reply.headers[NODE_HEADER] for reply in opened) == {"node-1": 3, "node-2": 3}
        for reply in opened:
            assert (await call(raw, url, reply.session_id)).status == 200
        others = [await raw.send("GET", url) for _ in three] + [await modern_call(raw, url) for _ in three]
        assert Counter(reply.headers[NODE_HEADER] for reply in others) == {"node-1": 2, "node-2": 2, "node-3": 2}


async def test_replicas_of_two_versions() -> None:
    async with mixed.versions("1.0.0", "2.0.0") as url, client() as raw:
        opened = [await raw.send("POST", url, body=INITIALIZE) for _ in range(4)]
        reported = [reply.json["result"]["serverInfo"]["version"] for reply in opened]
        assert sorted(reported) == ["1.0.0", "1.0.0", "2.0.0", "2.0.0"]
        for reply in opened:
            assert {answer.status for answer in await calls(raw, url, reply.session_id)} == {200}


async def test_a_stateless_replica_among_stateful_ones_serves_any_session_and_opens_none() -> None:
    async with mixed.modes() as url, client() as raw:
        opened = [await raw.send("POST", url, body=INITIALIZE) for _ in range(2)]
        (session,) = [reply.session_id for reply in opened if "mcp-session-id" in reply.headers]
        replies = await calls(raw, url, session)
    assert {reply.status for reply in replies} == {200}
    counted = [int(reply.json["result"]["content"][0]["text"]) for reply in replies]
    assert counted == [1, 1, 2, 2, 3, 3]
