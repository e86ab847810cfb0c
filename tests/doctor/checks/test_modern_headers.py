from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from multidict import CIMultiDict, CIMultiDictProxy

from mooring.doctor.checks import modern_headers
from mooring.doctor.checks.modern_headers import Replies
from mooring.doctor.client.protocol import HEADER_MISMATCH, METHOD, NAME, SESSION
from mooring.doctor.client.reply import Reply
from mooring.doctor.findings import Finding, NotRun, Verdict
from tests.deployments import haproxy, nginx
from tests.deployments.servers import replica_urls
from tests.doctor.examined import examined
from tests.doctor.examples import HANG, THROTTLED, UNAVAILABLE
from tests.doctor.odd import running_odd

SERVED = Reply(status=200, message={"jsonrpc": "2.0", "id": 1, "result": {"tools": []}})
NOTHING_LOST = "the headers of the modern era arrive as sent, 6 of 6 times, and are checked"


def refused(text: str, code: int = HEADER_MISMATCH) -> Reply:
    return Reply(status=400, message={"jsonrpc": "2.0", "id": 1, "error": {"code": code, "message": text}})


MISMATCH = refused("mcp-method header does not match the request body's method")
OLDER = Reply(status=400, headers=CIMultiDictProxy(CIMultiDict({SESSION: "x"})))


async def found_at(url: str, **fields: Any) -> Finding:
    async with examined(url, **{"sessions": 4, **fields}) as exam:
        found = await modern_headers.run(exam)
    assert isinstance(found, Finding)
    return found


@pytest.mark.parametrize(
    ("right", "call", "wrong", "doubled", "verdict", "says"),
    [
        ([SERVED] * 6, None, MISMATCH, MISMATCH, Verdict.OK, NOTHING_LOST),
        ([SERVED] * 6, SERVED, MISMATCH, MISMATCH, Verdict.OK, NOTHING_LOST),
        ([SERVED] * 6, refused("no such tool", -32602), MISMATCH, MISMATCH, Verdict.OK, NOTHING_LOST),
        ([SERVED] * 6, None, MISMATCH, SERVED, Verdict.OK, NOTHING_LOST),
        (
            [SERVED] * 6,
            None,
            SERVED,
            SERVED,
            Verdict.UNKNOWN,
            "the server does not check its headers, so nothing shows whether they arrive",
        ),
        (
            [MISMATCH] * 6,
            None,
            None,
            None,
            Verdict.BROKEN,
            "Mcp-Method does not arrive as it was sent: 6 of 6 calls are refused",
        ),
        (
            [SERVED, MISMATCH] * 3,
            None,
            None,
            None,
            Verdict.BROKEN,
            "Mcp-Method does not arrive as it was sent: 3 of 6 calls are refused",
        ),
        (
            [SERVED] * 6,
            refused("mcp-name header is required"),
            MISMATCH,
            MISMATCH,
            Verdict.BROKEN,
            "Mcp-Name does not arrive as it was sent: 1 of 7 calls are refused",
        ),
        (
            [refused("headers and body disagree")] * 6,
            None,
            None,
            None,
            Verdict.BROKEN,
            "a header does not arrive as it was sent: 6 of 6 calls are refused",
        ),
        ([SERVED, UNAVAILABLE], None, None, None, Verdict.BROKEN, "1 of 2 modern calls failed: 502"),
        ([SERVED, HANG], None, None, None, Verdict.BROKEN, "1 of 2 modern calls failed: no answer in time"),
        ([SERVED, OLDER], None, None, None, Verdict.BROKEN, "some nodes do not speak the modern era: 400"),
        ([THROTTLED], None, None, None, Verdict.UNKNOWN, "the server limits the rate of requests (429)"),
    ],
)
def test_the_verdict(
    right: Sequence[Reply],
    call: Reply | None,
    wrong: Reply | None,
    doubled: Reply | None,
    verdict: Verdict,
    says: str,
) -> None:
    found = modern_headers.judge(Replies(right, call, wrong, doubled), None, str)
    assert (found.verdict, found.says) == (verdict, says)
    assert bool(found.changes) == (verdict is Verdict.BROKEN)
    json.dumps(found.evidence)


def test_what_a_server_does_not_look_at_is_a_remark() -> None:
    found = modern_headers.judge(Replies([SERVED], None, MISMATCH, SERVED), None, str)
    assert found.verdict is Verdict.OK
    assert "twice" in found.why


async def test_a_server_that_does_not_look_proves_nothing() -> None:
    async with running_odd(is_modern=True, checks_headers=False) as odd:
        assert (await found_at(odd.url)).verdict is Verdict.UNKNOWN


async def test_a_server_that_looks() -> None:
    async with running_odd(is_modern=True) as odd:
        found = await found_at(odd.url)
    assert (found.verdict, found.says) == (Verdict.OK, NOTHING_LOST)
    assert found.evidence["refuses_doubled_method"] is True


async def test_a_discovery_without_an_answer_tells_nothing_of_the_era() -> None:
    async with running_odd() as odd, examined(odd.url, sessions=4) as exam:
        exam.eras.discovered = HANG
        found = await modern_headers.run(exam)
    assert isinstance(found, NotRun)
    assert found.why == "whether the server speaks the modern era was not found out: no answer in time"


async def test_nothing_is_sent_to_a_server_of_the_older_era() -> None:
    async with running_odd() as odd, examined(odd.url, sessions=4) as exam:
        before = len(odd.seen)
        assert isinstance(await modern_headers.run(exam), NotRun)
        assert len(odd.seen) == before


async def test_an_older_node_is_sent_no_more_of_what_opens_a_session_there() -> None:
    async with running_odd(is_modern=True) as odd, examined(odd.url, sessions=4) as exam:

        def as_the_older_sdk(request: web.Request) -> web.Response | None:
            return web.Response(status=400, headers={SESSION: odd.mint()}) if METHOD in request.headers else None

        odd.guard = as_the_older_sdk
        before = len(odd.seen)
        found = await modern_headers.run(exam)
        assert len(odd.seen) - before == 1
    assert isinstance(found, Finding)
    assert (found.verdict, found.says) == (Verdict.BROKEN, "some nodes do not speak the modern era: 400")


async def test_the_operators_tool_is_called_once_and_not_where_only_reading_is_allowed() -> None:
    for read_only, calls in ((False, 1), (True, 0)):
        async with running_odd(is_modern=True) as odd:
            found = await found_at(odd.url, tool="count", read_only=read_only)
            assert [request.headers.get(NAME) for request in odd.seen].count("count") == calls
        assert (found.evidence["tool_call"] is not None) == (calls == 1)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def nodes() -> AsyncIterator[list[str]]:
    async with replica_urls("stateful", 2) as urls:
        yield urls


@pytest.mark.real
@pytest.mark.asyncio(loop_scope="module")
async def test_proxies_that_let_headers_be(nodes: list[str]) -> None:
    async with haproxy.round_robin(nodes) as turned, nginx.round_robin(nodes) as passed:
        for url in (nodes[0], turned, passed):
            found = await found_at(url, tool="count")
            assert (found.verdict, found.says) == (Verdict.OK, NOTHING_LOST)
            assert found.evidence["tool_call"] == "200"


@pytest.mark.real
@pytest.mark.asyncio(loop_scope="module")
async def test_a_proxy_that_drops_or_doubles_one(nodes: list[str]) -> None:
    for header in (haproxy.dropped_header(nodes), haproxy.doubled_header(nodes)):
        async with header as url:
            found = await found_at(url)
        assert (found.verdict, found.says) == (
            Verdict.BROKEN,
            f"{METHOD} does not arrive as it was sent: 6 of 6 calls are refused",
        )
        assert found.changes


@pytest.mark.real
@pytest.mark.asyncio(loop_scope="module")
async def test_a_header_that_only_a_call_has(nodes: list[str]) -> None:
    async with haproxy.dropped_header(nodes, NAME) as url:
        assert (await found_at(url)).verdict is Verdict.OK
        found = await found_at(url, tool="count")
    assert (found.verdict, found.says) == (
        Verdict.BROKEN,
        f"{NAME} does not arrive as it was sent: 1 of 7 calls are refused",
    )


@pytest.mark.real
@pytest.mark.asyncio(loop_scope="module")
async def test_one_way_of_two_drops_it(nodes: list[str]) -> None:
    async with (
        haproxy.dropped_header(nodes[:1]) as broken,
        haproxy.running_haproxy([nodes[0], broken], "balance roundrobin") as base,
    ):
        found = await found_at(f"{base}/mcp")
    assert (found.verdict, found.says) == (
        Verdict.BROKEN,
        f"{METHOD} does not arrive as it was sent: 3 of 6 calls are refused",
    )


def test_a_wrong_header_that_is_refused_in_another_way_does_not_show_a_server_that_looks_at_none() -> None:
    found = modern_headers.judge(Replies([SERVED] * 6, wrong=Reply(status=400, body=b"<html>")), None, str)
    assert (found.verdict, found.says) == (Verdict.UNKNOWN, "cannot tell: a wrong header is refused with 400")
