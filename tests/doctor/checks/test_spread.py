from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from mooring.doctor.checks import affinity, spread
from mooring.doctor.checks.spread_by_status import judge_by_status
from mooring.doctor.client.reply import Reply
from mooring.doctor.evidence.balance import UNLIKELY, Balance, tail
from mooring.doctor.evidence.cluster_status import parse_status
from mooring.doctor.evidence.node_marks import MarkKind, MarkSource, NodeMarks
from mooring.doctor.findings import Finding, Verdict
from tests.cluster_in_process import running_nodes
from tests.deployments import haproxy, mixed, nginx, traefik
from tests.deployments.servers import replica_urls
from tests.doctor.evidence.test_cluster_status import TOKEN, answered, page_with, told
from tests.doctor.examined import examined
from tests.doctor.examples import THROTTLED, UNAVAILABLE
from tests.doctor.odd import running_odd
from tests.node.apps import ScriptedApp

Deploy = Callable[[list[str]], AbstractAsyncContextManager[str]]
HEADER = MarkSource(MarkKind.HEADER, "X-Served-By")


def show(text: object, longest: int) -> str:
    return str(text)[:longest]


def served_by(node: str) -> Reply:
    return Reply(status=200, headers=CIMultiDictProxy(CIMultiDict({"X-Served-By": node})))


def opened(**counts: int) -> NodeMarks:
    return NodeMarks(HEADER, tuple(node for node, count in counts.items() for _ in range(count)))


def test_the_tail_is_that_of_the_binomial_distribution() -> None:
    assert tail(0, 20, 3) == pytest.approx((2 / 3) ** 20)
    assert tail(1, 2, 2) == pytest.approx(0.75)
    assert tail(20, 20, 3) == pytest.approx(1.0)


@given(st.integers(0, 60), st.integers(1, 60), st.integers(2, 20))
def test_the_tail_is_a_chance(most: int, sessions: int, nodes: int) -> None:
    assert 0 <= tail(min(most, sessions), sessions, nodes) <= 1 + 1e-9


@given(st.integers(2, 12))
def test_so_many_sessions_are_needed_and_no_fewer(nodes: int) -> None:
    needed = Balance(dict.fromkeys(map(str, range(nodes)), 0)).sessions_needed
    assert nodes * tail(0, needed, nodes) <= UNLIKELY * (1 + 1e-9)
    assert nodes * tail(0, needed - 1, nodes) > UNLIKELY


def test_nodes_at_random_are_practically_never_taken_for_starved() -> None:
    """Exactly, over all ways in which 20 sessions can meet 3 nodes."""
    starving = 0.0
    for first in range(21):
        for second in range(21 - first):
            counts = {"a": first, "b": second, "c": 20 - first - second}
            if Balance(counts).starved:
                starving += _chance(*counts.values())
    assert starving < UNLIKELY


def _chance(*counts: int) -> float:
    """That just these counts come about."""
    ways = math.factorial(sum(counts)) // math.prod(map(math.factorial, counts))
    return float(ways / len(counts) ** sum(counts))


@given(st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=40), st.sets(st.sampled_from(["a", "d"])))
def test_every_node_that_answers_is_counted(nodes: list[str], also: set[str]) -> None:
    balance = Balance.of(NodeMarks(HEADER, tuple(nodes)), [served_by(node) for node in also])
    assert set(balance.counts) == set(nodes) | also
    assert balance.sessions == len(nodes)


def test_another_paths_nodes_count_only_where_it_shares_one() -> None:
    found = opened(a=10, b=10)
    assert set(Balance.of(found, [], [served_by("c"), served_by("a")]).counts) == {"a", "b", "c"}
    assert set(Balance.of(found, [], [served_by("c"), served_by("d")]).counts) == {"a", "b"}
    assert set(Balance.of(found, [], [Reply()]).counts) == {"a", "b"}


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


SHARDS = ("aaaaa", "bbbbb", "ccccc")
EVEN = [f"{SHARDS[n % 3]}.{n}" for n in range(20)]
NODES = [told(f"node-{n}", shard) for n, shard in enumerate(SHARDS, 1)]
DEAD = told("node-4", "ddddd", state="dead", alive=False)
GONE = told("node-5", state="gone", alive=False)


@pytest.mark.parametrize(
    ("page", "ids", "verdict", "says"),
    [
        (page_with(*NODES), EVEN, Verdict.OK, "20 sessions spread over 3 nodes: 7, 7, 6"),
        (page_with(*NODES, GONE), EVEN, Verdict.OK, "20 sessions spread over 3 nodes: 7, 7, 6"),
        (page_with(NODES[0]), ["aaaaa.1", "aaaaa.2"], Verdict.OK, "one node, node-1, has all 2 sessions"),
        (page_with(*NODES), EVEN[:4], Verdict.UNKNOWN, "4 sessions on 3 nodes are too few to tell: 2, 1, 1"),
        (
            page_with(*NODES),
            [session for session in EVEN * 2 if session < "c"],
            Verdict.WARNING,
            "node-3 gets none of 28 new sessions",
        ),
        (
            page_with(*NODES),
            ["aaaaa.1"] * 20,
            Verdict.WARNING,
            "all 20 new sessions are on node-1, though 3 nodes are there",
        ),
        (
            page_with(*NODES[:2], told("node-3", state="draining")),
            EVEN[:2] * 10,
            Verdict.OK,
            "20 sessions spread over 2 nodes: 10, 10",
        ),
        (page_with(*NODES), ["z"] * 3, Verdict.UNKNOWN, "none of the sessions is on a node of that status page"),
        (
            page_with(*NODES, DEAD),
            [*EVEN, "ddddd.1"],
            Verdict.UNKNOWN,
            "1 of 21 sessions are on no node of that status page",
        ),
        (
            page_with(*NODES[:2], told("node-3", "ccccc", state="degraded")),
            EVEN,
            Verdict.WARNING,
            "1 of 3 nodes cannot reach the store",
        ),
        (page_with(*NODES, degraded="refused"), EVEN, Verdict.WARNING, "1 of 3 nodes cannot reach the store"),
        (
            page_with(*NODES[:2], told("node-3", "ccccc", version="0.2.0")),
            EVEN,
            Verdict.WARNING,
            "the nodes run different versions of Mooring: 0.1.0, 0.2.0",
        ),
    ],
)
def test_what_is_said_of_a_status_page(page: dict[str, Any], ids: list[str], verdict: Verdict, says: str) -> None:
    finding = judge_by_status(parse_status(answered(page)), ids, show)
    assert (finding.verdict, finding.says) == (verdict, says)
    assert len(finding.says) <= 90
    assert bool(finding.changes) is (verdict is not Verdict.OK)


def test_nodes_that_are_not_as_usual_are_remarked_on() -> None:
    page = parse_status(answered(page_with(*NODES, told("node-6", state="starting"), DEAD, GONE)))
    finding = judge_by_status(page, EVEN, show)
    assert (finding.verdict, finding.why) == (Verdict.OK, "node-6 is starting; node-4 is dead.")
    assert finding.evidence["sessions_by_node"] == {"node-1": 7, "node-2": 7, "node-3": 6}
    assert [node["state"] for node in finding.evidence["nodes"]] == ["ready"] * 3 + ["starting", "dead", "gone"]


def test_nodes_of_the_same_name_are_called_by_their_ids() -> None:
    page = parse_status(answered(page_with(told("web", "aaaaa", id="web-1"), told("web", "bbbbb", id="web-2"))))
    finding = judge_by_status(page, ["aaaaa.1"] * 20, show)
    assert finding.says == "all 20 new sessions are on web-1, though 2 nodes are there"


def test_a_page_is_settled_once_nothing_is_on_its_way() -> None:
    assert parse_status(answered(page_with(*NODES, DEAD))).is_settled(EVEN)
    assert not parse_status(answered(page_with(*NODES))).is_settled(["ddddd.1"])
    assert not parse_status(answered(page_with(*NODES, told("node-6", state="starting")))).is_settled(EVEN)


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


@pytest.mark.parametrize(("failed", "verdict"), [(1, Verdict.WARNING), (2, Verdict.BROKEN)])
async def test_new_sessions_that_cannot_be_opened(failed: int, verdict: Verdict) -> None:
    async with running_odd() as odd, examined(odd.url, sessions=4) as exam:
        exam.sessions.refused += [UNAVAILABLE] * failed + [THROTTLED] * 2 + [Reply(status=400)] * 2
        found = await spread.run(exam)
    assert (found.verdict, found.says) == (verdict, f"{failed} of {4 + failed} new sessions could not be opened: 502")
    assert found.changes


@pytest.mark.real
@pytest.mark.asyncio(loop_scope="module")
async def test_sessions_that_could_be_opened_are_told_of_beside_those_that_could_not(three: list[str]) -> None:
    async with haproxy.starved_node(three) as url, examined(url, sessions=20) as exam:
        exam.sessions.refused.append(UNAVAILABLE)
        finding = await spread.run(exam)
    assert finding.says == "1 of 21 new sessions could not be opened: 502"
    assert finding.why.endswith("The others: node-3 gets none of 20 new sessions.")
    assert finding.evidence["sessions_by_node"]["node-3"] == 0
    assert len(finding.changes) == 2
