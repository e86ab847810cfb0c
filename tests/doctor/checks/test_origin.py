from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web
from multidict import CIMultiDict, CIMultiDictProxy

from mooring.doctor.advice import Topic, advice
from mooring.doctor.checks import origin
from mooring.doctor.checks.origin import FOREIGN, Replies
from mooring.doctor.client.reply import Reply
from mooring.doctor.findings import Finding, Verdict
from mooring.doctor.proxies import Proxy
from tests.deployments import haproxy, nginx
from tests.deployments.servers import replica_urls
from tests.doctor.examined import examined
from tests.doctor.examples import HANG, LOST, REACHED, THROTTLED
from tests.doctor.ledger import running_ledger
from tests.doctor.odd import refusal, running_odd

REFUSED = Reply(status=403, body=b"Invalid Origin header")
OWN = "http://host:8000"


async def found_at(url: str, **fields: Any) -> Finding:
    async with examined(url, **{"sessions": 2, **fields}) as exam:
        found = await origin.run(exam)
    assert isinstance(found, Finding)
    return found


@pytest.mark.parametrize(
    ("control", "foreign", "verdict", "says"),
    [
        (REACHED, REFUSED, Verdict.OK, "a foreign Origin is refused: 403 Invalid Origin header"),
        (REACHED, Reply(status=400), Verdict.OK, "a foreign Origin is refused: 400"),
        (REACHED, LOST, Verdict.OK, "a foreign Origin is refused: 404 Session not found"),
        (REACHED, REACHED, Verdict.WARNING, "requests from any web page are served: the Origin header is not checked"),
        (REACHED, Reply(status=500), Verdict.WARNING, "a foreign Origin is refused with 500; 403 is due"),
        (
            REACHED,
            HANG,
            Verdict.UNKNOWN,
            "the call with a foreign Origin got no answer from the server: no answer in time",
        ),
        (
            REACHED,
            Reply(status=200),
            Verdict.UNKNOWN,
            "the call with a foreign Origin got no answer from the server: 200",
        ),
        (REACHED, THROTTLED, Verdict.UNKNOWN, "the call with a foreign Origin got no answer from the server: 429"),
        (LOST, LOST, Verdict.UNKNOWN, "calls fail without an Origin, too: 404 Session not found"),
    ],
)
def test_the_verdict(control: Reply, foreign: Reply, verdict: Verdict, says: str) -> None:
    found = origin.judge(Replies(control, foreign, REACHED), OWN, None, str)
    assert (found.verdict, found.says) == (verdict, says)
    assert bool(found.changes) == (verdict is Verdict.WARNING)


def test_a_refusal_with_another_status_and_of_ones_own_pages_are_remarks() -> None:
    found = origin.judge(Replies(REACHED, Reply(status=400), REFUSED), OWN, None, str)
    assert found.verdict is Verdict.OK
    assert found.why.startswith("The specification asks for 403. A page of http://host:8000 itself is refused, too")


def test_who_opens_the_answers_to_any_page_may_mean_it() -> None:
    headers = CIMultiDictProxy(CIMultiDict({"Access-Control-Allow-Origin": "*"}))
    foreign = Reply(status=200, headers=headers, message=REACHED.message)
    found = origin.judge(Replies(REACHED, foreign, REACHED), OWN, None, str)
    assert found.verdict is Verdict.WARNING
    assert "any page read the answers" in found.why


@pytest.mark.parametrize(("proxy", "count"), [(None, 1), (Proxy.TRAEFIK, 1), (Proxy.NGINX, 2), (Proxy.HAPROXY, 2)])
def test_the_change_is_the_servers_and_that_of_a_proxy_which_can_do_it(proxy: Proxy | None, count: int) -> None:
    found = origin.judge(Replies(REACHED, REACHED, REACHED), OWN, proxy, str)
    assert len(found.changes) == count
    assert all(OWN in change.config and "{origin}" not in change.config for change in found.changes)


async def test_a_server_that_looks_at_no_origin() -> None:
    async with running_odd() as odd:
        found = await found_at(odd.url)
    assert (found.verdict, found.evidence["foreign_origin"]) == (Verdict.WARNING, "200")


async def test_a_server_that_looks_only() -> None:
    def guard(request: web.Request) -> web.Response | None:
        return refusal(403) if request.headers.get("Origin") == FOREIGN else None

    async with running_odd(guard=guard) as odd:
        found = await found_at(odd.url)
        assert f"http://127.0.0.1:{odd.url.split(':')[2].removesuffix('/mcp')}" in {
            request.headers.get("Origin") for request in odd.seen
        }
    assert found.verdict is Verdict.OK
    assert found.evidence["own_origin"] == "200"


async def test_another_nodes_404_is_not_taken_for_a_refusal() -> None:
    async with running_ledger(lost_share=3) as ledger:
        assert (await found_at(ledger.url)).verdict is Verdict.WARNING


@pytest.mark.real
@pytest.mark.parametrize("kind", ["stateful", "stateless"])
async def test_the_python_sdk_with_all_its_defaults(kind: Any) -> None:
    async with replica_urls(kind, 2) as urls, haproxy.round_robin(urls) as url:
        found = await found_at(url)
    assert (found.verdict, found.evidence["foreign_origin"]) == (Verdict.OK, "403")
    assert found.evidence["own_origin"] == "200"


@pytest.mark.real
async def test_what_is_advised_for_haproxy() -> None:
    line = advice(Topic.ORIGIN, Proxy.HAPROXY, origin="http://localhost:1").config
    async with running_odd() as odd:
        async with haproxy.running_haproxy([odd.url]) as base:
            assert (await found_at(f"{base}/mcp")).verdict is Verdict.WARNING
        async with haproxy.running_haproxy([odd.url], frontend=[line]) as base:
            assert (await found_at(f"{base}/mcp")).verdict is Verdict.OK


@pytest.mark.real
async def test_what_is_advised_for_nginx() -> None:
    async with running_odd() as odd:
        async with nginx.running_nginx([odd.url]) as base:
            assert (await found_at(f"{base}/mcp")).verdict is Verdict.WARNING
        for page, own in (("http://localhost:1", "403"), (None, "200")):
            lines = advice(Topic.ORIGIN, Proxy.NGINX, origin=page or "$scheme://$http_host").config
            async with nginx.running_nginx([odd.url], {f"{lines}\n      set $unused": "1"}) as base:
                found = await found_at(f"{base}/mcp")
            assert (found.verdict, found.evidence["own_origin"]) == (Verdict.OK, own)


async def test_a_server_that_fails_at_that_moment_is_not_said_to_refuse_a_page_so() -> None:
    down = False

    def guard(request: web.Request) -> web.Response | None:
        nonlocal down
        down = down or "Origin" in request.headers
        return web.Response(status=503) if down else None

    async with running_odd(guard=guard) as odd, examined(odd.url, sessions=3) as exam:
        found = await origin.run(exam)
    assert isinstance(found, Finding)
    assert (found.verdict, found.says) == (Verdict.UNKNOWN, "calls fail without an Origin, too: 503")
