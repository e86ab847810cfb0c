"""Which cluster a command is about, and how to reach its registry.

In this order: `--redis-url` or `--run-dir`, the setting `redis_url` of the environment or the file, and the cluster
that `mooring up` runs in `.mooring`.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import typer

from mooring.errors import ClusterError, StoreUnavailable
from mooring.local.runfile import NAME as RUN_FILE
from mooring.local.runfile import RunFile
from mooring.settings import Settings
from mooring.store import Store, open_store
from mooring.store.registry import Registry

DEFAULT_RUN_DIR: Final = Path(".mooring")

REGISTRY_SETTINGS: Final = frozenset({"redis_url", "key_prefix", "redis_timeout_seconds"})
"""The settings that a command needs to read a registry."""


@dataclass(frozen=True, slots=True)
class ChosenCluster:
    """
    Attributes:
        ingress: the URL of the MCP endpoint at the local cluster's load balancer; None where that is not ours.
        run_dir: of the local cluster, None for another one.
        pid: of the process that runs the local cluster.
    """

    settings: Settings
    ingress: str | None = None
    run_dir: Path | None = None
    pid: int | None = None


def find_cluster(run_dir: Path | None, given: Mapping[str, Any]) -> ChosenCluster:
    """The cluster that the flags, the settings or the working directory name.

    Raises:
        ClusterError: none of them does, or the run directory holds no cluster.
        SettingsError: a setting is wrong.
        typer.BadParameter: a flag says what the run directory says already.
    """
    settings = Settings.load(**given)
    if run_dir is None and settings.redis_url is not None:
        return ChosenCluster(settings)
    folder = run_dir or DEFAULT_RUN_DIR
    said = _run_file(folder, is_named=run_dir is not None)
    for name in ("redis_url", "key_prefix"):
        if given.get(name) is not None:
            hint = f"--{name.replace('_', '-')}"
            raise typer.BadParameter(f"the cluster that runs from {folder} has its own", param_hint=hint)
    local = Settings.load(**{**given, "redis_url": said.redis_url, "key_prefix": said.key_prefix})
    return ChosenCluster(local, said.ingress, folder, said.pid)


def local_cluster(run_dir: Path | None, given: Mapping[str, Any]) -> ChosenCluster | None:
    """The same, if it is one of `mooring up`: that of the working directory, too, where its Redis is the one that the
    settings name."""
    chosen = find_cluster(run_dir, given)
    if chosen.pid is None and (DEFAULT_RUN_DIR / RUN_FILE).exists():
        said = _run_file(DEFAULT_RUN_DIR, is_named=False)
        if (said.redis_url, said.key_prefix) == (chosen.settings.redis_url, chosen.settings.key_prefix):
            chosen = ChosenCluster(chosen.settings, said.ingress, DEFAULT_RUN_DIR, said.pid)
    return None if chosen.pid is None else chosen


def _run_file(folder: Path, *, is_named: bool) -> RunFile:
    """What the cluster that runs from `folder` says of itself; `is_named`: the operator said that it is there."""
    try:
        return RunFile(**json.loads((folder / RUN_FILE).read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError) as error:
        another = "name another --run-dir" if is_named else "say which: --redis-url or --run-dir"
        raise ClusterError(f"no cluster runs from {folder}: start one with `mooring up`, or {another}") from error
    except (OSError, ValueError, TypeError) as error:
        raise ClusterError(f"{folder / RUN_FILE} cannot be read: {error}") from error


@asynccontextmanager
async def opened_store(cluster: ChosenCluster) -> AsyncIterator[Store]:
    """The cluster's store, closed again at the end.

    Raises:
        ClusterError: the local cluster that is meant is not running.
        StoreUnavailable: its Redis does not answer.
    """
    settings = cluster.settings
    store = open_store(settings.redis_url, settings.key_prefix, settings.redis_timeout_seconds, settings.secrets)
    try:
        yield store
    except StoreUnavailable as error:
        if cluster.pid is not None and not _is_running(cluster.pid):
            raise ClusterError(f"the cluster of {cluster.run_dir} is no longer running") from error
        raise
    finally:
        await store.aclose()


@asynccontextmanager
async def opened_registry(cluster: ChosenCluster) -> AsyncIterator[Registry]:
    """The read side of `opened_store`."""
    async with opened_store(cluster) as store:
        yield Registry(store)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
