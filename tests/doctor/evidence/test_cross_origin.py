from __future__ import annotations

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from mooring.doctor.client.reply import Reply
from mooring.doctor.evidence.cross_origin import CrossOrigin, ask_from_pages
from tests.doctor.examined import examined
from tests.doctor.odd import running_odd

PAGE = "https://a.example"


def answer(status: int = 200, **headers: str) -> Reply:
    named = CIMultiDict((name.replace("_", "-"), value) for name, value in headers.items())
    return Reply(status, headers=CIMultiDictProxy(named))


@pytest.mark.parametrize(
    ("origin", "allows"), [("*", True), (PAGE, True), ("https://b.example", False), ("*, *", False), ("", False)]
)
def test_who_may_read(origin: str, allows: bool) -> None:
    page = CrossOrigin(PAGE, answer(), answer(Access_Control_Allow_Origin=origin))
    assert page.allows is allows
    assert page.is_doubled is (origin == "*, *")


def test_what_a_preflight_has_to_allow() -> None:
    headers = "content-type, Mcp-Session-Id, MCP-Protocol-Version, authorization"
    right = answer(204, Access_Control_Allow_Origin=PAGE, Access_Control_Allow_Headers=headers)
    assert CrossOrigin(PAGE, right, answer()).passes_preflight
    assert CrossOrigin(PAGE, answer(204, Access_Control_Allow_Origin=PAGE), answer()).headers_refused == (
        "content-type",
        "mcp-protocol-version",
        "mcp-session-id",
    )
    assert not CrossOrigin(PAGE, answer(405), answer()).passes_preflight


def test_what_a_page_may_read() -> None:
    assert CrossOrigin(PAGE, answer(), answer()).hides_session
    assert not CrossOrigin(PAGE, answer(), answer(Access_Control_Expose_Headers="X, mcp-session-id")).hides_session
    assert not CrossOrigin(PAGE, answer(), answer(Access_Control_Expose_Headers="*")).hides_session


async def test_each_page_asks_twice() -> None:
    async with running_odd() as odd, examined(odd.url, sessions=2) as exam:
        pages = await ask_from_pages(exam, ("https://own.example",))
        assert next(page.origin for page in pages) == "https://own.example"
        assert [one.method for one in odd.seen[-2 * len(pages) :]] == ["OPTIONS", "POST"] * len(pages)
