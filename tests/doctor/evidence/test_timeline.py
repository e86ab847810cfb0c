from __future__ import annotations

from mooring.doctor.client.held_stream import End
from mooring.doctor.client.reply import Outcome
from mooring.doctor.client.ways import WAYS
from mooring.doctor.evidence.answered_by import AnsweredBy
from mooring.doctor.evidence.timeline import by_whom, moments, timeline
from mooring.doctor.evidence.watch import WatchedPing, WatchedSession
from tests.doctor.examples import session

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
