"""`mooring roll`: replace the nodes of `mooring up` one after another, while clients work."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from mooring.cli.chosen_cluster import REGISTRY_SETTINGS, ChosenCluster, local_cluster, opened_store
from mooring.cli.flags import Debug, RunDir, new_app, with_settings
from mooring.cli.ordering import PATIENCE_SECONDS, living_nodes, takes_sessions
from mooring.core.text import plain
from mooring.errors import ClusterError
from mooring.store import Store
from mooring.store.registry import NodeStatus

app = new_app()

_LOOK_SECONDS: Final = 0.2


@app.command()
@with_settings(only=REGISTRY_SETTINGS)
def roll(
    timeout: Annotated[float, typer.Option(help="How long one node may take, in seconds.", min=1)] = 120.0,
    run_dir: RunDir = None,
    debug: Debug = False,
    **given: Any,
) -> None:
    """Replace the nodes of `mooring up` one after another: each gives its sessions away, ends, and is started again."""
    cluster = local_cluster(run_dir, given)
    if cluster is None or cluster.pid is None:
        raise ClusterError(
            "roll is for a cluster of `mooring up`, here or by --run-dir; elsewhere your platform rolls: see "
            "docs/deploys.md"
        )
    asyncio.run(_roll(cluster, cluster.pid, timeout))


async def _roll(cluster: ChosenCluster, its_pid: int, seconds_each: float) -> None:
    async with opened_store(cluster) as store:
        old = [node for node in await living_nodes(store) if takes_sessions(node)]
        for node in [node for node in old if _parent_of(node.info.pid) not in (None, its_pid)]:
            typer.echo(f"{plain(node.info.name)}: left alone, since `mooring up` has not started it", err=True)
            old.remove(node)
        began = time.monotonic()
        for node in old:
            try:
                async with asyncio.timeout(seconds_each):
                    await _replace(store, node)
            except TimeoutError:
                raise ClusterError(
                    f"{plain(node.info.name)} was not replaced after {seconds_each:g} s: see what `mooring up` says"
                ) from None
        typer.echo(f"replaced {len(old)} nodes in {time.monotonic() - began:.1f} s")


async def _replace(store: Store, old: NodeStatus) -> None:
    began = time.monotonic()
    name = plain(old.info.name)
    now = await _now(store, old)
    if now is None:  # its number may be another process's by now
        typer.echo(f"{name}: has ended by itself, and is started again")
    else:
        try:
            os.kill(old.info.pid, signal.SIGTERM)
        except (ProcessLookupError, PermissionError) as error:
            raise ClusterError(f"{name} cannot be told to stop (process {old.info.pid}): {error}") from error
        typer.echo(f"{name}: gives {now.info.sessions} sessions away")
    while True:
        nodes = await living_nodes(store, PATIENCE_SECONDS)
        others = [node for node in nodes if node.info.name == old.info.name]
        if any(node.info.id != old.info.id and takes_sessions(node) for node in others):
            break
        await asyncio.sleep(_LOOK_SECONDS)
    typer.echo(f"{name}: replaced after {time.monotonic() - began:.1f} s")


def _parent_of(pid: int) -> int | None:
    """None where that is not known. A Redis that was named may have nodes of other machines: their numbers mean nothing
    here, or somebody else's process."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return None


async def _now(store: Store, node: NodeStatus) -> NodeStatus | None:
    """The same as it is now; None where it is no longer there."""
    nodes = await living_nodes(store, PATIENCE_SECONDS)
    return next((one for one in nodes if one.info.id == node.info.id), None)
