"""`mooring serve TARGET`: one node in the foreground, for containers and process managers."""

from __future__ import annotations

import logging
import os
from typing import Annotated, Any

import typer

from mooring.cli.flags import Debug, Target, new_app, with_settings
from mooring.cli.logs import Level, configure_logging, take_over_loggers
from mooring.cli.serving_workers import serve_workers
from mooring.core.masking import masked
from mooring.errors import SettingsError, TargetError
from mooring.hosting.listener import Listener
from mooring.hosting.request_state import key_of, share_own_keys, watch_for_own_keys
from mooring.hosting.server import run_server
from mooring.hosting.target import load_target
from mooring.hosting.workers import WorkerReport
from mooring.node.middleware import Mooring
from mooring.processes.addresses import is_on_this_machine
from mooring.settings import Settings

logger = logging.getLogger("mooring.serve")

app = new_app()


@app.command()
@with_settings()
def serve(
    target: Target,
    host: Annotated[
        str, typer.Option(envvar="HOST", help="Address to listen on; 0.0.0.0 or :: for all.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(envvar="PORT", help="Port to listen on; 0 for any free one.", min=0, max=65535)
    ] = 8000,
    log_level: Annotated[Level, typer.Option(help="Show log records from this level up.")] = "info",
    stop_seconds: Annotated[
        int, typer.Option(help="How long running requests may go on after SIGTERM or Ctrl-C.", min=0)
    ] = 10,
    workers: Annotated[
        int, typer.Option(help="How many processes serve the port, each a node; more than one needs Redis.", min=1)
    ] = 1,
    worker_fds: Annotated[str | None, typer.Option("--worker-fds", hidden=True)] = None,
    debug: Debug = False,
    **given: Any,
) -> None:
    """Run one node in the foreground, or several on one port.

    Without --redis-url it is a single node that keeps its sessions in memory. With it, the node joins the cluster that
    uses this Redis; MOORING_SECRET has to be the same on all of its nodes. The secret has no flag: ps shows flags.

    With --workers N there are N processes, each a node called NAME-1 to NAME-N. One that ends is started again.

    Whatever `mooring settings` lists can also be set as MOORING_... in the environment, or in mooring.toml.
    """
    configure_logging(log_level, debug=debug)
    settings = Settings.load(**given)
    if settings.redis_url is not None and settings.secret is None:
        raise SettingsError("secret", None, "needed with redis_url: set MOORING_SECRET, the same on every node")
    if workers > 1:
        flags = (target, "--log-level", log_level, "--stop-seconds", str(stop_seconds), *(["--debug"] if debug else []))
        serve_workers(workers, settings, Listener(host, port), given, flags, stop_seconds)
        return
    fd, report = _inherited(worker_fds)
    listener = Listener(host, port) if fd is None else Listener.inherited(fd)
    if settings.advertise_url is None:
        settings = Settings.load(**{**given, "advertise_url": listener.url_for_peers(settings.redis_url)})
    os.environ["MOORING_NODE_NAME"] = settings.node_name  # so that the app can say where it runs
    node = _wrap(target, settings)
    if report is not None:
        report.tell_id(node.node_id)
    run_server(
        node,
        listener,
        on_ready=report.tell_ready if report is not None else lambda: _announce(settings, listener),
        stop_seconds=stop_seconds,
        tunes_gc=settings.gc == "server",
    )


def _inherited(worker_fds: str | None) -> tuple[int | None, WorkerReport | None]:
    """What the parent of several workers hands on to each."""
    if worker_fds is None:
        return None, None
    fd, _, report_fd = worker_fds.partition(",")
    return int(fd), WorkerReport(int(report_fd))


def _wrap(target: str, settings: Settings) -> Mooring:
    watch_for_own_keys()
    key = key_of(settings)
    inner = load_target(target, settings, lambda server: None if key is None else share_own_keys(server, key))
    take_over_loggers()
    if isinstance(inner, Mooring):
        raise TargetError(f"{target} is already wrapped in Mooring: run it with a server, or name the app inside it")
    return Mooring(inner, settings)


def _announce(settings: Settings, listener: Listener) -> None:
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
