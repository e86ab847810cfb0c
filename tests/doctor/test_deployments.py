"""Deployments that are broken on purpose, and some that are not: the doctor says what is wrong, and nothing else.

Each deployment is of real parts. `PROBLEMS` in a row are all that may be said beyond `ok` and `unknown`.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

import pytest
import pytest_asyncio

from mooring.doctor.report import Outlook, Report
from tests.deployments import haproxy, mixed, nginx, traefik
from tests.deployments.servers import replica_urls
from tests.doctor.runs import finding, is_called_healthy, problems, run, verdicts

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="module")]

Deploy = Callable[[list[str]], AbstractAsyncContextManager[str]]
Problems = dict[str, str]

FAILS_WITH_TWO = r"works with one replica, fails with two: \d\d% of calls miss their session"
NEEDS_COOKIES = r"only clients that keep cookies work: without, \d\d% of calls reach their session"
HASHED = r"each session works always or never: as if placed by a hash of the session id"
BY_CONNECTION = r"affinity by connection: on new ones \d\d% of calls reach their session"
ON_OTHER_PATHS = r".*other paths.*"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def three() -> AsyncIterator[list[str]]:
    """Three replicas of a stateful server, as its SDK makes it."""
    async with replica_urls("stateful") as urls:
        yield urls


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def resumable() -> AsyncIterator[list[str]]:
    """One replica whose streams carry event ids."""
    async with replica_urls("everything", 1) as urls:
        yield urls


def assert_problems(report: Report, expected: Problems) -> None:
    """These are the problems, each said so, and there are no others; each has its change."""
    found = problems(report)
    assert set(found) == set(expected), found
    for check, pattern in expected.items():
        assert re.fullmatch(pattern, found[check]), found[check]
        assert finding(report, check).changes
    # Where a hash of its id leads away from a session's node, no DELETE of ours can reach it.
    assert report.left == 0 or expected.get("affinity") == HASHED


@pytest.mark.parametrize(
    ("deploy", "proxy", "expected"),
    [
        (haproxy.round_robin, "HAProxy", {"affinity": FAILS_WITH_TWO}),
        (nginx.round_robin, "nginx", {"affinity": FAILS_WITH_TWO}),
        (traefik.round_robin, None, {"affinity": FAILS_WITH_TWO}),
        (haproxy.sticky_cookie, "HAProxy", {"affinity": NEEDS_COOKIES, "cookie": ON_OTHER_PATHS}),
        (traefik.sticky_cookie, "Traefik", {"affinity": NEEDS_COOKIES, "cookie": ON_OTHER_PATHS}),
        (traefik.cookie_elsewhere, None, {"affinity": FAILS_WITH_TWO, "cookie": r".*never.*"}),
        (haproxy.hashed_session_id, "HAProxy", {"affinity": HASHED}),
        (nginx.hashed_session_id, "nginx", {"affinity": HASHED}),
        (haproxy.by_connection, None, {"affinity": BY_CONNECTION}),
        (haproxy.learned_session_id, "HAProxy", {}),
        (partial(haproxy.learned_session_id, tell_node=True), "HAProxy", {}),
        (haproxy.starved_node, "HAProxy", {"spread": r".*node-3.*"}),
    ],
)
async def test_affinity(three: list[str], deploy: Deploy, proxy: str | None, expected: Problems) -> None:
    async with deploy(three) as url:
        report = await run(url)
    assert_problems(report, expected)
    assert proxy is None or report.proxy == proxy
    assert is_called_healthy(report) == (not expected)
    assert (report.outlook is Outlook.BROKEN) == ("affinity" in expected)


@pytest.mark.parametrize(
    ("deploy", "fields", "expected"),
    [
        (nginx.round_robin, {"idle_seconds": 17.0}, {}),
        (haproxy.idle_timeout, {"idle_seconds": 8.0}, {"idle": r".* 5(\.\d)? s.*"}),
        (nginx.idle_timeout, {"idle_seconds": 8.0}, {"idle": r".* 5(\.\d)? s.*"}),
        # With HTTP/1.0 nginx makes a 502 of most 413s that come while it is still sending: warned of, but by chance.
        (nginx.buffered, {"idle_seconds": 12.0, "skip": {"body-limit"}}, {"buffering": r".*held back.*"}),
        (nginx.body_limit, {}, {"body-limit": r".*413.*"}),
        (partial(nginx.compressed, buffer=False), {}, {"compression": r".*gzip.*"}),
    ],
)
async def test_streams_and_limits(three: list[str], deploy: Deploy, fields: dict[str, Any], expected: Problems) -> None:
    async with deploy(three[:1]) as url:
        report = await run(url, **fields)
    assert_problems(report, expected)


@pytest.mark.parametrize("deploy", [haproxy.dropped_header, haproxy.doubled_header])
async def test_modern_headers(three: list[str], deploy: Deploy) -> None:
    async with deploy(three[:1]) as url:
        report = await run(url)
    assert "modern-headers" in problems(report) or not report.reached, problems(report)


async def test_an_unknown_session_answered_with_400() -> None:
    async with replica_urls("typescript", 1) as [url]:
        report = await run(url)
    assert "unknown-session" in problems(report)
    assert "400" in problems(report)["unknown-session"]
    # That SDK checks no Origin and no Host by itself, and its body parser takes 100 KiB.
    assert set(problems(report)) <= {"unknown-session", "deleted-session", "origin", "host", "body-limit"}
    assert report.outlook is Outlook.BROKEN


async def test_a_server_without_sessions_needs_no_affinity() -> None:
    async with replica_urls("stateless") as urls, haproxy.round_robin(urls) as url:
        report = await run(url)
    assert_problems(report, {})
    assert is_called_healthy(report)
    assert finding(report, "affinity").says.startswith("no sessions, so no affinity is needed")


@pytest.mark.parametrize(
    ("deployment", "says"),
    [
        (mixed.modes, "some nodes give out sessions"),
        (mixed.versions, "sessions met different server versions: 1.0.0, 2.0.0"),
    ],
)
async def test_nodes_that_differ(deployment: Callable[[], AbstractAsyncContextManager[str]], says: str) -> None:
    async with deployment() as url:
        report = await run(url)
    found = problems(report)
    assert found.pop("eras").startswith(says)
    # A node without sessions serves whatever session it is asked for.
    assert set(found) <= {"unknown-session", "deleted-session", "forged-session"}


async def test_one_bare_server_is_healthy(resumable: list[str]) -> None:
    report = await run(resumable[0])
    assert is_called_healthy(report), problems(report)
    assert verdicts(report)["resumption"] == "ok"
