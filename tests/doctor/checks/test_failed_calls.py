"""The verdict on calls that fail though their session is there."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from mooring.doctor.checks.failed_calls import judge_failed, kind_of
from mooring.doctor.client.reply import Reply, Trouble
from mooring.doctor.client.ways import WAYS
from mooring.doctor.examination import Call
from mooring.doctor.findings import Verdict
from tests.doctor.examples import HANG, REACHED, THROTTLED, session

DOWN = Reply(502, body=b"<html>Bad Gateway</html>")
OTHER_HOST = Reply(421)


def made(fails: Callable[[int, int, int], bool], reply: Reply) -> list[Call]:
    """Calls of four sessions in each way; `fails` is given number, session and way."""
    sessions = [session(str(number)) for number in range(4)]
    found: list[Call] = []
    for number_of_way, way in enumerate(WAYS):
        for _ in range(6):
            for number, one in enumerate(sessions):
                at = len(found)
                came = reply if fails(at, number, number_of_way) else REACHED
                found.append(Call(one, way, dataclasses.replace(came, at_seconds=at / 10)))
    return found


@pytest.mark.parametrize(
    ("reply", "fails", "says", "why"),
    [
        (DOWN, lambda at, one, way: True, "96 of 96 calls failed: 502", "All calls fail so"),
        (
            OTHER_HOST,
            lambda at, one, way: way >= 2,
            "calls fail on every connection but the one that opened the session: 421",
            "tied to its connection",
        ),
        (DOWN, lambda at, one, way: way % 2 == 1, "48 of 96 calls failed: 502", "without cookies"),
        (DOWN, lambda at, one, way: at >= 30, "66 of 96 calls failed: 502", "The first 30 calls passed"),
        (DOWN, lambda at, one, way: 20 <= at < 50, "30 of 96 calls failed: 502", "They all fell within 2.9 s"),
        (DOWN, lambda at, one, way: one == 2, "24 of 96 calls failed: 502", "Some sessions fail always"),
        (DOWN, lambda at, one, way: at in (3, 17, 50, 80), "4 of 96 calls failed: 502", "No pattern by node"),
        (HANG, lambda at, one, way: at in (3, 17, 50, 80), "4 of 96 calls failed: no answer in time", "stalls"),
        (Reply(401), lambda at, one, way: one == 1, "24 of 96 calls failed: 401", "same token, or with none"),
    ],
)
def test_each_pattern_is_told(reply: Reply, fails: Callable[[int, int, int], bool], says: str, why: str) -> None:
    calls = made(fails, reply)
    found = judge_failed("affinity", calls, [None] * len(calls), (), {}, str)
    assert (found.verdict, found.says) == (Verdict.BROKEN, says)
    assert why in found.why
    assert found.changes


def test_nodes_that_do_not_reach_each_other_are_told_of_the_way_through_redis() -> None:
    error = {"code": -32000, "message": "try again", "data": {"reason": "unreachable"}}
    reply = Reply(200, message={"jsonrpc": "2.0", "id": 1, "error": error})
    assert kind_of(reply).startswith("unavailable")
    calls = made(lambda at, one, way: at % 3 != 0, reply)
    found = judge_failed("affinity", calls, [None] * len(calls), (), {}, str)
    assert "do not reach each other" in found.why
    assert "peer_link = redis" in found.changes[0].what


def test_every_second_call() -> None:
    calls = made(lambda at, one, way: (at * 7 + at // 3) % 2 == 0, DOWN)
    found = judge_failed("affinity", calls, [None] * len(calls), [True, False] * 6, {}, str)
    assert found.says == "every second call fails: 502"
    assert "made for people" in found.why


def test_the_node_is_named_where_a_header_names_it() -> None:
    calls = made(lambda at, one, way: one % 2 == 0, DOWN)
    nodes = [f"node-{number % 2}" for number in range(len(calls))]
    found = judge_failed("affinity", calls, nodes, (), {}, str)
    assert "Each time it is the node node-0" in found.why


def test_a_limit_on_the_rate_is_no_fault() -> None:
    calls = made(lambda at, one, way: at % 5 == 0, THROTTLED)
    found = judge_failed("affinity", calls, [None] * len(calls), (), {}, str)
    assert found.verdict is Verdict.UNKNOWN


def test_what_makes_two_failures_the_same() -> None:
    assert kind_of(DOWN) == kind_of(Reply(502)) != kind_of(Reply(503))


@pytest.mark.parametrize(
    ("reply", "seconds", "is_limit"),
    [
        (Reply(504), (5.0, 5.1, 5.0, 5.2), True),
        (Reply(trouble=Trouble.CUT), (0.35, 0.31, 0.33, 0.4), True),
        (Reply(504), (0.01, 0.02, 0.01, 0.02), False),
        (Reply(503), (3.0, 3.0, 3.1, 3.0), False),
        (Reply(502), (0.3, 5.0, 1.0, 2.0), False),
        (HANG, (5.0, 5.0, 5.0, 5.0), False),
    ],
)
def test_a_limit_of_time_is_told_by_what_each_took(reply: Reply, seconds: tuple[float, ...], is_limit: bool) -> None:
    one = session("one")
    calls = [Call(one, WAYS[0], dataclasses.replace(reply, seconds=took)) for took in seconds]
    found = judge_failed("affinity", calls, [None] * len(calls), [], {}, str)
    assert ("a limit of time on the way" in found.why) is is_limit
