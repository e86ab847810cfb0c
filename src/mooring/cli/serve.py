"""`mooring serve TARGET`: one node in the foreground, for containers and process managers."""

from __future__ import annotations

import ipaddress
import logging
import os
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, Final

import typer

from mooring.asgi import App
from mooring.cli.catalogue import mistyped_variables
from mooring.cli.flags import Debug, Target, new_app, with_settings
from mooring.cli.logs import Level, configure_logging, take_over_loggers
from mooring.cli.serving_workers import serve_workers
from mooring.core.masking import masked
from mooring.errors import SettingsError, TargetError
from mooring.hosting.first_question import FirstQuestion
from mooring.hosting.listener import Listener
from mooring.hosting.request_state import keys_of, share_own_keys
from mooring.hosting.server import run_server
from mooring.hosting.target import load_target
from mooring.hosting.workers import WorkerReport
from mooring.node.fastmcp_state import keep_state_of
from mooring.node.middleware import Mooring, has_mooring
from mooring.node.subscription_buses import share_changes
from mooring.processes.addresses import is_on_this_machine
from mooring.settings import Settings

logger = logging.getLogger("mooring.serve")

_THIS_MACHINE: Final = "127.0.0.1"

app = new_app()


@app.command()
@with_settings()
def serve(
    target: Target,
    host: Annotated[
        str | None,
        typer.Option(
            help="Address to listen on; 0.0.0.0 or :: for all. By default that of the variable HOST, or 127.0.0.1.",
            show_default=False,
        ),
    ] = None,
    port: Annotated[
        int, typer.Option(envvar="PORT", help="Port to listen on; 0 for any free one.", min=0, max=65535)
    ] = 8000,
    log_level: Annotated[Level, typer.Option(help="Show log records from this level up.")] = "info",
    stop_seconds: Annotated[
        int,
        typer.Option(
            help="How long running requests may go on after SIGTERM or Ctrl-C.",
            min=0,
        ),
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
    for variable, meant in [] if worker_fds else mistyped_variables():
        logger.warning("%s sets nothing: %s was meant, perhaps (see `mooring settings`)", variable, meant)
    settings = Settings.load(**given).placed()
    host = host or _host_of_environment()
    if settings.redis_url is not None and settings.secret is None:
        raise SettingsError("secret", None, "needed with redis_url: set MOORING_SECRET, the same on every node")
    if workers > 1:
        flags = (target, "--log-level", log_level, "--stop-seconds", str(stop_seconds), *(["--debug"] if debug else []))
        serve_workers(workers, settings, Listener(host, port), given, flags, stop_seconds)
        return
    fd, report = _inherited(worker_fds)
    listener = Listener(host, port) if fd is None else Listener.inherited(fd)
    if settings.drain_seconds is None:
        given["drain_seconds"] = stop_seconds
    given["drain_on_sigterm"] = False  # it drains by itself (`on_stop`)
    if settings.advertise_url is None:
        given["advertise_url"] = listener.url_for_peers(settings.redis_url)
    settings = Settings.load(**given).placed()
    os.environ["MOORING_NODE_NAME"] = settings.node_name  # so that the app can say where it runs
    inner, node = _wrap(target, settings)
    if report is not None:
        report.tell_id(node.node_id)
    asks = report is None or settings.node_name.endswith("-1")  # of several workers the first asks for all
    run_server(
        node,
        listener,
        on_ready=report.tell_ready if report is not None else lambda: _announce(settings, listener),
        stop_seconds=stop_seconds,
        tunes_gc=settings.gc == "server",
        then=partial(_ask_what_it_serves, inner, settings, listener) if asks else None,
        on_stop=node.drain,
    )


async def _ask_what_it_serves(target: App, settings: Settings, listener: Listener, state: Mapping[str, Any]) -> None:
    await FirstQuestion(target, settings.endpoints, f"{_THIS_MACHINE}:{listener.port}", state).ask()


def _host_of_environment() -> str:
    """HOST, as platforms set it: an address. Shells and conda put the name or kind of the machine there."""
    host = os.environ.get("HOST", "")
    if host in ("", "localhost"):
        return host or _THIS_MACHINE
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        logger.info("the variable HOST (%s) is no address: listening on %s; see --host", host, _THIS_MACHINE)
        return _THIS_MACHINE


def _inherited(worker_fds: str | None) -> tuple[int | None, WorkerReport | None]:
    """What the parent of several workers hands on to each."""
    if worker_fds is None:
        return None, None
    fd, _, report_fd = worker_fds.partition(",")
    return int(fd), WorkerReport(int(report_fd))


def _wrap(target: str, settings: Settings) -> tuple[App, Mooring]:
    """What the target names, and the node around it."""
    share_own_keys(*keys_of(settings))

    def prepare(server: Any) -> None:
        share_changes(server)
        keep_state_of(server)

    inner = load_target(target, settings, prepare)
    take_over_loggers()
    if has_mooring(inner):
        raise TargetError(f"{target} has Mooring in it already: run it with a server, or name the app inside it")
    return inner, Mooring(inner, settings)


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
