from __future__ import annotations

import json

import pytest

from mooring.core.routing import Reason
from mooring.doctor.checks.affinity import judge
from mooring.doctor.client.reply import Reply
from mooring.doctor.client.ways import WAYS
from mooring.doctor.examination import Call
from mooring.node.requests import answers
from tests.doctor.examples import LOST, REACHED, alike, calls, examination, session


def test_a_cookie_that_does_not_help_is_pointed_at() -> None:
    with_cookie = session("one", "affinity=a; Path=/other")
    made = [call for way in WAYS for call in calls(with_cookie, way, REACHED, LOST)]
    assert "A cookie is set, and it does not help" in judge(examination(made)).why


def test_the_nodes_are_counted_by_the_share_of_what_arrives() -> None:
    assert judge(examination(alike(REACHED, LOST, LOST, LOST))).evidence["nodes_about"] == 4


def test_calls_that_meet_no_mcp_server_are_no_lack_of_affinity() -> None:
    elsewhere = Reply(status=404, body=b"Not Found")
    exam = examination(alike(REACHED, elsewhere))
    assert judge(exam).says.startswith("works with one replica, fails with two")
    exam.sessions.refused.append(elsewhere)
    found = judge(exam)
    assert found.says == "8 of 16 calls met what is no MCP server: 404 Not Found"
    assert "another path" in found.why
    assert found.changes
    exam.calls += alike(LOST)
    assert judge(exam).says.startswith("works with one replica"), "others met a node that has not their session"


def reached_at_first(count: int, *, but: int = 0) -> list[Call]:
    """The calls of so many sessions, each of which was reached right after its opening, but for some."""
    opened = [session(f"session-{number}") for number in range(count)]
    for one in opened[but:]:
        one.was_reached = True
    return [call for one in opened for way in WAYS for call in calls(one, way, REACHED, LOST)]


def test_a_table_that_forgets_is_no_lack_of_one() -> None:
    found = judge(examination(reached_at_first(8)))
    assert found.says == "sessions are reached at first, and later 50% of calls miss them"
    assert found.evidence["pattern"] == "forgotten"
    assert any("room" in change.what for change in found.changes)


@pytest.mark.parametrize(("count", "but"), [(3, 0), (9, 1)])
def test_what_may_be_chance_is_no_table(count: int, but: int) -> None:
    assert judge(examination(reached_at_first(count, but=but))).says.startswith("works with one replica")


def of_mooring(reason: Reason) -> Reply:
    """What one of Mooring's nodes answers."""
    return Reply(status=404, message=json.loads(answers._error(reason, 1)))


@pytest.mark.parametrize("reason", [Reason.FORGED, Reason.UNKNOWN])
def test_nodes_of_mooring_that_are_no_cluster_are_told_so(reason: Reason) -> None:
    found = judge(examination(alike(REACHED, of_mooring(reason))))
    assert f"Nodes of Mooring answer so (`{reason}`)" in found.why
    [change] = found.changes
    assert "the same secret, the same redis_url and the same key_prefix" in change.what


def test_nodes_without_mooring_beside_others_are_told_so() -> None:
    found = judge(examination(alike(REACHED, of_mooring(Reason.FORGED), LOST)))
    assert "some nodes serve MCP at this path without Mooring" in found.why
    [change] = found.changes
    assert "mcp_path" in change.what


def test_sessions_that_ended_in_a_cluster_of_mooring_are_no_lack_of_one() -> None:
    gone = session("gone")
    made = [call for way in WAYS for call in calls(gone, way, REACHED)]
    made += [call for way in WAYS for call in calls(gone, way, *[of_mooring(Reason.UNKNOWN)] * 2)]
    found = judge(examination(made + alike(REACHED)))
    assert (found.evidence["pattern"], "no cluster" in found.why) == ("ended", False)
