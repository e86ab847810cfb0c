"""The report for a ticket, read as a site reads it: by a Markdown parser."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from mooring.doctor.findings import Change, Finding, Verdict
from mooring.doctor.markdown import markdown
from mooring.doctor.report import Report

CONFIG = "backend mcp\n    stick match req.hdr(Mcp-Session-Id)"
FINE = Finding("eras", Verdict.OK, "legacy 2025-11-25, 2024-11-05 and modern 2026-07-28; gives out sessions")
PROBLEM = Finding(
    "affinity",
    Verdict.BROKEN,
    "works with one replica, fails with two: 69% of calls miss their session",
    "The others answer `404 Session not found`, and most clients never recover.",
    {"calls": 800, "errors": {"404": 551}},
    (Change("Let HAProxy learn it.", CONFIG),),
)
EVIL = [
    "</td><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<!-- hidden",
    "&lt;b&gt; &#64;",
    "[click](https://evil.example/x)",
    "![i](https://evil.example/x.png)",
    "[a]: https://evil.example",
    "<https://evil.example>",
    "a | b | c |",
    "`a | b` and `c",
    "``` x ``` | `` y",
    "`",
    "\\| \\` \\\\| \\",
    "`\\` | [x](y)",
    "*bold* _it_ __b__ ~~s~~ $x$",
    "# heading",
    "- list",
    "+ list",
    "1. list",
    "404) list",
    "> quote",
    "=====",
    "-----",
    "a\n\n# b\n| c",
    "    code",
]


def report(*findings: Finding) -> Report:
    return Report(
        "https://mcp.example.com/mcp", "HAProxy", True, findings, {"principals": "it needs a second token"}, 20, 20
    )


def written(*findings: Finding) -> str:
    return markdown(report(*findings), version="0.1.0", command="mooring doctor https://mcp.example.com/mcp")


def parsed(text: str) -> list[Token]:
    """Every token, those within lines too."""
    tokens = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(text)
    return [inner for token in tokens for inner in (token, *(token.children or ()))]


def shape(text: str) -> Counter[str]:
    """What it consists of, whatever the words and the code in them."""
    return Counter(token.type for token in parsed(text) if token.type not in ("text", "code_inline", "text_special"))


def test_the_whole() -> None:
    assert written(FINE, PROBLEM) == (
        """\
## broken: works with one replica, fails with two

- endpoint: `https://mcp.example.com/mcp`
- proxy: HAProxy
- sessions: 20 opened, 20 closed
- requests: 0 in 0.0 s

| check | verdict | finding |
|---|---|---|
| eras | ok | legacy 2025-11-25, 2024-11-05 and modern 2026-07-28; gives out sessions |
| affinity | **broken** | works with one replica, fails with two: 69% of calls miss their session |

Not run:

- principals: it needs a second token

### 1. affinity: works with one replica, fails with two: 69% of calls miss their session

The others answer `404 Session not found`, and most clients never recover.

**To change:** Let HAProxy learn it.

```
backend mcp
    stick match req.hdr(Mcp-Session-Id)
```

Measured:

```json
{
  "calls": 800,
  "errors": {
    "404": 551
  }
}
```

---

mooring 0.1.0: `mooring doctor https://mcp.example.com/mcp`
"""
    )


def test_what_could_not_be_closed_is_told() -> None:
    shown = markdown(replace(report(FINE), closed=18, left=2), version="0", command="x")
    assert "- sessions: 20 opened, 18 closed, **2 could not be closed**\n" in shown


def test_what_to_ask_for_where_something_is_unknown() -> None:
    unknown = Finding(
        "idle", Verdict.UNKNOWN, "not seen", changes=(Change("Name a tool (`--tool`)."), Change("Or wait."))
    )
    assert "\n\nTo see more:\n\n- idle: Name a tool (`--tool`). Or wait.\n\n---\n" in written(FINE, unknown)


@pytest.mark.parametrize("text", EVIL)
def test_foreign_text_is_text_wherever_it_stands(text: str) -> None:
    shown = written(FINE, replace(PROBLEM, says=text, why=text, evidence={"x": text}, changes=(Change(text, CONFIG),)))
    plain = written(FINE, replace(PROBLEM, says="x", why="x", changes=(Change("x", CONFIG),)))
    assert shape(shown) == shape(plain)


@given(st.text("`|\\[]()<>*_~#!@&$:/.wW a1-+=\n", min_size=1, max_size=30))
def test_no_text_changes_the_shape(text: str) -> None:
    shown = written(FINE, replace(PROBLEM, says=f"{text}x", why=f"{text}x", changes=(Change(f"{text}x", CONFIG),)))
    plain = written(FINE, replace(PROBLEM, says="x", why="x", changes=(Change("x", CONFIG),)))
    assert shape(shown) == shape(plain)


@pytest.mark.parametrize("config", ["a\n```\n# b", "````\n```", "<script>", "| a |"])
def test_configuration_is_kept_as_it_is_whatever_is_in_it(config: str) -> None:
    shown = written(replace(PROBLEM, evidence={}, changes=(Change("Do it.", config),)))
    assert [token.content for token in parsed(shown) if token.type == "fence"] == [f"{config}\n"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("ask @ann or #12", "@ann"),
        ("ask @ann or #12", "#12"),
        ("mail me@evil.example", "me@evil"),
        ("see https://evil.example", "https://evil"),
        ("see WWW.evil.example", "WWW."),
    ],
)
def test_no_name_is_called_and_no_address_becomes_a_link(text: str, found: str) -> None:
    shown = written(replace(PROBLEM, says=text, why=text))
    assert found not in shown


def test_text_reads_as_it_was_said() -> None:
    assert "1.5 MiB is taken" in written(replace(PROBLEM, why="1.5 MiB is taken"))
    said = "a_b <c> [d] 'e' f|g 1. \\ & 2025-11-25 (h) 50% $i"
    shown = parsed(written(replace(PROBLEM, why=said)))
    assert said in ["".join(child.content for child in token.children or ()) for token in shown]
