"""The ways in which clients send."""

from __future__ import annotations

from mooring.doctor.client.ways import HOME, WAYS


def test_there_are_four_and_each_has_a_name_and_a_key_of_its_own() -> None:
    assert {(way.cookies, way.one_connection) for way in WAYS} == {(a, b) for a in (True, False) for b in (True, False)}
    assert len({way.key for way in WAYS}) == len({way.name for way in WAYS}) == 4
    assert (HOME.key, HOME.name) == ("cookies_one_connection", "cookies, one connection")
