from __future__ import annotations

from pathlib import Path

import pytest

from mooring.local.commands import NODE_GRACE_SECONDS, node_command, redis_command, traefik_command
from mooring.settings import Settings


def test_a_node_is_told_its_secret_where_others_cannot_see_it() -> None:
    command = node_command("node-1", "app.py:server", "unix:///r.sock", "very secret", 12, debug=False)
    assert not any("secret" in argument for argument in command.arguments)
    assert command.environment["MOORING_SECRET"] == "very secret"
    assert command.environment["MOORING_NODE_NAME"] == "node-1"
    assert command.environment["MOORING_REDIS_URL"] == "unix:///r.sock"
    assert "--debug" not in command.arguments


def test_a_node_has_time_to_finish_before_it_is_killed() -> None:
    command = node_command("node-1", "app.py:server", "unix:///r.sock", "very secret", 12, debug=True)
    assert command.stop_seconds > NODE_GRACE_SECONDS
    assert command.arguments[-1] == "--debug"


def test_redis_has_no_port_and_saves_nothing() -> None:
    arguments = redis_command(Path("/run/redis.sock")).arguments
    assert arguments[arguments.index("--port") + 1] == "0"
    assert arguments[arguments.index("--save") + 1] == ""
    assert arguments[arguments.index("--unixsocket") + 1] == "/run/redis.sock"


def test_traefik_reads_the_file() -> None:
    assert traefik_command(Path("/run/static.yml")).arguments[1:] == ("--configfile=/run/static.yml",)


def test_what_a_node_is_told_is_not_in_a_file_as_well(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("a-secret-for-tests-and-nowhere-else")
    monkeypatch.setenv("MOORING_SECRET_FILE", str(tmp_path / "secret"))
    secret = Settings.load().secret
    assert secret is not None
    command = node_command("node-1", "a:b", "unix:///r.sock", secret.get_secret_value(), 12, debug=False)
    for name in command.without:
        monkeypatch.delenv(name, raising=False)
    for name, value in command.environment.items():
        monkeypatch.setenv(name, value)
    assert Settings.load().secret == secret
