from __future__ import annotations

from pathlib import Path

from mooring.local.commands import NODE_GRACE_SECONDS, node_command, redis_command, traefik_command


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
