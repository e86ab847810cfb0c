from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from mooring.doctor.client.reply import Reply, Trouble
from mooring.doctor.client.sessions import Sessions
from mooring.doctor.client.wire import Wire
from mooring.doctor.evidence import cluster_status
from mooring.doctor.evidence.cluster_status import ClusterStatus, NoStatusPage, parse_status, read_status
from mooring.doctor.examination import Examination
from mooring.doctor.plan import Plan
from tests.cluster_in_process import running_nodes
from tests.doctor.examined import examined
from tests.doctor.runs import Notes
from tests.doctor.status_pages import DEAD, EVEN, NODES, TOKEN, answered, node_on_page, page_with
from tests.node.apps import ScriptedApp


def test_a_page_is_read() -> None:
    gone = node_on_page("node-3", state="gone", alive=False)
    page = parse_status(
        answered(page_with(node_on_page("node-1", "aaaaa", "bbbbb"), node_on_page("node-2", "ccccc"), gone))
    )
    assert page.node == "node-1-abcde"
    assert page.degraded == ""
    assert [node.name for node in page.alive] == ["node-1", "node-2"]
    assert page.forwarded_share == 0.25
    assert page.owners(["aaaaa.x.y", "bbbbb.z", "ccccc.z", "other.z", "z"]) == {
        "node-1-abcde": 2,
        "node-2-abcde": 1,
        "": 2,
    }


def test_a_dead_nodes_shards_are_nobodys() -> None:
    page = parse_status(
        answered(page_with(node_on_page("node-1", "aaaaa"), node_on_page("node-2", "bbbbb", state="dead", alive=False)))
    )
    assert page.owners(["bbbbb.x"]) == {"": 1}


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (Reply(trouble=Trouble.REFUSED), "connection refused"),
        (Reply(trouble=Trouble.HANG), "no answer in time"),
        (Reply(status=401), "401, its token is a different one"),
        (Reply(status=404), "answered with 404"),
        (Reply(status=302), "answered with 302"),
        (Reply(status=200, body=b"<html>"), "its answer is not JSON"),
        (Reply(status=200, body=b"[" * 100_000), "its answer is not JSON"),
        (Reply(status=200, body=b"\xff"), "its answer is not JSON"),
        (answered([]), "its answer is not a Mooring node's"),
        (answered({"nodes": []}), "its answer is not a Mooring node's"),
        (answered(page_with(node_on_page("node-1", sessions="4"))), "its answer is not a Mooring node's"),
        (answered(page_with(node_on_page("node-1", shards=4))), "its answer is not a Mooring node's"),
        (answered({**page_with(node_on_page("node-1")), "nodes": ["node-1"]}), "its answer is not a Mooring node's"),
    ],
)
def test_what_is_no_page_is_told_why(reply: Reply, why: str) -> None:
    with pytest.raises(NoStatusPage, match=why):
        parse_status(reply)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["node", "nodes", "id"]), inner),
    max_leaves=8,
)


@given(json_values)
def test_no_answer_is_too_strange(value: object) -> None:
    with contextlib.suppress(NoStatusPage):
        assert isinstance(parse_status(answered(value)), ClusterStatus)


@contextlib.asynccontextmanager
async def serving(*pages: Mapping[str, Any], asked: list[Mapping[str, str]]) -> AsyncIterator[URL]:
    """Answers with one page after the other, and then with the last again."""
    left = list(pages)

    async def answer(request: web.Request) -> web.Response:
        asked.append(dict(request.headers))
        return web.json_response(left.pop(0) if len(left) > 1 else left[0])

    app = web.Application()
    app.router.add_get("/mooring/status", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield URL(f"http://127.0.0.1:{runner.addresses[0][1]}/mooring/status")
    finally:
        await runner.cleanup()


def examination(status_url: URL, endpoint: str = "http://127.0.0.1:1/mcp") -> Examination:
    headers = (("X-Api-Key", "a-secret-key"),)
    plan = Plan(URL(endpoint), tokens=("mcp",), headers=headers, status_url=status_url, status_token=TOKEN)
    wire = Wire(plan)
    return Examination(plan, wire, Sessions(wire, 2), Notes())


async def test_it_is_asked_with_its_own_token_and_nothing_else_of_the_operators() -> None:
    asked: list[Mapping[str, str]] = []
    async with serving(page_with(node_on_page("node-1", "aaaaa")), asked=asked) as url:
        exam = examination(url)
        async with exam.wire:
            page = await read_status(exam, lambda _: True)
        assert page.nodes[0].shards == {"aaaaa"}
        same_origin = examination(url, str(url.with_path("/mcp")))
        async with same_origin.wire:
            await read_status(same_origin, lambda _: True)
    assert [headers["Authorization"] for headers in asked] == [f"Bearer {TOKEN}"] * 2
    assert ["X-Api-Key" in headers for headers in asked] == [False, True]


async def test_it_is_asked_again_until_it_has_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_status, "_PAUSE_SECONDS", 0.01)
    asked: list[Mapping[str, str]] = []
    early, late = page_with(node_on_page("node-1")), page_with(node_on_page("node-1", "aaaaa"))
    async with serving(early, early, late, asked=asked) as url:
        exam = examination(url)
        async with exam.wire:
            page = await read_status(exam, lambda page: "" not in page.owners(["aaaaa.x"]))
            assert page.nodes[0].shards == {"aaaaa"}
            assert len(asked) == 3
            await read_status(exam, lambda _: False)
            assert len(asked) == 8


async def test_a_real_page() -> None:
    async with running_nodes(ScriptedApp, 2, status_token=TOKEN) as nodes:
        page_url = URL(f"{nodes[0].url}/mooring/status")
        fields = {"sessions": 3, "status_url": page_url, "status_token": TOKEN}
        async with examined(f"{nodes[0].url}/mcp", **fields) as exam:
            page = await read_status(exam, lambda page: len(page.ready) == 2)
            owners = page.owners(session.id for session in exam.sessions.opened)
    assert set(owners) == {nodes[0].id}


def test_a_page_is_settled_once_nothing_is_on_its_way() -> None:
    assert parse_status(answered(page_with(*NODES, DEAD))).is_settled(EVEN)
    assert not parse_status(answered(page_with(*NODES))).is_settled(["ddddd.1"])
    assert not parse_status(answered(page_with(*NODES, node_on_page("node-6", state="starting")))).is_settled(EVEN)
