"""`mooring serve TARGET`: one node in the foreground, for containers and process managers."""

from __future__ import annotations

import logging
import os
from typing import Annotated, Any

import typer

from mooring.cli.flags import Debug, Target, new_app, with_settings
from mooring.cli.logs import Level, configure_logging, take_over_loggers
from mooring.core.masking import masked
from mooring.errors import SettingsError, TargetError
from mooring.hosting.listener import Listener
from mooring.hosting.server import run_server
from mooring.hosting.target import load_target
from mooring.node.middleware import Mooring
from mooring.processes.addresses import is_on_this_machine
from mooring.settings import Settings

logger = logging.getLogger("mooring.serve")

app = new_app()


@app.command()
@with_settings()
def serve(
    target: Target,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 or :: for all.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 for any free one.", min=0, max=65535)] = 8000,
    log_level: Annotated[Level, typer.Option(help="Show log records from this level up.")] = "info",
    stop_seconds: Annotated[
        int, typer.Option(help="How long running requests may go on after SIGTERM or Ctrl-C.", min=0)
    ] = 10,
    debug: Debug = False,
    **given: Any,
) -> None:
    """Run one node in the foreground.

    Without --redis-url it is a single node that keeps its sessions in memory. With it, the node joins the cluster that
    uses this Redis; MOORING_SECRET has to be the same on all of its nodes. The secret has no flag: ps shows flags.

    Whatever `mooring settings` lists can also be set as MOORING_... in the environment, or in mooring.toml.
    """
    configure_logging(log_level, debug=debug)
    settings = Settings.load(**given)
    if settings.redis_url is not None and settings.secret is None:
        raise SettingsError("secret", None, "needed with redis_url: set MOORING_SECRET, the same on every node")
    listener = Listener(host, port)
    if settings.advertise_url is None:
        settings = Settings.load(**{**given, "advertise_url": listener.url_for_peers(settings.redis_url)})
    os.environ["MOORING_NODE_NAME"] = settings.node_name  # so that the app can say where it runs
    node = _wrap(target, settings)
    run_server(
        node,
        listener,
        on_ready=lambda: _announce(settings, listener, given),
        stop_seconds=stop_seconds,
        tunes_gc=settings.gc == "server",
    )


def _wrap(target: str, settings: Settings) -> Any:
    inner = load_target(target, settings)
    take_over_loggers()
    if isinstance(inner, Mooring):
        raise TargetError(f"{target} is already wrapped in Mooring: run it with a server, or name the app inside it")
    return Mooring(inner, settings)


def _announce(settings: Settings, listener: Listener, given: dict[str, Any]) -> None:
    if settings.redis_url is None:
        typer.echo("single node: sessions are kept in this process only, no other node can share them (no redis_url)")
    else:
        _say_where(settings, listener)
    typer.echo(f"node {settings.node_name} serves {settings.advertise_url}{settings.main_endpoint}")


def _say_where(settings: Settings, listener: Listener) -> None:
    assert settings.redis_url is not None
    if listener.listens_everywhere:
        logger.info("peers reach this node at %s (advertise_url)", settings.advertise_url)
    elif listener.is_loopback and not is_on_this_machine(settings.redis_url):
        logger.warning(
            "listens on %s, which no other machine can reach, but %s is on another one: see --host",
            listener.host,
            masked(settings.redis_url),
        )
