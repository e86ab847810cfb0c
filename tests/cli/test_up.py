"""What `mooring up` is asked for; the cluster itself has tests of its own."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest
from rich.console import Console

from mooring.errors import ClusterError
from mooring.local.options import UpOptions
from tests.cli.command import mooring


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[UpOptions]:
    """The options that the cluster was run with; it then ends with exit code 7."""
    seen: list[UpOptions] = []

    async def up(options: UpOptions, console: Console) -> int:
        seen.append(options)
        return 7

    cluster = ModuleType("mooring.local.cluster")
    cluster.up = up  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mooring.local.cluster", cluster)
    return seen


def test_the_defaults(asked: list[UpOptions]) -> None:
    assert mooring("up", "examples/counter.py:server").code == 7
    assert asked == [UpOptions("examples/counter.py:server")]


def test_every_flag(asked: list[UpOptions]) -> None:
    flags = "--nodes 2 --host 0.0.0.0 --port 0 --redis-url redis://h --run-dir /r --insecure-cookies "
    flags += "--start-seconds 7 --debug --hint h"
    mooring("up", "a:b", *flags.split())
    assert asked == [UpOptions("a:b", 2, "0.0.0.0", 0, "redis://h", Path("/r"), True, 7, True, "h")]


def test_redis_may_come_from_the_environment(asked: list[UpOptions], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOORING_REDIS_URL", "redis://surroundings")
    mooring("up", "a:b")
    assert asked[0].redis_url == "redis://surroundings"


@pytest.mark.parametrize("flags", ["--nodes 0", "--port 65536", "--start-seconds 0", "--redis-url nonsense"])
def test_wrong_flags(asked: list[UpOptions], flags: str) -> None:
    assert mooring("up", "a:b", *flags.split()).code == 2
    assert asked == []


def test_a_cluster_that_cannot_start(monkeypatch: pytest.MonkeyPatch) -> None:
    async def up(*_: object) -> int:
        raise ClusterError("port 8080 on 127.0.0.1 is in use: choose another one with --port")

    cluster = ModuleType("mooring.local.cluster")
    cluster.up = up  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mooring.local.cluster", cluster)
    said = mooring("up", "a:b")
    assert said.code == 1
    assert said.error_line == "mooring: port 8080 on 127.0.0.1 is in use: choose another one with --port"
