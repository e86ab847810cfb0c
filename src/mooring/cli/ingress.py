"""`mooring ingress traefik`: the configuration for the operator's own Traefik."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from mooring.cli.chosen_cluster import REGISTRY_SETTINGS, ChosenCluster, find_cluster, opened_store
from mooring.cli.flags import Debug, RunDir, new_app, with_settings
from mooring.cli.logs import configure_logging
from mooring.core.ownership import ClusterView, advance
from mooring.errors import MooringError
from mooring.files import replace_file
from mooring.ingress.follow import DynamicFile, follow
from mooring.ingress.topology import Topology, topology_of
from mooring.ingress.traefik import dump, dynamic_configuration, static_configuration
from mooring.processes.signals import stop_signals
from mooring.store import Store
from mooring.store.registry import watch

app = new_app()

DYNAMIC_FILE: Final = "traefik-dynamic.yml"

LOOK_SECONDS: Final = 0.5
"""How often the nodes are looked at: the file has to follow them within two seconds."""

_PATHS: Final = frozenset({"mcp_path", "health_path", "ready_path", "lease_seconds"})


@app.callback()
def ingress() -> None:
    """Print the configuration for your own load balancer."""


@app.command()
@with_settings(only=REGISTRY_SETTINGS | _PATHS)
def traefik(
    static: Annotated[bool, typer.Option("--static", help="Print only what Traefik reads when it starts.")] = False,
    dynamic: Annotated[bool, typer.Option("--dynamic", help="Print only the part that follows the nodes.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write to FILE, by rename.")
    ] = None,
    keep: Annotated[bool, typer.Option("--watch", help="Keep FILE up to date with the nodes (dynamic).")] = False,
    address: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where clients connect (static).")
    ] = "127.0.0.1:8080",
    dynamic_file: Annotated[
        str, typer.Option(metavar="FILE", help="Where Traefik finds the dynamic part (static).")
    ] = DYNAMIC_FILE,
    insecure_cookies: Annotated[
        bool, typer.Option("--insecure-cookies", help="Let the sticky cookie travel over plain http.")
    ] = False,
    run_dir: RunDir = None,
    debug: Debug = False,
    **given: Any,
) -> None:
    """Print Traefik's static and dynamic configuration for the nodes that are alive now.

    Traefik 3.7.12 or later. With --output and --watch it runs until it is stopped, and replaces FILE whenever nodes or
    shards change; Traefik reads it again by itself.
    """
    _check(static, dynamic, output, keep)
    configure_logging(debug=debug)
    static_text = dump(static_configuration(address=address, dynamic_file=dynamic_file))
    if static:
        _put(static_text, output)
        return
    cluster = find_cluster(run_dir, given)
    if keep and output is not None:
        asyncio.run(_keep(cluster, DynamicFile(output, secure_cookie=not insecure_cookies)))
        return
    topology = asyncio.run(_now(cluster))
    dynamic_text = dump(dynamic_configuration(topology, secure_cookie=not insecure_cookies))
    if output is not None or dynamic:
        _put(dynamic_text, output)
    else:
        typer.echo(f"# static\n{static_text}---\n# dynamic: {dynamic_file}\n{dynamic_text}", nl=False)


def _check(static: bool, dynamic: bool, output: Path | None, keep: bool) -> None:
    if static and dynamic:
        raise typer.BadParameter("give one of them, or neither for both", param_hint="--static / --dynamic")
    if keep and (output is None or static):
        raise typer.BadParameter("it keeps the dynamic file up to date: give --output FILE", param_hint="--watch")


def _put(text: str, output: Path | None) -> None:
    """Print it, or write the file by rename: Traefik never reads half of it."""
    if output is None:
        typer.echo(text, nl=False)
        return
    try:
        replace_file(output, text)
    except OSError as error:
        raise MooringError(f"cannot write {output}: {error.strerror}") from error


async def _now(cluster: ChosenCluster) -> Topology:
    async with opened_store(cluster) as store:
        view = advance(ClusterView(), await store.snapshot(), in_grace=False)
        return topology_of(view, cluster.settings)


async def _keep(cluster: ChosenCluster, file: DynamicFile) -> None:
    """Until SIGTERM or Ctrl-C. A Redis that does not answer at the start is an error; later it is waited for."""
    async with opened_store(cluster) as store:
        await store.snapshot()
        following = asyncio.ensure_future(follow(_topologies(store, cluster), file))
        with stop_signals(following.cancel), suppress(asyncio.CancelledError):
            await following


async def _topologies(store: Store, cluster: ChosenCluster) -> AsyncIterator[Topology]:
    views = watch(store, every_seconds=LOOK_SECONDS, grace_seconds=cluster.settings.lease_seconds)
    async with aclosing(views):
        async for view in views:
            yield topology_of(view, cluster.settings)
