"""What a run shares, and which session is for what."""

from __future__ import annotations

from mooring.doctor.examination import Examination, Shared
from tests.doctor.examined import examined
from tests.doctor.examples import examination, session
from tests.doctor.ledger import running_ledger


class Counted(Shared):
    made = 0
    closed = 0

    def __init__(self, exam: Examination) -> None:
        super().__init__(exam)
        Counted.made += 1

    async def close(self) -> None:
        Counted.closed += 1


async def test_what_is_shared_is_made_once_and_closed_with_the_run() -> None:
    async with running_ledger() as ledger, examined(ledger.url, sessions=2) as exam:
        assert exam.shared(Counted) is exam.shared(Counted)
        assert (Counted.made, Counted.closed) == (1, 0)
    assert (Counted.made, Counted.closed) == (1, 1)


def test_each_session_has_its_part() -> None:
    one, two, three = (session(name) for name in ("one", "two", "three"))
    none = examination()
    assert (none.first, none.last, none.between) == (None, None, [])
    only = examination(opened=[one])
    assert (only.first, only.last, only.between) == (one, None, [])
    many = examination(opened=[one, two, three])
    assert (many.first, many.last, many.between) == (one, three, [two])


async def test_the_newest_version_comes_first_and_the_older_ones_are_tried_where_there_is_room() -> None:
    async with running_ledger() as ledger, examined(ledger.url, sessions=20) as exam:
        versions = [one.version for one in exam.sessions.opened]
        assert versions == sorted(versions, reverse=True)
        assert len(set(versions)) == 4
    async with running_ledger() as ledger, examined(ledger.url, sessions=4) as exam:
        assert len({one.version for one in exam.sessions.opened}) == 1


def test_no_request_id_comes_twice() -> None:
    exam = examination()
    assert len({exam.next_id() for _ in range(100)}) == 100
