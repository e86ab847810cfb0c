"""What tells nodes apart from outside: a header, a cookie or an answer that takes a few values, one for each node.

A wrong mark is worse than none, so what is taken for one depends on how much speaks for it:

    header whose name says it   X-Served-By and its like, unless it changes with every answer
    the affinity cookie         the same
    any other header            a few values, each seen in several sessions, and the same in all answers of one session
    a tool's answer             the same
    a page beside MCP           a few small bodies, each seen again
"""

from __future__ import annotations

import enum
import json
import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from mooring.doctor.client.reply import Reply
from mooring.doctor.evidence.set_cookie import cookies_of

MOST_BODY_BYTES: Final = 512
_SHARE: Final = 2
"""There are at most half as many nodes as there are values to look at: what is always new names no node."""
_COOKIE_CHARS: Final = 12

_NAMES_NODE: Final = re.compile(
    r"(.*-)?(served-by|x-server|backend(-server|-name|-host)?|upstream(-addr|-host|-server)?|server-(id|name)|node(-id|-name)?"
    r"|instance(-id|-name)?|pod(-name)?|replica(-id)?|host-?name|container(-id|-name)?|worker(-id)?|machine(-id)?)",
    re.IGNORECASE,
)
_NAMES_NO_NODE: Final = re.compile(
    r"date|age|expires|etag|last-modified|content-.*|transfer-encoding|connection|keep-alive|trailer|vary|allow|server"
    r"|set-cookie|cache-control|pragma|alt-svc|location|retry-after|www-authenticate|link|nel|report-to|mcp-.*|x-accel-.*"
    r"|access-control-.*|cf-.*|.*(request|trace|span|correlation|session).*|.*(time|duration|timing|runtime|latency).*"
    r"|.*(ratelimit|rate-limit|limit|remaining|cache|nonce|token|signature|policy|hits).*|x-amz.*-id.*|.*-ref",
    re.IGNORECASE,
)
_A_CDNS: Final = re.compile(r"cache-[a-z]+\d.*", re.IGNORECASE)
"""Fastly's X-Served-By: which of the CDN's own machines answered."""
_NUMBER: Final = re.compile(r"[\d.,:+-]+(ms|s)?")


class MarkKind(enum.StrEnum):
    HEADER = "header"
    COOKIE = "cookie"
    ANSWER = "tool's answer"
    BODY = "body"


@dataclass(frozen=True, slots=True)
class MarkSource:
    """Where a mark is read from; the name is that of the header or the cookie."""

    kind: MarkKind
    name: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}".rstrip()

    def read(self, reply: Reply) -> str | None:
        """The mark on a reply; None where there is none."""
        if self.kind is MarkKind.HEADER:
            return ", ".join(reply.headers.getall(self.name, [])) or None
        if self.kind is MarkKind.COOKIE:
            return next((cookie.value for cookie in cookies_of(reply) if cookie.name == self.name), None)
        return _answer(reply) if self.kind is MarkKind.ANSWER else _body(reply)

    def label(self, mark: str) -> str:
        """The mark as it may be shown, on one line; a cookie is never shown whole, unless it is short. Foreign text."""
        if self.kind in (MarkKind.ANSWER, MarkKind.BODY):
            return " ".join(mark.split())
        if self.kind is not MarkKind.COOKIE or len(mark) <= _COOKIE_CHARS:
            return mark
        return f"{mark[:_COOKIE_CHARS]}…"


@dataclass(frozen=True, slots=True)
class NodeMarks:
    """
    Attributes:
        openings: the mark of each opening, in their order.
    """

    source: MarkSource
    openings: tuple[str, ...]

    @property
    def nodes(self) -> frozenset[str]:
        return frozenset(self.openings)


def find_marks(
    openings: Sequence[Reply], within: Sequence[Sequence[Reply]] = (), cookies: Collection[str] = ()
) -> NodeMarks | None:
    """What tells nodes apart, or names the only one; None where nothing does.

    Args:
        openings: answers to one and the same request, which a load balancer may place where it wants.
        within: for each opening, the answers of the node that holds what was opened; empty where nothing was.
        cookies: names of the affinity cookies.
    """
    if len(openings) < 2:
        return None
    names = list(dict.fromkeys(name.title() for reply in openings for name in reply.headers))
    headers = [MarkSource(MarkKind.HEADER, name) for name in names]
    named = [source for source in headers if _NAMES_NODE.fullmatch(source.name)]
    named += [MarkSource(MarkKind.COOKIE, name) for name in cookies]
    candidates = [found for source in named if (found := _by_name(source, openings, within)) is not None]
    several = [found for found in candidates if len(found.nodes) > 1]
    if several:
        return several[0]
    silent = [source for source in headers if source not in named and not _NAMES_NO_NODE.fullmatch(source.name)]
    for source in silent:
        if (found := _by_habit(source, openings, within)) is not None:
            return found
    answered = _by_answer(within, len(openings))
    return answered or (candidates[0] if candidates else None)


def _by_name(source: MarkSource, openings: Sequence[Reply], within: Sequence[Sequence[Reply]]) -> NodeMarks | None:
    """Its name says that it names nodes, so one value is no less likely than several."""
    values = _values(source, openings)
    if values is None or any(_A_CDNS.fullmatch(value) for value in values):
        return None
    everything = [*values, *(mark for replies in within for reply in replies if (mark := source.read(reply)))]
    distinct = len(set(everything))
    return NodeMarks(source, values) if distinct == 1 or distinct <= len(everything) / _SHARE else None


def _by_habit(source: MarkSource, openings: Sequence[Reply], within: Sequence[Sequence[Reply]]) -> NodeMarks | None:
    """It behaves as what names nodes does."""
    values = _values(source, openings)
    if values is None or not _are_few(values) or all(_NUMBER.fullmatch(value) for value in values):
        return None
    watched = [
        (value, {source.read(reply) for reply in replies})
        for value, replies in zip(values, within, strict=False)
        if len(replies) > 1
    ]
    if any(marks != {value} for value, marks in watched) or len({value for value, _ in watched}) < 2:
        return None
    return NodeMarks(source, values)


def _by_answer(within: Sequence[Sequence[Reply]], count: int) -> NodeMarks | None:
    """What a tool answers in each session, where that is always the same in one session."""
    source = MarkSource(MarkKind.ANSWER)
    marks = [{source.read(reply) for reply in replies} for replies in within if len(replies) > 1]
    if len(marks) < count or any(len(one) != 1 for one in marks):
        return None
    values = tuple(mark for one in marks for mark in one if mark is not None)
    return NodeMarks(source, values) if len(values) == count and _are_few(values) else None


def _values(source: MarkSource, openings: Sequence[Reply]) -> tuple[str, ...] | None:
    values = tuple(mark for reply in openings if (mark := source.read(reply)) is not None)
    return values if len(values) == len(openings) else None


def _are_few(values: Sequence[str]) -> bool:
    """Several, and each of them again and again."""
    counts = Counter(values)
    return len(counts) > 1 and min(counts.values()) > 1


def _answer(reply: Reply) -> str | None:
    """What a tool said: its text, where that is all."""
    result = (reply.message or {}).get("result")
    content = result.get("content") if isinstance(result, dict) else None
    if not isinstance(content, list) or not content:
        return None
    first = content[0].get("text") if len(content) == 1 and isinstance(content[0], dict) else None
    text = first if isinstance(first, str) else json.dumps(content, sort_keys=True)
    return text if len(text) <= MOST_BODY_BYTES else None


def _body(reply: Reply) -> str | None:
    return reply.body.decode("utf-8", errors="replace") if 0 < len(reply.body) <= MOST_BODY_BYTES else None


def find_marks_on_page(replies: Sequence[Reply]) -> NodeMarks | None:
    """The same for answers of one page beside MCP, where a small body may tell it."""
    found = find_marks(replies)
    if found is not None and len(found.nodes) > 1:
        return found
    source = MarkSource(MarkKind.BODY)
    bodies = _values(source, replies)
    return NodeMarks(source, bodies) if bodies is not None and _are_few(bodies) else found
