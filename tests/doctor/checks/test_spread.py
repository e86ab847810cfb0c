from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

import pytest
import pytest_asyncio
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from mooring.doctor.checks import affinity, spread
from mooring.doctor.client.reply import Reply
from mooring.doctor.evidence.balance import Balance
from mooring.doctor.evidence.node_marks import MarkKind, MarkSource, NodeMarks
from mooring.doctor.findings import Finding, Verdict
from tests.cluster_in_process import running_nodes
from tests.deployments import haproxy, mixed, nginx, traefik
from tests.deployments.servers import replica_urls
from tests.doctor.examined import examined
from tests.doctor.status_pages import TOKEN
from tests.node.apps import ScriptedApp

Deploy = Callable[[list[str]], AbstractAsyncContextManager[str]]
HEADER = MarkSource(MarkKind.HEADER, "X-Served-By")


def show(text: object, longest: int) -> str:
    return str(text)[:longest]


def served_by(node: str) -> Reply:
    return Reply(status=200, headers=CIMultiDictProxy(CIMultiDict({"X-Served-By": node})))


def opened(**counts: int) -> NodeMarks:
    return NodeMarks(HEADER, tuple(node for node, count in counts.items() for _ in range(count)))


@pytest.mark.parametrize(
    ("found", "also", "verdict", "says"),
    [
        (opened(a=7, b=7, c=6), [], Verdict.OK, "20 sessions spread over 3 nodes: 7, 7, 6"),
        (opened(a=18, b=1, c=1), [], Verdict.OK, "20 sessions spread over 3 nodes: 18, 1, 1"),
        (opened(a=10, b=10), ["c"], Verdict.WARNING, "c gets none of 20 new sessions"),
        (opened(a=50, b=49, c=1), [], Verdict.WARNING, "c gets 1 of 100 new sessions"),
        (opened(a=50, b=50), ["c", "d"], Verdict.WARNING, "c gets none of 100 new sessions, and 1 more next to none"),
        (opened(a=20), ["b"], Verdict.WARNING, "all 20 new sessions are on a, though 2 nodes are there"),
        (opened(a=19, b=1), [], Verdict.WARNING, "19 of 20 new sessions are on a, though 2 nodes are there"),
        (opened(a=20), [], Verdict.OK, "one node seen: header X-Served-By is always a"),
        (opened(a=2), ["b"], Verdict.UNKNOWN, "2 sessions on 2 nodes are too few to tell: 2, 0"),
        (opened(a=10, b=10), ["c", "d"], Verdict.UNKNOWN, "20 sessions on 4 nodes are too few to tell: 10, 10, 0, 0"),
    ],
)
def test_what_is_said_of_marks(found: NodeMarks, also: list[str], verdict: Verdict, says: str) -> None:
    finding = spread.judge(Balance.of(found, [served_by(node) for node in also]), found, show)
    assert (finding.verdict, finding.says) == (verdict, says)
    assert len(finding.says) <= 90
    assert bool(finding.changes) is (verdict is not Verdict.OK)


def test_nodes_whose_marks_begin_alike_are_not_counted_as_one() -> None:
    found = NodeMarks(MarkSource(MarkKind.COOKIE, "c"), ("0123456789abcd",) * 5 + ("0123456789abce",) * 6)
    finding = spread.judge(Balance.of(found, []), found, show)
    assert finding.evidence["sessions_by_node"] == {"0123456789ab… (1)": 5, "0123456789ab… (2)": 6}
    assert finding.says == "11 sessions spread over 2 nodes: 6, 5"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def three() -> AsyncIterator[list[str]]:
    async with replica_urls("stateful") as urls:
        yield urls


async def found(url: str, *, with_calls: bool = True, **fields: Any) -> Finding:
    """What the check finds, after the affinity check has made its calls."""
    async with examined(url, **fields) as exam:
        if with_calls:
            await affinity.run(exam)
        finding = await spread.run(exam)
        assert exam.sessions.count <= exam.plan.sessions
    return finding


@pytest.mark.real
@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("deploy", "fields", "verdict", "says", "told_by"),
    [
        (haproxy.round_robin, {}, "unknown", "nodes cannot be told apart from outside", None),
        (haproxy.learned_session_id, {}, "unknown", "nodes cannot be told apart from outside", None),
        (nginx.round_robin, {}, "unknown", "nodes cannot be told apart from outside", None),
        # Other requests take their turns between those that open sessions, so how evenly it is is chance.
        (haproxy.round_robin, {"tool": "where"}, "ok", "20 sessions spread over 3 nodes: ", "tool's answer"),
        (partial(haproxy.round_robin, tell_node=True), {}, "ok", "20 sessions spread over 3 nodes: ", HEADER),
        (
            partial(haproxy.learned_session_id, tell_node=True),
            {"sessions": 2},
            "unknown",
            "2 sessions on 3 nodes are too few to tell: 1, 1, 0",
            HEADER,
        ),
        (haproxy.sticky_cookie, {}, "ok", "20 sessions spread over 3 nodes: ", "cookie SERVERID"),
        (haproxy.starved_node, {}, "warning", "node-3 gets none of 20 new sessions", HEADER),
    ],
)
async def test_real_load_balancers(
    three: list[str], deploy: Deploy, fields: dict[str, Any], verdict: str, says: str, told_by: object
) -> None:
    async with deploy(three) as url:
        finding = await found(url, **fields)
    assert finding.verdict == verdict
    assert finding.says.startswith(says)
    assert finding.evidence["told_by"] == (str(told_by) if told_by else None)


@pytest.mark.real
@pytest.mark.asyncio(loop_scope="module")
async def test_traefiks_cookie_tells_and_is_not_told_whole(three: list[str]) -> None:
    async with traefik.sticky_cookie(three) as url:
        finding = await found(url)
    assert finding.verdict is Verdict.OK
    by_node = finding.evidence["sessions_by_node"]
    assert sum(by_node.values()) == 20
    assert [len(name) for name in by_node] == [13, 13, 13]


@pytest.mark.real
@pytest.mark.asyncio(loop_scope="module")
async def test_a_client_that_is_kept_on_one_node_by_its_address(three: list[str]) -> None:
    tell = ["http-response set-header X-Served-By %s"]
    async with haproxy.running_haproxy(three, "balance source", frontend=tell) as base:
        finding = await found(f"{base}/mcp")
    assert finding.verdict is Verdict.OK
    assert finding.says.startswith("one node seen: header X-Served-By is always node-")


@pytest.mark.real
@pytest.mark.asyncio(loop_scope="module")
async def test_a_node_without_sessions_of_its_own_is_a_node() -> None:
    async with mixed.modes() as url:
        finding = await found(url)
    # The sessions' first notifications take turns, too, so how evenly it is is chance.
    assert finding.verdict is Verdict.OK
    assert finding.says.startswith("20 sessions spread over 2 nodes: ")
    assert sum(finding.evidence["sessions_by_node"].values()) == 20


@pytest.mark.real
@pytest.mark.asyncio(loop_scope="module")
async def test_a_bare_server_says_what_could_not_be_seen(three: list[str]) -> None:
    finding = await found(three[0], with_calls=False)
    assert (finding.verdict, finding.says) == (Verdict.UNKNOWN, "nodes cannot be told apart from outside")
    assert "--status" in finding.changes[0].what


async def test_the_status_page_of_a_cluster_without_a_load_balancer() -> None:
    async with running_nodes(ScriptedApp, 2, status_token=TOKEN) as nodes:
        page_url = URL(f"{nodes[1].url}/mooring/status")
        fields = {"status_url": page_url, "status_token": TOKEN}
        finding = await found(f"{nodes[0].url}/mcp", with_calls=False, **fields)
        refused = await found(f"{nodes[0].url}/mcp", with_calls=False, **{**fields, "status_token": "another-token"})
    assert finding.verdict is Verdict.WARNING
    assert finding.says.endswith("new sessions are on node-1, though 2 nodes are there")
    assert (refused.verdict, refused.says) == (
        Verdict.UNKNOWN,
        "the status page cannot be read: 401, its token is a different one",
    )
