"""A report as Markdown, ready for a ticket.

What a server said is in it: text is escaped, or inside a code span, so that it cannot break a table, name a person,
refer to another ticket or bring a link, an image or HTML of its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Final

from mooring.doctor.findings import Change, Finding, Verdict
from mooring.doctor.report import Report

_MARKS: Final = re.compile(
    r"([\\`*_\[\]<>|~&$]|:(?=//)|(?<=www)\.|^[-+=#]|(?:(?<=^\d)|(?<=^\d\d)|(?<=^\d\d\d))[.)](?=\s|$))", re.IGNORECASE
)
_REFERENCE: Final = re.compile(r"(?<=[@#!])(?=\w)")
_JOINER: Final = "\N{WORD JOINER}"
"""Sites look for @names and #tickets after the Markdown was read, where a backslash is gone; this cannot be seen."""
_WORDS: Final = {Verdict.BROKEN: "**broken**", Verdict.WARNING: "**warning**"}


def markdown(report: Report, *, version: str, command: str) -> str:
    """The whole report.

    Args:
        version: of Mooring.
        command: what was typed, without secrets.
    """
    parts = [
        f"## {_text(report.sentence)}",
        _facts(report),
        *([_table(report)] if report.findings else []),
        *([_not_run(report)] if report.not_run else []),
        *(_section(number, finding) for number, finding in enumerate(report.problems, 1)),
        *([_hints(report)] if report.hints else []),
        f"---\n\nmooring {version}: {_code(command)}",
    ]
    return "\n\n".join(parts) + "\n"


def _facts(report: Report) -> str:
    facts = {
        "endpoint": _code(report.url),
        "proxy": _text(", then ".join((report.proxy or "not recognised", *report.behind))),
        "speaks": _text(report.speaks),
        "sessions": f"{report.sessions} opened, {report.closed} closed"
        + (f", **{report.left} could not be closed**" if report.left else "")
        + (f" ({report.why_left})" if report.why_left else ""),
        "requests": f"{report.requests} in {report.seconds:.1f} s",
    }
    return "\n".join(f"- {name}: {fact}" for name, fact in facts.items() if fact)


def _table(report: Report) -> str:
    rows = (
        f"| {_cell(one.check)} | {_WORDS.get(one.verdict, one.verdict)} | {_cell(one.says)} |"
        for one in report.findings
    )
    return "\n".join(("| check | verdict | finding |", "|---|---|---|", *rows))


def _cell(text: str) -> str:
    return re.sub(r"(?<!\\)\|", r"\|", _text(text))


def _not_run(report: Report) -> str:
    return "Not run:\n\n" + "\n".join(f"- {_text(check)}: {_text(why)}" for check, why in report.not_run.items())


def _section(number: int, finding: Finding) -> str:
    parts = [
        f"### {number}. {_text(finding.check)}: {_text(finding.says)}",
        *([_text(finding.why)] if finding.why else []),
        *([_fenced("\n".join(finding.lines))] if finding.lines else []),
        *(part for change in finding.changes for part in _change(change)),
    ]
    if finding.evidence:
        evidence = json.dumps(dict(finding.evidence), indent=2, ensure_ascii=False)
        parts += ["Measured:", _fenced(evidence, "json")]
    return "\n\n".join(parts)


def _change(change: Change) -> Iterator[str]:
    yield f"**To change:** {_text(change.what)}"
    if change.config:
        yield _fenced(change.config)


def _hints(report: Report) -> str:
    lines = (f"- {_text(one.check)}: {' '.join(_text(change.what) for change in one.changes)}" for one in report.hints)
    return "\n".join(("To see more:\n", *lines))


def _text(text: str) -> str:
    """Text as it is; what stands between backticks becomes code, as whoever wrote it meant it."""
    pieces = " ".join(text.split()).split("`")
    if len(pieces) % 2 == 0:  # one backtick has no partner
        pieces[-2:] = ["`".join(pieces[-2:])]
    return "".join(_code(piece) if number % 2 else _escaped(piece) for number, piece in enumerate(pieces))


def _escaped(text: str) -> str:
    return _REFERENCE.sub(_JOINER, _MARKS.sub(r"\\\1", text))


def _code(text: str) -> str:
    """A code span: nothing in it is read as Markdown, but for the bar within a table."""
    if not text.strip():
        return "\\`\\`"
    text = " ".join(text.split())
    fence = "`" * (_longest_run(text) + 1)
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def _fenced(text: str, language: str = "") -> str:
    fence = "`" * max(3, _longest_run(text) + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def _longest_run(text: str) -> int:
    return max(map(len, re.findall(r"`+", text)), default=0)
