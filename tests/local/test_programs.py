from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from mooring.errors import ClusterError
from mooring.local.programs import find_redis, find_traefik


def program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine that has nothing; `tmp_path/bin` is its PATH, `tmp_path/env/bin` has its Python."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "env" / "bin" / "python"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    return tmp_path


def test_without_traefik_says_what_to_do(bare: Path) -> None:
    with pytest.raises(ClusterError, match=r"traefik .* pip install 'mooring\[local\]'"):
        find_traefik()


def test_without_redis_says_what_to_do(bare: Path) -> None:
    with pytest.raises(ClusterError, match=r"valkey-server nor redis-server .* pip install 'mooring\[local\]'"):
        find_redis()


def test_traefik_of_the_environment_goes_before_that_of_the_path(bare: Path) -> None:
    on_path = program(bare / "bin" / "traefik")
    assert find_traefik() == on_path
    of_environment = program(bare / "env" / "bin" / "traefik")
    assert find_traefik() == of_environment


def test_redis_of_the_path_serves_as_well(bare: Path) -> None:
    redis = program(bare / "bin" / "redis-server")
    assert find_redis() == redis
    valkey = program(bare / "bin" / "valkey-server")
    assert find_redis() == valkey


@pytest.mark.real
def test_what_the_extra_brings_is_found_and_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert b"Version:" in subprocess.run([find_traefik(), "version"], capture_output=True, check=True).stdout
    assert b"v=" in subprocess.run([find_redis(), "--version"], capture_output=True, check=True).stdout
