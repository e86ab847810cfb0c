"""What people read is plain English: it holds nothing that the list below tells how to say better.

The list is of faults that were found here, not of everything that can go wrong; add to it what you find. Read are the
documents, the help of each command, and the docstrings, comments and strings of the code, but no identifiers.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from mooring.cli.app import COMMANDS
from tests.cli.command import mooring

ROOT: Final = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Fault:
    """A way to write that is not English, or not plain.

    Attributes:
        pattern: a regular expression, in any case of letters; a space in it is any white space, so also a new line.
        better: what to write instead.
        bad, good: an example that has the fault, and the same as it should be.
    """

    pattern: str
    better: str
    bad: str
    good: str

    @property
    def name(self) -> str:
        return self.bad

    def found_in(self, text: str) -> Iterator[re.Match[str]]:
        return re.finditer(self.pattern.replace(" ", r"\s+"), text, re.IGNORECASE)


FAULTS: Final = (
    Fault(
        r"\b(?:for|to|by|from) who\b",
        "anyone who, whoever",
        "The page answers to who sends the token.",
        "The page answers anyone who sends the token.",
    ),
    Fault(r"\ban own\b", "its own, your own", "It is for an own Traefik.", "It is for your own Traefik."),
    Fault(r"\bof one's own\b", "your own", "Wrap an app of one's own.", "Wrap your own app."),
    Fault(
        r"\bnot to be (?:told|said|seen|known|found|reached)\b",
        "cannot tell, cannot be ...",
        "Whether it lives is not to be told.",
        "Whether it lives, we cannot tell.",
    ),
    Fault(
        r"\btold from\b",
        "told apart from",
        "A stream that is cut is told from one that ends.",
        "A stream that is cut is told apart from one that ends.",
    ),
    Fault(
        r"\b(?:is|are) to (?:answer|be \w+ed)\b",
        "has to, must",
        "The request is to be refused.",
        "The request has to be refused.",
    ),
    Fault(
        r"\bwhat cannot be \w+ is (?:answered|refused|sent|passed)\b",
        "a request that cannot be ... gets",
        "What cannot be served is answered with an error.",
        "A request that cannot be served gets an error.",
    ),
    Fault(
        r"\bthe way of (?:a|an|the|each) \w+",
        "how a request travels",
        "## The way of a request",
        "## How a request travels",
    ),
    Fault(
        r"\banother \w+ than\b",
        "other than, different from",
        "It answers to another name than localhost.",
        "It answers to a name other than localhost.",
    ),
    Fault(
        r"\bnot (?:there|running) any more\b",
        "no longer there",
        "Its node is not there any more.",
        "Its node is no longer there.",
    ),
    Fault(
        r"\bat (?:its|the \w+'s|a \w+'s)(?: own)? (?:start|stop)\b",
        "when it starts, when it stops",
        "Traefik reads this at its start.",
        "Traefik reads this when it starts.",
    ),
    Fault(
        r"\bas it is at that moment\b",
        "as it is now",
        "It shows itself as it is at that moment.",
        "It shows itself as it is now.",
    ),
    Fault(
        r"\bat the latest when\b",
        "no later than, at the latest before",
        "It shows at the latest when its answer starts.",
        "It shows at the latest before its answer leaves.",
    ),
    Fault(
        r"; answers (?:whether|how many|as)\b",
        "returns",
        "Renew the lease; answers whether it was known.",
        "Renew the lease; returns whether it was known.",
    ),
    Fault(
        r"\bdoes not read(?=\s*[.,:;(])",
        "cannot be read",
        "An entry that does not read: left out.",
        "An entry that cannot be read: left out.",
    ),
    Fault(
        r"\b(?:that|which|what) (?-i:is none)\b(?! of\b)",
        "is not one",
        "For anything that is none it is empty.",
        "For anything that is not one it is empty, and None where there is none.",
    ),
    Fault(r"\b(?:is|are|was|were|be) had\b", "we have, get", "A view of it is had.", "We have a view of it."),
    Fault(r"\bof old\b", "old, former", "An owner of old is fenced.", "A former owner is fenced."),
    Fault(
        r"\bso many\b(?=[^.;]{0,30}\b(?:at most|at least|in a row)\b)",
        "this many",
        "It takes so many seconds at most.",
        "It takes this many seconds at most.",
    ),
    Fault(
        r", less (?:the|those|its)\b",
        "without",
        "The headers, less those of a peer.",
        "The headers without those of a peer.",
    ),
    Fault(r"\bin good order\b", "cleanly, properly", "The stream ends in good order.", "The stream ends cleanly."),
    Fault(r"\btill\b", "until", "It waits till the lease ends.", "It waits until the lease ends."),
    Fault(
        r"\b(?:in order to|so as to|prior to|due to the fact that|in the event that)\b",
        "to, before, because, if",
        "It asks in order to know.",
        "It asks to know.",
    ),
    Fault(
        r"\b(?:utili[sz]\w*|leverag\w+|facilitat\w+|simply)\b",
        "use, help, or nothing at all",
        "It simply utilizes a cookie.",
        "It uses a cookie.",
    ),
)


@dataclass(frozen=True)
class Prose:
    """A piece of text, and the line of its file at which it begins."""

    text: str
    line: int = 1


def faults_in(name: str, pieces: Iterator[Prose]) -> list[str]:
    return [
        f"{name}:{piece.line + piece.text[: match.start()].count(chr(10))}: {match.group()!r}: better {fault.better!r}"
        for piece in pieces
        for fault in FAULTS
        for match in fault.found_in(piece.text)
    ]


def prose_of(file: Path) -> Iterator[Prose]:
    text = file.read_text(encoding="utf-8")
    if file.suffix != ".py":
        yield Prose(text)
        return
    yield from strings_in(ast.parse(text))
    yield from comments_in(text)


def strings_in(node: ast.AST) -> Iterator[Prose]:
    """Docstrings and other strings; an f-string is one, with `{}` for each of its values."""
    if isinstance(node, ast.Constant):
        if isinstance(node.value, str | bytes):
            yield Prose(node.value if isinstance(node.value, str) else node.value.decode("latin-1"), node.lineno)
        return
    if isinstance(node, ast.JoinedStr):
        parts = [part.value if isinstance(part, ast.Constant) else "{}" for part in node.values]
        yield Prose("".join(map(str, parts)), node.lineno)
        return
    for child in ast.iter_child_nodes(node):
        yield from strings_in(child)


def comments_in(text: str) -> Iterator[Prose]:
    """Comments; those on lines that follow each other are one, since a phrase may go on."""
    begins, lines = 0, list[str]()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type != tokenize.COMMENT:
            continue
        if lines and token.start[0] != begins + len(lines):
            yield Prose("\n".join(lines), begins)
            lines = []
        begins = begins if lines else token.start[0]
        lines.append(token.string.lstrip("# "))
    if lines:
        yield Prose("\n".join(lines), begins)


def files_that_people_read() -> list[str]:
    files = [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("examples/*.py"),
        *ROOT.glob("src/mooring/**/*.py"),
        *ROOT.glob("src/mooring/**/*.toml"),
        *ROOT.glob("src/mooring/**/*.lua"),
    ]
    return sorted(file.relative_to(ROOT).as_posix() for file in files)


def test_what_people_read_is_plain_english() -> None:
    faults = [fault for name in files_that_people_read() for fault in faults_in(name, prose_of(ROOT / name))]
    assert not faults, "\n" + "\n".join(faults)


@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS), ("ingress", "traefik")])
def test_the_help_of_each_command_is_plain_english(command: tuple[str, ...]) -> None:
    shown = mooring(*command, "--help")
    assert shown.code == 0
    assert not faults_in(" ".join(["mooring", *command, "--help"]), iter([Prose(shown.out)]))


def test_the_settings_and_all_documents_are_among_what_is_read() -> None:
    names = files_that_people_read()
    assert {"README.md", "CHANGELOG.md", "docs/settings.md", "src/mooring/settings/node_settings.py"} <= set(names)
    assert any(name.startswith("src/mooring/store/lua/") for name in names)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_each_fault_is_found_in_the_bad_example_and_not_in_the_good_one(fault: Fault) -> None:
    assert list(fault.found_in(fault.bad))
    assert list(fault.found_in(fault.bad.replace(" ", "\n")))
    assert not faults_in("good", iter([Prose(fault.good)]))


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("page.md", "# Title\n\nIt is for an\nown Traefik.\n", 3),
        ("advice.toml", '[any]\nwhat = "for an own Traefik"\n', 2),
        ("docstring.py", 'def own() -> None:\n    """First.\n\n    For an own one.\n    """\n', 4),
        ("string.py", 'WORDS = (\n    "for "\n    "an own one"\n)\n', 2),
        ("bytes.py", 'WORDS = b"for an own one"\n', 1),
        ("values.py", 'def say(x: int) -> str:\n    return f"{x} for an own {x}"\n', 2),
        ("comment.py", "an_own = 1\n# This is for an\n# own Traefik.\n", 2),
        ("beside.py", "an_own = 1\nown = 2  # for an own one\n", 2),
    ],
)
def test_a_fault_is_named_with_file_line_and_better_wording(tmp_path: Path, name: str, text: str, line: int) -> None:
    file = tmp_path / name
    file.write_text(text)
    [fault] = faults_in(name, prose_of(file))
    assert fault.startswith(f"{name}:{line}: 'an")
    assert fault.endswith("better 'its own, your own'")
