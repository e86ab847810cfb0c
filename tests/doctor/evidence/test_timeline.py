from __future__ import annotations

import re
import signal
import sys
from urllib.parse import urlsplit

import pytest

from mooring.doctor.client.held_stream import End
from mooring.doctor.client.reply import Outcome
from mooring.doctor.client.ways import WAYS
from mooring.doctor.evidence.answered_by import AnsweredBy
from mooring.doctor.evidence.timeline import by_whom, moments, timeline
from mooring.doctor.evidence.watch import WatchedPing, WatchedSession
from tests.bare import serve
from tests.cli.doctor.process import running_doctor
from tests.deployments import haproxy
from tests.deployments.servers import replicas
from tests.doctor.breaking import Break, Seen, breaking
from tests.doctor.examples import session
from tests.waiting import until

GOOD = (Outcome.REACHED, "200", AnsweredBy.NODE)
DOWN = (Outcome.UNAVAILABLE, "502", AnsweredBy.BALANCER)
LOST = (Outcome.LOST, "404 Session not found", AnsweredBy.NODE)


def watched(*seen: tuple[Outcome, str, AnsweredBy]) -> WatchedSession:
    pings = [WatchedPing(float(at), 0.1, outcome, label, by) for at, (outcome, label, by) in enumerate(seen)]
    return WatchedSession(session(), WAYS[0], pings)


def test_a_deploy_in_the_order_of_time() -> None:
    one, two = watched(GOOD, DOWN, DOWN, LOST, LOST, GOOD), watched(GOOD, GOOD, GOOD, GOOD, GOOD, GOOD)
    one.streams_ended.append((1.2, End.CUT))
    new = [(3.1, True, "1.0"), (4.2, True, "2.0"), (4.3, False, "")]
    lines = timeline(moments([one, two], new, 5.9))
    assert lines == [
        "   1 s  1 stream ended",
        "   1 s  calls fail: 502 from the load balancer (1); 1 are answered",
        "   3 s  calls fail: 404 Session not found from a node (1); 1 are answered",
        "   3 s  1 of 1 new sessions opened",
        "   4 s  1 of 2 new sessions opened",
        "   4 s  new sessions meet version 2.0, before it was 1.0",
        "   5 s  all calls are answered again",
    ]
    assert by_whom(one.seen) == {"502": {"the load balancer": 2}, "404 Session not found": {"a node": 2}}


def test_where_nothing_happens_there_is_nothing_to_tell() -> None:
    assert timeline(moments([watched(GOOD, GOOD)], [], 2.0)) == []


def test_a_second_in_which_nothing_came_is_no_recovery() -> None:
    one = watched(GOOD, DOWN)
    told = timeline(moments([one], [], 4.0))
    assert len(told) == 1
    assert "again" not in told[0]


@pytest.mark.real
async def test_a_real_deploy_of_one_node_of_two() -> None:
    calls = streams = 0

    def count(seen: Seen) -> bool:
        nonlocal calls, streams
        calls += seen.is_call
        streams += seen.method == "GET"
        return False

    async def is_watching() -> bool:
        return streams > 0  # until then none is opened

    async def more_calls(number: int) -> None:
        wanted = calls + number

        async def came() -> bool:
            return calls >= wanted

        await until(came, what="calls of the watch")

    few = ("--sessions", "8", "--calls", "1", "--watch", "--json")
    async with (
        replicas("stateful", 2) as (old, other),
        haproxy.learned_session_id([old.url, other.url]) as url,
        breaking([url], Break(count)) as counted,
        running_doctor(counted, *few) as doctor,
    ):
        await until(is_watching, what="the watch to begin")
        await more_calls(8)
        old.process.kill()
        await old.process.wait()
        await more_calls(18)
        port = urlsplit(old.url).port
        async with serve(
            "tests.servers.small:app", python=sys.executable, environment={"SMALL_VERSION": "2.0.0"}, port=port
        ):
            await more_calls(24)
            doctor.process.send_signal(signal.SIGINT)
            said = (await doctor.end()).json
    [found] = [one for one in said["findings"] if one["check"] == "node-loss"]
    told = "\n".join(found["lines"])
    assert found["verdict"] == "broken"
    assert re.search(r"calls fail: 503.* from the load balancer", told), told
    assert re.search(r"calls fail: 404 Session not found from a node", told), told
    assert told.index("from the load balancer") < told.index("from a node")
    assert "streams ended" in told or "stream ended" in told
