"""Which node has answered, for any answer."""

from __future__ import annotations

from multidict import CIMultiDict, CIMultiDictProxy

from mooring.doctor.client.reply import Reply
from mooring.doctor.client.ways import HOME
from mooring.doctor.evidence.node_of_reply import answers_within, node_reader, openings_of
from tests.doctor.examples import LOST, REACHED, UNAVAILABLE, calls, examination, session


def by(node: str) -> Reply:
    headers = CIMultiDict({"X-Served-By": node})
    return Reply(200, headers=CIMultiDictProxy(headers), message=REACHED.message)


def test_a_header_tells() -> None:
    opened = [session(str(number)) for number in range(6)]
    for number, one in enumerate(opened):
        one.opened = by(f"node-{number % 2}")
    exam = examination(opened=opened)
    exam.sessions.refused = [UNAVAILABLE, LOST]
    assert len(openings_of(exam)) == 7, "a proxy that finds no node is none"
    exam.sessions.refused = []
    read = node_reader(exam)
    assert [read(one.opened) for one in opened[:3]] == ["node-0", "node-1", "node-0"]
    assert read(UNAVAILABLE) is None


def test_where_nothing_tells_nobody_is_named() -> None:
    one = session("one")
    exam = examination(calls(one, HOME, REACHED, LOST), [one])
    assert answers_within(exam) == [[REACHED]]
    assert node_reader(exam)(REACHED) is None
