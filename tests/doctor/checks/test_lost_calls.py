from __future__ import annotations

from mooring.doctor.checks.affinity import judge
from mooring.doctor.client.ways import WAYS
from tests.doctor.examples import LOST, REACHED, alike, calls, examination, session


def test_a_cookie_that_does_not_help_is_pointed_at() -> None:
    with_cookie = session("one", "affinity=a; Path=/other")
    made = [call for way in WAYS for call in calls(with_cookie, way, REACHED, LOST)]
    assert "A cookie is set, and it does not help" in judge(examination(made)).why


def test_the_nodes_are_counted_by_the_share_of_what_arrives() -> None:
    assert judge(examination(alike(REACHED, LOST, LOST, LOST))).evidence["nodes_about"] == 4
