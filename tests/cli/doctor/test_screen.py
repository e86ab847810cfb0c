"""What the doctor's report looks like on a terminal."""

from __future__ import annotations

import io
import textwrap
from dataclasses import replace

import pytest
from rich.console import Console
from rich.text import Text

from mooring.cli.doctor.screen import STYLES, Detail, fitted, lines
from mooring.doctor.findings import Change, Finding, Verdict
from mooring.doctor.report import Report
from tests.cli.doctor.reports import (
    AFFINITY,
    COMPRESSION,
    CONFIG,
    LONG,
    LONG_CONFIG,
    NAMES,
    UNREACHABLE,
    everything_wrong,
    report,
)

UNKNOWN = Finding("idle", Verdict.UNKNOWN, "not asked: calls hang", "Nobody could say.")
HINT = Finding("idle", Verdict.UNKNOWN, "not seen", changes=(Change(f"Name a tool, {LONG}."), Change("Or wait.")))
NOT_RUN = {
    "unknown-session": "the server gives out no sessions",
    "deleted-session": "the server gives out no sessions",
    "principals": "it needs a second token",
}
REPORTS = {
    "healthy": report(),
    "one": report(AFFINITY),
    "two": report(AFFINITY, COMPRESSION),
    "unknown": report(UNKNOWN),
    "hints": report(HINT, replace(HINT, check="spread"), not_run={"principals": "it needs a second token"}),
    "many": everything_wrong(),
    "unreachable": UNREACHABLE,
    "not run": report(not_run=NOT_RUN),
    "nothing": replace(report(), findings=()),
    "left open": replace(report(), closed=17, left=3),
}


def printed(shown: list[Text], width: int) -> str:
    out = io.StringIO()
    Console(file=out, width=width).print(Text("\n").join(shown), soft_wrap=True)
    return out.getvalue()


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("detail", Detail)
@pytest.mark.parametrize("which", REPORTS)
def test_no_line_is_wider_than_the_terminal_or_ends_in_spaces(which: str, detail: Detail, width: int) -> None:
    text = printed(lines(REPORTS[which], width, detail), width)
    assert max(map(len, text.splitlines())) <= width
    assert all(line == line.rstrip() for line in text.splitlines())


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("detail", Detail)
def test_configuration_is_shown_as_it_is_written(detail: Detail, width: int) -> None:
    problem = replace(AFFINITY, changes=(Change("Do it.", CONFIG), Change("Or so.", LONG_CONFIG)))
    shown = printed(lines(report(problem), width, detail), width)
    assert textwrap.indent(CONFIG, " " * 10) in shown
    assert f"\n{' ' * 10}{LONG_CONFIG}\n" in shown


@pytest.mark.parametrize("which", ["healthy", "one", "two", "unknown", "hints", "not run", "unreachable"])
def test_it_fits_on_one_screen_with_room_for_the_prompt(which: str) -> None:
    assert len(fitted(REPORTS[which], 80, 24)) <= 23


def test_a_healthy_report_has_a_row_for_each_check_even_there() -> None:
    text = printed(fitted(report(), 80, 24), 80)
    assert [line.split()[1] for line in text.splitlines() if line.startswith("ok ")] == list(NAMES)


def test_nothing_is_left_out_where_there_is_room_or_nobody_looks() -> None:
    for height in (None, 200):
        text = printed(fitted(report(AFFINITY), 120, height), 120)
        assert text.count(LONG) == len(NAMES) - 2
        assert "most clients never recover" in " ".join(text.split())


def test_what_does_not_fit_is_shown_in_less_detail() -> None:
    problems = (AFFINITY, COMPRESSION)
    short, terse = (printed(fitted(report(*problems), 80, height), 80) for height in (30, 24))
    assert "ok       eras, cookie, spread," in short
    assert "most clients never recover" in " ".join(short.split())
    assert "ok       14 checks" in terse
    assert "most clients never recover" not in " ".join(terse.split())
    for text in (short, terse):
        assert AFFINITY.says in " ".join(text.split())
        assert CONFIG.splitlines()[-1].strip() in text


def test_what_is_ok_takes_one_line_and_a_problem_is_said_in_full() -> None:
    problem = Finding("idle", Verdict.WARNING, LONG)
    text = printed(lines(report(problem), 80), 80)
    assert "ok       cookie           a sentence of the length that a finding may have at m…" in text
    assert LONG in " ".join(text.split())
    assert LONG in printed(lines(report(), 120), 120)


def test_the_head() -> None:
    head = printed(lines(report(AFFINITY, COMPRESSION), 80), 80).splitlines()[:3]
    assert head == [
        "broken: works with one replica, fails with two; also 1 warning",
        "https://mcp.example.com/mcp behind HAProxy",
        "legacy to 2025-11-25, modern 2026-07-28; 20 sessions, 938 requests, 6.1 s",
    ]


def test_a_url_that_is_too_long_stays_whole() -> None:
    url = f"https://mcp.example.com/{'x' * 100}/mcp"
    shown = printed(lines(replace(report(), url=url), 80), 80).splitlines()
    assert shown[1] == url
    assert shown[2].startswith("behind HAProxy; ")


def test_the_broken_comes_first_in_what_to_change() -> None:
    late = replace(AFFINITY, check="modern-headers")
    text = printed(lines(report(COMPRESSION, late), 120), 120)
    changes = text[text.index("What to change") :]
    assert changes.index("1. modern-headers: ") < changes.index("2. compression: ")


def test_what_to_ask_for_where_something_is_unknown() -> None:
    changes = (Change(f"Name a tool, {LONG}.", "mooring doctor URL --tool count"), Change("Or wait."))
    hinted = report(replace(UNKNOWN, changes=changes))
    text = printed(lines(hinted, 80), 80)
    assert "What to change" not in text
    shown = text[text.index("To see more\n") :]
    assert shown.startswith("To see more\n   idle\n   -> Name a tool, ")
    assert shown.endswith("\n          mooring doctor URL --tool count\n   -> Or wait.\n")
    short = printed(lines(hinted, 80, Detail.SHORT), 80)
    assert short.splitlines()[-2:] == ["To see more", f"   idle: {changes[0].what}"[:79] + "…"]
    assert "To see more" not in printed(lines(hinted, 80, Detail.TERSE), 80)


def test_a_healthy_report_has_nothing_to_change() -> None:
    assert "What to change" not in printed(lines(report(UNKNOWN), 80), 80)


def test_why_something_is_unknown_is_said_below_it() -> None:
    text = printed(lines(report(UNKNOWN), 80), 80)
    assert "not asked: calls hang\n                          Nobody could say.\n" in text


def test_checks_that_did_not_run_are_named_with_the_reason_that_they_share() -> None:
    text = printed(lines(report(not_run=NOT_RUN), 120), 120)
    told = "unknown-session, deleted-session (the server gives out no sessions); principals (it needs a second token)"
    assert text.endswith(f"not run: {told}\n")
    narrow = printed(lines(report(not_run=NOT_RUN), 80, Detail.SHORT), 80)
    assert len([line for line in narrow.splitlines() if line.startswith("not run: ")]) == 1
    assert narrow.endswith("…\n")


def test_sessions_that_could_not_be_closed_are_told() -> None:
    text = printed(lines(REPORTS["left open"], 80), 80)
    assert "3 of 20 sessions could not be closed: the server may still have them" in text


def test_an_endpoint_that_cannot_be_examined_has_no_table() -> None:
    assert printed(lines(UNREACHABLE, 80), 80) == (
        "cannot be examined: nothing listens at 127.0.0.1:1\n"
        "http://127.0.0.1:1/mcp\n"
        "0 sessions, 1 request, 0.0 s\n"
        "\n"
        "What to change\n"
        "1. endpoint\n"
        "   -> Check host and port, and whether the proxy runs.\n"
    )


def test_foreign_text_is_no_markup() -> None:
    problem = replace(AFFINITY, says="[bold]x[/bold] [link=http://evil]y[/link] :smile:", why="[/] [red]")
    text = printed(lines(report(problem), 80), 80)
    assert problem.says in text
    assert "[/] [red]" in text


def test_wide_characters_are_counted_as_the_terminal_does() -> None:
    shown = lines(report(replace(AFFINITY, says="船" * 60)), 80)
    assert max(line.cell_len for line in shown) <= 80


@pytest.mark.parametrize("width", [1, 20, 40])
def test_the_narrowest_terminal_shows_all_the_same(width: int) -> None:
    text = "".join(printed(fitted(report(AFFINITY), width, 5), 1000).split())
    assert "".join(AFFINITY.says.split()) in text


@pytest.mark.parametrize("verdict", Verdict)
def test_the_verdict_is_a_word_as_well_as_a_colour(verdict: Verdict) -> None:
    problem = Finding("idle", verdict, "it is so", "Reason.")
    shown = lines(report(problem), 80)
    [line] = [line for line in shown if line.plain.startswith(f"{verdict} ") and "idle" in line.plain]
    assert [str(span.style) for span in line.spans if line.plain[span.start : span.end] == verdict] == [STYLES[verdict]]


def coloured(shown: Report) -> str:
    out = io.StringIO()
    Console(file=out, width=80, force_terminal=True).print(Text("\n").join(lines(shown, 80)), soft_wrap=True)
    return out.getvalue()


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[32mok\x1b[0m" in coloured(report())
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[32m" not in coloured(report())
