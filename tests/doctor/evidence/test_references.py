"""What answers are compared with."""

from __future__ import annotations

import pytest

from mooring.doctor.client.reply import Reply
from mooring.doctor.evidence.references import References, disguise_of, is_nameless
from tests.doctor.examined import examined
from tests.doctor.examples import HANG, LOST, REACHED, THROTTLED
from tests.doctor.odd import running_odd

PAGE = Reply(502, body=b"<html><h1>502</h1> request 1234abcd</html>")
SAME_PAGE = Reply(502, body=b"<html><h1>502</h1> request 9999ffff</html>")
MISSING = Reply(400, message={"jsonrpc": "2.0", "id": None, "error": {"code": -1, "message": "Missing session"}})


@pytest.mark.parametrize(
    ("strangers", "is_disguised"),
    [
        ([PAGE, SAME_PAGE] * 3, True),
        ([Reply(200, body=b"<html></html>")] * 6, True),
        ([PAGE] * 5, False),
        ([PAGE] * 5 + [LOST], False),
        ([LOST] * 6, False),
        ([REACHED] * 6, False),
        ([THROTTLED] * 6, False),
        ([HANG] * 6, False),
        ([], False),
    ],
)
def test_a_disguise_is_worn_by_every_node(strangers: list[Reply], is_disguised: bool) -> None:
    assert (disguise_of(strangers) is not None) is is_disguised


def test_a_call_that_is_answered_as_one_without_a_name() -> None:
    missing = Reply(400, body=b'{"error": "Missing session"}', message=MISSING.message)
    unknown = Reply(404, body=b'{"error": "Session not found"}', message=LOST.message)
    assert is_nameless(missing, missing, [unknown])
    assert not is_nameless(unknown, missing, [unknown])
    assert not is_nameless(missing, missing, [missing]), "the server says the same to both"
    assert not is_nameless(missing, missing, [])


async def test_both_are_asked_once_and_strangers_not_where_only_reading_is_allowed() -> None:
    async with running_odd() as odd, examined(odd.url, sessions=6) as exam:
        exam.sessions._limit += 1
        references = exam.shared(References)
        strangers = await references.strangers()
        assert {reply.status for reply in strangers} == {404}
        assert (await references.nameless()).status == 400
        count = len(odd.seen)
        assert await references.strangers() == strangers
        await references.nameless()
        assert len(odd.seen) == count
    async with running_odd() as odd, examined(odd.url, sessions=2, read_only=True) as exam:
        assert await exam.shared(References).strangers() == ()
        assert (await exam.shared(References).nameless()).status == 0, "there is no room for a session that it may open"
