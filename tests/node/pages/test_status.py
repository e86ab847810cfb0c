"""The status page: what it tells, whom, and that without a token there is none."""

from __future__ import annotations

import json
import logging
import os
import re
from importlib.metadata import version
from typing import Any

import pytest

from mooring import Mooring, Settings
from mooring.asgi import Message
from mooring.store import MemoryStore
from tests.bare import ROOT
from tests.cluster_in_process import RunningNode, running_node, running_nodes
from tests.fakes import FlakyStore
from tests.node.apps import ScriptedApp
from tests.node.rpc import RawClient, Reply
from tests.waiting import until

TOKEN = "a-token-for-tests,nowhere-else"
PATH = "/mooring/status"
NOTHING_DONE = {
    "served": 0,
    "forwarded_in": 0,
    "forwarded_out": 0,
    "refused": {},
    "adopted": 0,
    "revived": 0,
    "outcomes": {},
    "streams_open": 0,
    "streams_kept": 0,
}
SELDOM = {"heartbeat_seconds": 60, "lease_seconds": 600}
"""No heartbeat during a test but those that it makes."""


async def ask(raw: RawClient, node: RunningNode, method: str = "GET", authorization: str = f"Bearer {TOKEN}") -> Reply:
    headers = {"authorization": authorization} if authorization else {}
    return await raw.send(method, node.url + PATH, headers=headers)


async def page_of(raw: RawClient, node: RunningNode) -> Any:
    reply = await ask(raw, node)
    assert reply.status == 200, reply.body
    return reply.json


def entry(node: RunningNode, **done: Any) -> dict[str, Any]:
    """What a page says of a node that is ready."""
    return {
        "id": node.id,
        "name": node.mooring.settings.node_name,
        "pid": os.getpid(),
        "url": node.url,
        "peer_link": "direct",
        "relayed_to": [],
        "version": version("mooring"),
        "state": "ready",
        "alive": True,
        "sessions": 0,
        "capacity": 10_000,
        "shards": sorted(node.mooring._node.membership.shards),
        **NOTHING_DONE,
        **done,
    }


async def test_it_tells_of_every_node_and_of_what_the_answering_one_counts(raw: RawClient) -> None:
    async with running_nodes(ScriptedApp, 2, status_token=TOKEN) as nodes:
        session = await raw.open(nodes[0].url)
        assert (await raw.call(nodes[1].url, session)).status == 200
        assert (await raw.call(nodes[1].url, "no-id-of-ours")).reason == "forged"
        for node in nodes:
            await node.mooring._node.keeper.beat()
        await nodes[0].mooring._node.keeper.beat()
        first = {**NOTHING_DONE, "served": 2, "forwarded_in": 1}
        second = {**NOTHING_DONE, "forwarded_out": 1, "refused": {"forged": 1}}
        of_cluster = [entry(nodes[0], sessions=1, **first), entry(nodes[1], **second)]
        for node, done in zip(nodes, (first, second), strict=True):
            assert await page_of(raw, node) == {
                "node": node.id,
                "version": version("mooring"),
                "state": "ready",
                "degraded": None,
                "nodes": of_cluster,
                "counters": done,
            }
        assert len(of_cluster[0]["shards"]) == 8


async def test_a_node_tells_of_itself_as_it_is_now_and_asks_the_store_nothing(raw: RawClient) -> None:
    store = FlakyStore(MemoryStore())
    async with running_nodes(ScriptedApp, 2, store, status_token=TOKEN, **SELDOM) as nodes:
        await nodes[0].mooring._node.keeper.beat()
        await raw.open(nodes[0].url)
        asked = list(store.calls)
        page = await page_of(raw, nodes[0])
        assert page["counters"] == {**NOTHING_DONE, "served": 1}
        assert page["nodes"] == [entry(nodes[0], sessions=1, served=1), entry(nodes[1])]
        assert (await page_of(raw, nodes[1]))["nodes"] == [entry(nodes[0]), entry(nodes[1])]
        assert store.calls == asked


async def test_it_answers_while_the_store_is_away_and_says_so(raw: RawClient) -> None:
    store = FlakyStore(MemoryStore())
    async with running_nodes(ScriptedApp, 2, store, status_token=TOKEN, **SELDOM) as nodes:
        for node in nodes:
            await node.mooring._node.keeper.beat()
        store.away = True
        await nodes[0].mooring._node.keeper.beat()
        page = await page_of(raw, nodes[0])
        assert (page["state"], page["degraded"]) == ("degraded", "away, as the test wants it")
        assert page["nodes"] == [entry(nodes[0], state="degraded"), entry(nodes[1])]
        store.away = False
        await nodes[0].mooring._node.keeper.beat()
        page = await page_of(raw, nodes[0])
        assert (page["state"], page["degraded"]) == ("ready", None)


async def test_a_node_that_died_and_one_that_said_goodbye_are_told_from_the_living(raw: RawClient) -> None:
    store = MemoryStore()
    async with running_node(ScriptedApp(), store, "node-1", status_token=TOKEN) as node:
        async with running_node(ScriptedApp(), store, "node-2") as stopped:
            pass
        async with running_node(ScriptedApp(), store, "node-3", lease_seconds=0.2) as killed:
            await killed.vanish()

            async def is_dead() -> bool:
                return [one["state"] for one in (await page_of(raw, node))["nodes"]] == ["ready", "gone", "dead"]

            await until(is_dead, what="the lease to end")
            page = await page_of(raw, node)
            assert [one["id"] for one in page["nodes"]] == [node.id, stopped.id, killed.id]
            assert [one["alive"] for one in page["nodes"]] == [True, False, False]


async def test_head_is_get_without_the_body(raw: RawClient) -> None:
    async with running_node(ScriptedApp(), MemoryStore(), status_token=TOKEN) as node:
        got, head = await ask(raw, node), await ask(raw, node, "HEAD")
    assert (head.status, head.body) == (200, b"")
    for name in ("content-type", "content-length", "cache-control"):
        assert head.headers[name] == got.headers[name]
    assert got.headers["content-type"] == "application/json"
    assert int(got.headers["content-length"]) == len(got.body)
    assert got.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("authorization", [f"bearer {TOKEN}", f"BEARER   {TOKEN}"])
async def test_the_scheme_is_read_as_http_has_it(authorization: str, raw: RawClient) -> None:
    async with running_node(ScriptedApp(), MemoryStore(), status_token=TOKEN) as node:
        assert (await ask(raw, node, authorization=authorization)).status == 200


async def test_who_has_no_token_or_a_wrong_one_is_told_what_to_do_and_nothing_else(raw: RawClient) -> None:
    app = ScriptedApp()
    wrong = ["", "Bearer", TOKEN, f"Basic {TOKEN}", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", "Bearer t\u00f6ken"]
    async with running_node(app, MemoryStore(), status_token=TOKEN) as node:
        for authorization in wrong:
            reply = await ask(raw, node, authorization=authorization)
            assert (reply.status, reply.headers["www-authenticate"]) == (401, "Bearer"), authorization
            assert reply.headers["cache-control"] == "no-store"
            assert reply.body == (
                b"Send the status token of this cluster (MOORING_STATUS_TOKEN): Authorization: Bearer <token>\n"
            )
            head = await ask(raw, node, "HEAD", authorization)
            assert (head.status, head.headers["www-authenticate"], head.body) == (401, "Bearer", b"")
    assert app.asked == []


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
async def test_it_is_only_for_reading(method: str, raw: RawClient) -> None:
    app = ScriptedApp()
    async with running_node(app, MemoryStore(), status_token=TOKEN) as node:
        for authorization in ("", f"Bearer {TOKEN}"):
            reply = await ask(raw, node, method, authorization)
            assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD")
    assert app.asked == []


async def test_without_a_token_the_path_is_the_apps(raw: RawClient) -> None:
    app = ScriptedApp()
    async with running_node(app, MemoryStore()) as node:
        for method in ("GET", "POST"):
            reply = await ask(raw, node, method)
            assert (reply.status, reply.json) == (200, {"other": True})
    assert [method for method, _, _ in app.asked] == ["GET", "POST"]
    assert [(scope["path"], dict(scope["headers"])[b"authorization"]) for scope in app.scopes] == [
        (PATH, f"Bearer {TOKEN}".encode())
    ] * 2


async def test_it_is_at_its_path_alone_wherever_that_is(raw: RawClient) -> None:
    async with running_node(ScriptedApp(), MemoryStore(), status_token=TOKEN, status_path="/nodes") as node:
        bearer = {"authorization": f"Bearer {TOKEN}"}
        assert (await raw.send("GET", f"{node.url}/nodes?fresh=1", headers=bearer)).json["node"] == node.id
        for path in (PATH, "/nodes/", "/nodes/1", "/node"):
            assert (await raw.send("GET", node.url + path, headers=bearer)).json == {"other": True}


async def test_before_the_node_has_joined_it_knows_itself_alone() -> None:
    store = FlakyStore(MemoryStore())
    mooring = Mooring(ScriptedApp(), Settings.load(status_token=TOKEN), store=store)
    said: list[Message] = []

    async def receive() -> Message:
        raise AssertionError("the page needs no body")

    async def send(message: Message) -> None:
        said.append(message)

    headers = [(b"authorization", f"Bearer {TOKEN}".encode())]
    await mooring({"type": "http", "method": "GET", "path": PATH, "headers": headers}, receive, send)
    page = json.loads(said[1]["body"])
    assert (page["state"], page["degraded"]) == ("starting", None)
    assert [(node["id"], node["state"], node["alive"]) for node in page["nodes"]] == [
        (mooring.node_id, "starting", True)
    ]
    assert store.calls == []


async def test_no_token_is_logged_or_told(raw: RawClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    guessed = "a-guess-that-is-wrong"
    async with running_node(ScriptedApp(), MemoryStore(), status_token=TOKEN) as node:
        replies = [await ask(raw, node), await ask(raw, node, authorization=f"Bearer {guessed}")]
        replies.append(await ask(raw, node, "POST"))
    assert [reply.status for reply in replies] == [200, 401, 405]
    for text in (caplog.text, *(f"{reply.headers}{reply.body!r}" for reply in replies)):
        assert TOKEN not in text
        assert guessed not in text


async def test_the_example_in_the_docs_has_what_an_answer_has(raw: RawClient) -> None:
    section = (ROOT / "docs/operations.md").read_text().partition("## Status page")[2].partition("\n## ")[0]
    found = re.search(r"```json\n(.*?)```", section, re.DOTALL)
    assert found
    example = json.loads(found[1])
    async with running_node(ScriptedApp(), MemoryStore(), status_token=TOKEN) as node:
        page = await page_of(raw, node)
    assert list(example) == list(page)
    assert list(example["counters"]) == list(page["counters"])
    for told in example["nodes"]:
        assert list(told) == list(page["nodes"][0])
        assert {name: type(value) for name, value in told.items()} == {
            name: type(value) for name, value in page["nodes"][0].items()
        }
