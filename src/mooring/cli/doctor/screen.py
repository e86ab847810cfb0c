"""A report on a terminal: the outlook, a row for each check, and what to change, on one screen where that is possible.

Where it is not, it gives way step by step: the checks that are ok share one row, then are only counted, and reasons are
cut to their first sentence. Lines of a configuration are never wrapped, since they are there to be copied.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from typing import Final

from rich.console import Console
from rich.text import Text

from mooring.doctor.findings import Change, Finding, Verdict
from mooring.doctor.report import Outlook, Report

STYLES: Final = {
    Verdict.OK: "green",
    Verdict.WARNING: "yellow",
    Verdict.BROKEN: "bold red",
    Verdict.UNKNOWN: "magenta",
}
_OUTLOOK_STYLES: Final = {
    Outlook.HEALTHY: "bold green",
    Outlook.WARNINGS: "bold yellow",
    Outlook.BROKEN: "bold red",
    Outlook.UNREACHABLE: "bold red",
}
_LONGEST_LINE: Final = 100
"""Of running text, which is hard to read beyond that."""
_VERDICT_COLUMN: Final = 9
_NARROWEST: Final = 20
"""Of text in the narrowest of terminals; what is wider than that is for the terminal to wrap."""
_INDENT: Final = "   "
_RULER: Final = Console(width=_LONGEST_LINE, color_system=None)
"""Wrapping needs one; nothing is printed on it."""


class Detail(enum.IntEnum):
    """How much is shown.

    WHOLE   everything
    SHORT   where there is a problem, the checks that are ok in one row; what was not seen, and why, in one line each
    TERSE   the former counted, of the latter only names; of each reason the first sentence
    """

    WHOLE = enum.auto()
    SHORT = enum.auto()
    TERSE = enum.auto()


def fitted(report: Report, width: int, height: int | None = None) -> list[Text]:
    """The lines, in as much detail as fits into `height`; all of it where None."""
    if height is None:
        return lines(report, width)
    for detail in Detail:
        shown = lines(report, width, detail)
        if sum(max(1, -(-line.cell_len // width)) for line in shown) < height:  # one is the prompt's
            break
    return shown


def lines(report: Report, width: int, detail: Detail = Detail.WHOLE) -> list[Text]:
    """The report in lines, each no wider than `width` but for the URL and the lines of configurations."""
    parts = [
        list(_head(report, width)),
        list(_rows(report, width, detail)) if report.reached else [],
        list(_changes(report, width, detail)),
        list(_hints(report, width, detail)),
    ]
    shown: list[Text] = []
    for part in parts:
        shown += [*([Text()] if shown and part else []), *part]
    return shown


def _head(report: Report, width: int) -> Iterator[Text]:
    yield from _wrapped(Text(report.sentence, _OUTLOOK_STYLES[report.outlook]), width)
    behind = f"behind {report.proxy}" if report.proxy else ""
    fits = len(report.url) + 1 + len(behind) <= width
    yield Text(f"{report.url} {behind}".rstrip() if fits else report.url)
    facts = [
        *([behind] if behind and not fits else []),
        *([report.speaks] if report.speaks else []),
        f"{_number(report.sessions, 'session')}, {_number(report.requests, 'request')}, {report.seconds:.1f} s",
    ]
    yield from _wrapped(Text("; ".join(facts), "dim"), width)
    if report.left:
        left = f"{report.left} of {_number(report.sessions, 'session')} could not be closed"
        why = f" ({report.why_left})" if report.why_left else ""
        yield from _wrapped(Text(f"{left}{why}: the server may still have them", "yellow"), width)


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _rows(report: Report, width: int, detail: Detail) -> Iterator[Text]:
    is_short = detail is not Detail.WHOLE and report.outlook is not Outlook.HEALTHY
    shown = [one for one in report.findings if not (is_short and one.verdict is Verdict.OK and not one.lines)]
    column = max((len(one.check) for one in shown), default=0) + 2
    for finding in shown:
        yield from row(finding, width, column)
        yield from (_cut(Text(f"   {line}", "dim"), width) for line in finding.lines)
        if detail is Detail.WHOLE and finding.verdict is Verdict.UNKNOWN and finding.why:
            yield from _hanging(Text(" " * (_VERDICT_COLUMN + column)), Text(finding.why, "dim"), width)
    fine = [finding.check for finding in report.findings if finding not in shown]
    if fine:
        names = _number(len(fine), "check") if detail is Detail.TERSE else ", ".join(fine)
        yield from _hanging(_verdict(Verdict.OK), Text(names), width)
    if report.not_run:
        names = ", ".join(report.not_run) if detail is Detail.TERSE else _not_run(report)
        text = Text(f"not run: {names}", "dim")
        yield from _wrapped(text, width) if detail is Detail.WHOLE else [_cut(text, width)]


def row(finding: Finding, width: int, column: int) -> list[Text]:
    """`ok  affinity  800 of 800 calls…`; what is ok takes one line, anything else is said in full."""
    head = Text.assemble(_verdict(finding.verdict), f"{finding.check:<{column}}")
    if finding.verdict is Verdict.OK:
        return [_cut(Text.assemble(head, finding.says), width)]
    return _hanging(head, Text(finding.says), width)


def _verdict(verdict: Verdict) -> Text:
    return Text.assemble((str(verdict), STYLES[verdict]), " " * (_VERDICT_COLUMN - len(verdict)))


def _not_run(report: Report) -> str:
    """The checks by the reason that they share: `unknown-session, principals (the server gives out no sessions)`."""
    by_reason: dict[str, list[str]] = {}
    for check, why in report.not_run.items():
        by_reason.setdefault(why, []).append(check)
    return "; ".join(f"{', '.join(checks)} ({why})" for why, checks in by_reason.items())


def _changes(report: Report, width: int, detail: Detail) -> Iterator[Text]:
    if not report.problems:
        return
    yield Text("What to change", "bold")
    width = min(width, _LONGEST_LINE)
    for number, finding in enumerate(report.problems, 1):
        why = _first_sentence(finding.why) if detail is Detail.TERSE else finding.why
        head = Text.assemble(f"{number}. ", (finding.check, STYLES[finding.verdict]))
        yield from _hanging(Text(), Text.assemble(head, ": " if why else "", why), width, len(_INDENT))
        for change in finding.changes:
            yield from _change(change, width)


def _hints(report: Report, width: int, detail: Detail) -> Iterator[Text]:
    if not report.hints or detail is Detail.TERSE:
        return
    yield Text("To see more", "bold")
    for finding in report.hints:
        if detail is Detail.SHORT:
            yield _cut(Text(f"{_INDENT}{finding.check}: {finding.changes[0].what}"), width)
            continue
        yield Text.assemble(_INDENT, (finding.check, STYLES[finding.verdict]))
        for change in finding.changes:
            yield from _change(change, min(width, _LONGEST_LINE))


def _change(change: Change, width: int) -> Iterator[Text]:
    yield from _hanging(Text(f"{_INDENT}-> "), Text(change.what), width)
    yield from (Text(f"{_INDENT}       {line}".rstrip(), "cyan") for line in change.config.splitlines())


def _first_sentence(text: str) -> str:
    sentence, stop, _ = text.partition(". ")
    return f"{sentence}." if stop else text


def _wrapped(text: Text, width: int) -> list[Text]:
    wrapped = list(text.wrap(_RULER, max(width, _NARROWEST), overflow="fold"))
    for line in wrapped:
        line.rstrip()
    return wrapped


def _hanging(head: Text, text: Text, width: int, indent: int | None = None) -> list[Text]:
    """`text` behind `head`, its further lines below its first one, or by `indent`."""
    left = head.cell_len if indent is None else indent
    if not text:
        return []
    first, *rest = _wrapped(text, width - left)
    return [Text.assemble(head, first), *(Text.assemble(" " * left, line) for line in rest)]


def _cut(text: Text, width: int) -> Text:
    text.truncate(width, overflow="ellipsis")
    return text
