from __future__ import annotations

from mooring.doctor.checks.affinity import judge
from mooring.doctor.client.reply import Reply
from mooring.doctor.client.ways import WAYS
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
