from __future__ import annotations

import io

import pytest
from rich.console import Console

from mooring.local.output import Output
from tests.ingress.topologies import node


def output(*, at_once: bool = False) -> tuple[Output, io.StringIO]:
    text = io.StringIO()
    return Output(Console(file=text, width=80), ["redis", "node-1"], at_once=at_once), text


def test_lines_carry_their_name_and_are_neither_wrapped_nor_read_as_markup() -> None:
    out, text = output(at_once=True)
    out.line("redis", "[bold]x[/bold] " + "y" * 200)
    out.say("node-1", "ended")
    assert text.getvalue() == f"redis  | [bold]x[/bold] {'y' * 200}\nnode-1 | ended\n"


def test_lines_are_held_back_until_they_are_released() -> None:
    out, text = output()
    out.line("redis", "early")
    out.line("node-1", "early")
    assert text.getvalue() == ""
    out.release(["node-1"])
    out.line("redis", "late")
    assert text.getvalue() == "node-1 | early\nredis  | late\n"


def test_a_notice_is_printed_at_once_as_it_is() -> None:
    out, text = output()
    out.notice("ready: http://127.0.0.1:8080/mcp" + "/long" * 20)
    assert text.getvalue() == "ready: http://127.0.0.1:8080/mcp" + "/long" * 20 + "\n"


def test_the_table_has_all_that_an_operator_looks_for() -> None:
    out, text = output()
    out.nodes([node("node-1", "aaaaa", url="http://127.0.0.1:43217")], [["s2222", "s3333"]])
    for word in ("node-1-aaaaa", "1", "http://127.0.0.1:43217", "s2222 s3333"):
        assert word in text.getvalue()


class BrokenPipe(io.StringIO):
    """Nobody reads."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


@pytest.mark.parametrize("rich_exits", [True, False])
def test_where_nobody_reads_it_says_so_once_and_goes_on(monkeypatch: pytest.MonkeyPatch, rich_exits: bool) -> None:
    def on_broken_pipe(_: Console) -> None:
        raise SystemExit(1) if rich_exits else BrokenPipeError

    monkeypatch.setattr(Console, "on_broken_pipe", on_broken_pipe)
    lost: list[bool] = []
    out = Output(Console(file=BrokenPipe()), ["node-1"], at_once=True)
    out.lost = lambda: lost.append(True)
    out.line("node-1", "x")
    out.notice("y")
    out.nodes([], [])
    assert lost == [True]


def test_names_are_told_apart_by_colour() -> None:
    text = io.StringIO()
    out = Output(Console(file=text, force_terminal=True, color_system="standard"), ["node-1", "node-2"], at_once=True)
    out.line("node-1", "x")
    out.line("node-2", "x")
    first, second = text.getvalue().splitlines()
    assert first.partition("node")[0] != second.partition("node")[0]
