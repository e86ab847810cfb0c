"""The cookies of a deployment: which are set, which of them the load balancer goes by, and what else they pin."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from yarl import URL

from mooring.doctor.client.reply import Outcome
from mooring.doctor.evidence.affinity_cookies import is_affinity
from mooring.doctor.evidence.node_marks import find_marks_on_page
from mooring.doctor.evidence.other_path import OtherPathReplies
from mooring.doctor.evidence.set_cookie import SetCookie, cookies_of
from mooring.doctor.examination import Examination


@dataclass(frozen=True, slots=True)
class SeenCookie:
    """One cookie, over all sessions.

    Attributes:
        cookie: as the first session that has it was given it.
        distinct: how many values it took in `count` sessions.
        renewed: calls that carried it were given it again.
    """

    cookie: SetCookie
    distinct: int
    count: int
    is_affinity: bool
    renewed: bool = False


@dataclass(frozen=True, slots=True)
class CookieFacts:
    """
    Attributes:
        loses: calls are lost; None where none were made.
        pinned: with the cookie another path is always served by one node, and without it by several; None where that
            was not asked, or cannot be seen: `pinned_told_by` says what shows it, or why nothing does.
    """

    url: URL
    seen: tuple[SeenCookie, ...]
    loses: bool | None
    pinned: bool | None = None
    pinned_told_by: str = ""
    other_path: str = ""

    @property
    def affinity(self) -> tuple[SeenCookie, ...]:
        return tuple(one for one in self.seen if one.is_affinity)


def affinity_names(exam: Examination) -> tuple[str, ...]:
    """The names of the cookies that the load balancer seems to go by."""
    return tuple(one.cookie.name for one in seen_cookies(exam) if one.is_affinity)


def seen_cookies(exam: Examination) -> tuple[SeenCookie, ...]:
    """Every cookie that came with the opening of a session."""
    given: dict[str, list[SetCookie]] = {}
    for session in exam.sessions.opened:
        for cookie in {cookie.name: cookie for cookie in cookies_of(session.opened)}.values():
            given.setdefault(cookie.name, []).append(cookie)
    renewed = {
        cookie.name
        for call in exam.calls
        if call.way.cookies and call.reply.outcome is Outcome.REACHED
        for cookie in cookies_of(call.reply)
    }
    helps = _cookies_help(exam)
    found = []
    for name, of_name in given.items():
        values = [cookie.value for cookie in of_name]
        goes_by_it = is_affinity(of_name[0], values, helps=helps, names=given)
        found.append(SeenCookie(of_name[0], len(set(values)), len(values), goes_by_it, name in renewed))
    return tuple(found)


def _cookies_help(exam: Examination) -> bool:
    """All calls with cookies reach their session on new connections, too, and not all without."""
    lost = {call.way.cookies for call in exam.calls if call.reply.outcome is Outcome.LOST}
    return lost == {False}


def loses_calls(exam: Examination) -> bool | None:
    """Whether any call was lost; by what followed each opening where none were made, and None where nothing did."""
    replies = [call.reply for call in exam.calls]
    replies = replies or [reply for session in exam.sessions.opened for reply in session.initialized]
    return any(reply.outcome is Outcome.LOST for reply in replies) if replies else None


def pins_path(other: OtherPathReplies, names: frozenset[str]) -> tuple[bool | None, str]:
    """Whether the affinity cookie keeps requests for another path on one node, and what shows it."""
    if not names & other.sent:
        return False, "the cookie is not sent there"
    marks = find_marks_on_page(other.plain)
    if marks is not None and len(marks.nodes) > 1:
        carried = {mark for reply in other.carried if (mark := marks.source.read(reply)) is not None}
        if carried:
            return len(carried) == 1, str(marks.source)
    # A load balancer gives the cookie to anyone who has none, or has one that it cannot use.
    fresh = Counter(cookie.value for reply in other.plain for cookie in cookies_of(reply) if cookie.name in names)
    again = any(cookie.name in names for reply in other.carried for cookie in cookies_of(reply))
    answered = all(reply.trouble is None for reply in other.carried)
    if fresh.total() >= len(other.plain) and 1 < len(fresh) <= fresh.total() / 2 and answered:
        return not again, "with the cookie, no other one is given"
    return None, "the nodes cannot be told apart there"
