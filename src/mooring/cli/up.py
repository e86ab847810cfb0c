"""`mooring up TARGET`: a whole cluster on this machine."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from mooring.cli.chosen_cluster import DEFAULT_RUN_DIR
from mooring.cli.flags import Debug, Target, new_app, with_settings
from mooring.cli.logs import configure_logging
from mooring.cli.output import console
from mooring.settings import Settings

app = new_app()


@app.command()
@with_settings(only=frozenset({"redis_url"}))
def up(
    target: Target,
    nodes: Annotated[int, typer.Option(help="How many nodes.", min=1, max=64)] = 3,
    host: Annotated[str, typer.Option(help="Address that Traefik listens on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(help="Port that Traefik listens on; 0 for any free one.", min=0, max=65535)
    ] = 8080,
    run_dir: Annotated[Path, typer.Option(metavar="DIR", help="Folder for its files and sockets.")] = DEFAULT_RUN_DIR,
    insecure_cookies: Annotated[
        bool, typer.Option("--insecure-cookies", help="Let the sticky cookie travel over plain http.")
    ] = False,
    hint: Annotated[
        str | None, typer.Option(metavar="TEXT", help="A line to print once all is up; {url} in it is the endpoint.")
    ] = None,
    start_seconds: Annotated[
        int, typer.Option(metavar="SECONDS", help="How long everything may take to come up.", min=1)
    ] = 300,
    debug: Debug = False,
    **given: Any,
) -> None:
    """Run a whole cluster on this machine: Redis (unless --redis-url names one), nodes, and Traefik in front.

    Ctrl-C stops all of it. `mooring status` in the same directory shows its nodes.
    """
    from mooring.local.cluster import up as run_cluster
    from mooring.local.options import UpOptions

    configure_logging(debug=debug)
    options = UpOptions(
        target=target,
        nodes=nodes,
        host=host,
        port=port,
        redis_url=Settings.load(**given).redis_url,
        run_dir=run_dir,
        insecure_cookies=insecure_cookies,
        start_seconds=start_seconds,
        debug=debug,
        hint=hint,
    )
    raise typer.Exit(asyncio.run(run_cluster(options, console())))
