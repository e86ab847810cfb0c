"""What the parent of several workers tells them, and what it says of them; real ones are in tests/e2e."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from mooring.cli import serving_workers
from mooring.cli.serving_workers import _name
from mooring.hosting.listener import Listener
from mooring.processes.child import Command
from mooring.settings import Settings, default_node_name

SECRET = "a-secret-for-tests-and-nowhere-else"


class Asked:
    """In the place of the workers: how they would be started."""

    def __init__(self) -> None:
        self.commands: list[Command] = []

    def __call__(self, commands: Callable[[int], Sequence[Command]], *_: Any) -> Asked:
        self.commands = list(commands(99))
        return self

    async def run(self, *, on_ready: Callable[[], None], on_stop: Callable[[], None]) -> None:
        on_ready()
        on_stop()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    one = Asked()
    monkeypatch.setattr(serving_workers, "Workers", one)
    return one


def serve(**given: str) -> None:
    settings = Settings.load(secret=SECRET, **given)
    serving_workers.serve_workers(2, settings, Listener("127.0.0.1", 0), given, ("a:b",), 10)


def test_the_endpoint_that_is_announced_is_one(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    serve(redis_url="redis://127.0.0.1:1/0", mcp_path="/s/{id}/mcp,/a/mcp,/b/mcp", node_name="n")
    said = capsys.readouterr().out.strip()
    assert said.startswith("nodes n-1 to n-2 serve http://127.0.0.1:")
    assert said.endswith("/a/mcp")
    assert "," not in said


def test_a_worker_has_the_flag_and_not_the_file_that_it_stands_before(
    asked: Asked, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "url").write_text("redis://elsewhere/0")
    monkeypatch.setenv("MOORING_REDIS_URL_FILE", str(tmp_path / "url"))
    serve(redis_url="redis://127.0.0.1:1/0")
    for name in asked.commands[0].without:
        monkeypatch.delenv(name, raising=False)
    for name, value in asked.commands[0].environment.items():
        monkeypatch.setenv(name, value)
    assert Settings.load().redis_url == "redis://127.0.0.1:1/0"


def test_a_long_name_keeps_what_tells_replicas_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a platform's name that is the end, of a host's the beginning."""
    long = "counter-" * 7 + "-x7k2p"
    assert _name(long, 12) == f"{long[:60]}-12"
    monkeypatch.setenv("POD_NAME", "counter-" * 9 + "-x7k2p")
    [named] = {_name(default_node_name(), 12)}
    assert named.endswith("-x7k2p-12")
    assert len(named) <= 63
    assert Settings.load(node_name=named).node_name == named
    assert _name("short", 1) == "short-1"
