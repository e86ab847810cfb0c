"""What is wrong with an option is said in a line, and no secret is repeated in it."""

from __future__ import annotations

import pytest

from tests.cli.command import mooring
from tests.cli.doctor.fake_diagnosis import Diagnosis

ENDPOINT = "https://mcp.example.com/mcp"


PASSWORD = "secret-0b9d51"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "'' has no scheme: write http://host/mcp or https://host/mcp"),
        ("/mcp", "'/mcp' has no scheme: write http://host/mcp or https://host/mcp"),
        ("localhost:8000/mcp", "write http://localhost:8000/mcp or https://localhost:8000/mcp"),
        ("mcp.example.com", "write http://mcp.example.com or https://mcp.example.com"),
        ("http:h/mcp", "write http://h/mcp or https://h/mcp"),
        ("ftp://h/mcp", "'ftp://h/mcp': MCP is served at a URL that begins with http:// or https://"),
        ("ws://h/mcp", "begins with http:// or https://"),
        ("http://", "'http://' names no host: write http://host/mcp"),
        ("https:///mcp", "'https:///mcp' names no host: write https://host/mcp"),
        ("http://:80/mcp", "names no host"),
        ("http://h:99999/mcp", "'http://h:99999/mcp' is not a URL: Port out of range 0-65535"),
        ("http://[::1/mcp", "is not a URL"),
        ("http://xn--/mcp", "'http://xn--/mcp' is not a URL"),
        ("http://h/mcp#part", "'http://h/mcp': leave out the # and what follows, which never reaches a server"),
        ("http://h /mcp", "holds white space"),
        ("http://h/\x1b[2J", "'http://h/' holds white space or characters that do not print"),
        (f"http://u:{PASSWORD}@h/mcp", "leave out what stands before the @"),
        (f"{PASSWORD}@h/mcp", "use --token-env or --header"),
        (f"http:/u:{PASSWORD}@h/mcp", "leave out what stands before the @"),
        (f"ftp://h/mcp?key={PASSWORD}", "'ftp://h/mcp': MCP is served"),
        (f"http://h/mcp#{PASSWORD}", "leave out the #"),
    ],
)
def test_a_wrong_url(diagnosis: Diagnosis, url: str, says: str) -> None:
    assert says in _refusal(diagnosis, url, option="URL")
    assert says in _refusal(diagnosis, ENDPOINT, "--status", url, option="--status")


@pytest.mark.parametrize(
    ("header", "says"),
    [
        (PASSWORD, "(1 of 1): a header is written as 'NAME: VALUE', and this one has no colon"),
        ("", "has no colon"),
        (f": {PASSWORD}", "the name, before the colon, is made of letters, digits and - or _"),
        (f"Bearer {PASSWORD}: x", "the name, before the colon"),
        ("Naïve: x", "the name, before the colon"),
        (f"X-Key: {PASSWORD}\r\nX-Other: x", "the value of X-Key holds control characters"),
        (f"X-Key: {PASSWORD}\x00", "the value of X-Key holds control characters"),
        *(
            (f"{name}: {PASSWORD}", f"{name} is set by the doctor itself")
            for name in (
                *("Mcp-Session-Id", "MCP-Protocol-Version", "mcp-method", "Mcp-Name", "Last-Event-ID", "Content-Type"),
                *("Content-Length", "Accept", "accept-encoding", "Cookie", "Host", "Connection", "Transfer-Encoding"),
            )
        ),
    ],
)
def test_a_wrong_header(diagnosis: Diagnosis, header: str, says: str) -> None:
    assert says in _refusal(diagnosis, ENDPOINT, "--header", header, option="--header")


def test_authorization_comes_from_one_place(diagnosis: Diagnosis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "abc")
    flags = ("--token-env", "TOKEN", "--header", f"authorization: Bearer {PASSWORD}")
    assert "give only one of them" in _refusal(diagnosis, ENDPOINT, *flags, option="--header")
    assert mooring("doctor", ENDPOINT, *flags[2:]).code == 0


@pytest.mark.parametrize(
    ("token", "says"),
    [
        (None, "TOKEN is not set: name an environment variable that holds the token"),
        ("", "TOKEN is empty: "),
        (f"Bearer {PASSWORD}", "TOKEN holds more than the token: leave out the word Bearer"),
        (f"{PASSWORD}\n", "TOKEN holds white space, a line break or other characters that no token may have"),
        (f"{PASSWORD} x", "TOKEN holds white space"),
        (f"{PASSWORD}\x7f", "TOKEN holds white space"),
        (f"{PASSWORD}ä", "TOKEN holds white space"),
    ],
)
def test_a_wrong_token(diagnosis: Diagnosis, token: str | None, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if token is not None:
        monkeypatch.setenv("TOKEN", token)
    assert says in _refusal(diagnosis, ENDPOINT, "--token-env", "TOKEN", option="--token-env")
    flags = ("--status", "http://h/status", "--status-token-env", "TOKEN")
    assert says in _refusal(diagnosis, ENDPOINT, *flags, option="--status-token-env")


@pytest.mark.parametrize("variable", [PASSWORD, "eyJhbGciOi.eyJzdWIi.c2ln", "A=B", "", "\x1b[2J"])
def test_a_token_in_the_place_of_its_variable_is_not_repeated(diagnosis: Diagnosis, variable: str) -> None:
    said = _refusal(diagnosis, ENDPOINT, "--token-env", variable, option="--token-env")
    assert "the variable that it names is not set" in said
    assert not variable or variable not in said


def test_tokens_of_two_principals_and_no_more(diagnosis: Diagnosis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALICE", PASSWORD)
    monkeypatch.setenv("ALICE_AGAIN", PASSWORD)
    twice = ("--token-env", "ALICE", "--token-env", "ALICE_AGAIN")
    said = _refusal(diagnosis, ENDPOINT, *twice, option="--token-env")
    assert "both variables hold the same token" in said
    assert "at most twice" in _refusal(diagnosis, ENDPOINT, *twice, *twice[:2], option="--token-env")


@pytest.mark.parametrize(
    ("flags", "option", "says"),
    [
        (("--arguments", "{}"), "--arguments", "name the tool that they are for: --tool NAME"),
        (("--tool", "count", "--arguments", "[1]"), "--arguments", "a JSON object is needed, such as"),
        (("--tool", "count", "--arguments", "null"), "--arguments", "a JSON object is needed"),
        (("--tool", "count", "--arguments", "{by: 2}"), "--arguments", "this is not JSON (line 1, column 2)"),
        (("--tool", "count", "--arguments", '{"by": NaN}'), "--arguments", "this is not JSON"),
        (("--tool", "count", "--arguments", "[" * 100_000), "--arguments", "this is not JSON"),
        (("--tool", "count", "--arguments", f'{{"x": "{PASSWORD}'), "--arguments", "this is not JSON"),
        (("--tool", "", "--only", "eras"), "--tool", "'' is not the name of a tool"),
        (("--tool", "a\nb"), "--tool", "'a b' is not the name of a tool"),
        (("--tool", "count", "--read-only"), "--tool / --read-only", "give only one of them"),
        (("--json", "--markdown"), "--json / --markdown", "give only one of them"),
        (("--watch", "--only", "eras"), "--watch / --only", "give only one of them"),
        (("--watch-seconds", "9", "--skip", "eras"), "--watch / --skip", "give only one of them"),
        (
            ("--other-path", "graphql"),
            "--other-path",
            "'graphql' is not a path: it begins with one /, such as /graphql",
        ),
        (("--other-path", "//evil.example/x"), "--other-path", "begins with one /"),
        (("--other-path", "/a b"), "--other-path", "no white space"),
        (("--only", "eras,nonsense"), "--only", "there is no check 'nonsense'; there are eras, openings, affinity"),
        (("--skip", "Affinity"), "--skip", "there is no check 'Affinity'"),
        (("--only", ","), "--only", "name a check: eras, openings, affinity"),
        (("--sessions", "1"), "--sessions", "2"),
        (("--calls", "0"), "--calls", "1"),
        (("--timeout", "0"), "--timeout", "0.1"),
        (("--timeout", "inf"), "--timeout", "inf is not a number of seconds"),
        (("--idle", "-1"), "--idle", "0"),
        (("--idle", "inf"), "--idle", "inf is not a number of seconds"),
        (("--watch-seconds", "0"), "--watch-seconds", "1"),
        (("--status", "http://h/status"), "--status-token-env", "MOORING_STATUS_TOKEN is not set"),
        (("--status-token-env", "X"), "--status-token-env", "name the status page that it is for: --status URL"),
    ],
)
def test_other_wrong_options(diagnosis: Diagnosis, flags: tuple[str, ...], option: str, says: str) -> None:
    assert says in _refusal(diagnosis, ENDPOINT, *flags, option=option)


def _refusal(diagnosis: Diagnosis, *arguments: str, option: str) -> str:
    """What is said of a wrong option: on one line, with nothing examined and no secret repeated."""
    said = mooring("doctor", *arguments)
    assert said.code == 2
    assert said.out == ""
    assert diagnosis.plans == []
    assert PASSWORD not in said.err
    usage, help_, empty, error = said.err.splitlines()
    assert (usage.startswith("Usage: mooring doctor "), help_.startswith("Try "), empty) == (True, True, "")
    assert error.startswith("Error: ")
    assert option in error
    return error
