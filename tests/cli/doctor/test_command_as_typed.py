from __future__ import annotations

import pytest

from tests.cli.command import mooring
from tests.cli.doctor.fake_diagnosis import Diagnosis

ENDPOINT = "https://mcp.example.com/mcp"


PASSWORD = "secret-0b9d51"


def test_markdown_ends_with_what_was_typed_but_for_secrets(
    diagnosis: Diagnosis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", PASSWORD)
    flags = ("--sessions", "5", "--header", f"X-Key: {PASSWORD}-2", "--token-env", "TOKEN", "--only", "eras,affinity")
    tool = ("--tool", "count", "--arguments", f'{{"password": "{PASSWORD}-3"}}', "--timeout", "2.5", "--idle", "0")
    status = ("--status", f"http://h/status?key={PASSWORD}-4", "--status-token-env", "TOKEN")
    said = mooring("doctor", f"{ENDPOINT}?api_key={PASSWORD}-5", *flags, *tool, *status, "--markdown", "--debug")
    assert said.code == 0
    last = said.out.splitlines()[-1]
    assert last.endswith(
        f": `mooring doctor {ENDPOINT} --sessions 5 --header 'X-Key: ***' --token-env TOKEN --tool count "
        "--arguments '***' --timeout 2.5 --idle 0 --only eras,affinity --status 'http://h/status?key=***' "
        "--status-token-env TOKEN --markdown --debug`"
    )
    assert PASSWORD not in said.out
