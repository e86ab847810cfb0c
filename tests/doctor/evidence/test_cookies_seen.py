from __future__ import annotations

from collections.abc import Sequence

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from mooring.doctor.client.reply import Reply
from mooring.doctor.client.ways import WAYS
from mooring.doctor.evidence.cookies_seen import SeenCookie, pins_path, seen_cookies
from mooring.doctor.evidence.other_path import OtherPathReplies
from mooring.doctor.examination import Call
from tests.doctor.examples import LOST, REACHED, examination, session

HTTPS, HTTP, LOCAL = "https://example.com/mcp", "http://example.com/mcp", "http://127.0.0.1:8080/mcp"


def answered(node: str = "", *cookies: str, body: bytes = b"") -> Reply:
    headers = CIMultiDict([("Set-Cookie", line) for line in cookies])
    if node:
        headers["X-Served-By"] = node
    return Reply(status=200, headers=CIMultiDictProxy(headers), body=body)


def elsewhere(plain: Sequence[Reply], carried: Sequence[Reply], *sent: str) -> OtherPathReplies:
    return OtherPathReplies("/app", frozenset(sent), tuple(plain), tuple(carried))


SPREAD = [answered(node) for node in "abc" * 4]


GIVEN = [answered("", f"lb={node}") for node in "abc" * 4]


@pytest.mark.parametrize(
    ("other", "pinned"),
    [
        (elsewhere(SPREAD, [], "theme"), False),
        (elsewhere(SPREAD, [answered("a")] * 12, "lb"), True),
        (elsewhere(SPREAD, SPREAD, "lb"), False),
        (elsewhere([answered("a")] * 12, [answered("a")] * 12, "lb"), None),
        (elsewhere([answered()] * 12, [answered()] * 12, "lb"), None),
        (elsewhere(GIVEN, [answered()] * 12, "lb"), True),
        (elsewhere(GIVEN, GIVEN, "lb"), False),
        (elsewhere([answered("", "lb=a")] * 12, [answered()] * 12, "lb"), None),
        (elsewhere([answered("", f"lb={n}") for n in range(12)], [answered()] * 12, "lb"), None),
        (elsewhere([answered(body=node.encode()) for node in "abc" * 4], [answered(body=b"a")] * 12, "lb"), True),
        (elsewhere(SPREAD, [Reply()] * 12, "lb"), None),
    ],
)
def test_whether_the_cookie_pins_another_path(other: OtherPathReplies, pinned: bool | None) -> None:
    assert pins_path(other, frozenset({"lb"}))[0] is pinned


def seen(lines: Sequence[str], *calls: Call) -> tuple[SeenCookie, ...]:
    """What is seen where each session is opened with one of these Set-Cookie lines."""
    return seen_cookies(examination(calls, [session(f"session-{n}", line) for n, line in enumerate(lines)]))


def test_cookies_that_help_are_the_load_balancers() -> None:
    lines = ["x=1", "x=2"]
    one = session("one", "x=1")
    lost_without = [Call(one, way, REACHED if way.cookies else LOST) for way in WAYS]
    lost_always = [Call(one, way, LOST) for way in WAYS]
    assert [one.is_affinity for one in seen(lines)] == [False]
    assert [one.is_affinity for one in seen(lines, *lost_without)] == [True]
    assert [one.is_affinity for one in seen(lines, *lost_always)] == [False]


def test_a_cookie_that_comes_with_answers_to_it_is_renewed() -> None:
    one = session("one", "lb=1")
    again = Reply(status=200, headers=one.opened.headers, message=REACHED.message)
    lines = ["lb=1"]
    assert seen(lines, Call(one, WAYS[0], again))[0].renewed
    assert not seen(lines, Call(one, WAYS[3], again))[0].renewed
