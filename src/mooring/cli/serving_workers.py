"""The parent's side of `mooring serve --workers N`: what the workers are told, and what is shown of them."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import typer

from mooring.errors import SettingsError
from mooring.hosting.listener import Listener
from mooring.hosting.workers import STOP_MARGIN_SECONDS, Workers
from mooring.processes.child import Command
from mooring.settings import ENV_PREFIX, Settings
from mooring.settings.platforms import name_variable
from mooring.store import Store, open_store

_LONGEST_NAME = 63


def serve_workers(
    count: int,
    settings: Settings,
    listener: Listener,
    given: Mapping[str, Any],
    serve: tuple[str, ...],
    stop_seconds: int,
) -> None:
    """Run until SIGTERM or Ctrl-C.

    Args:
        given: the settings that came as flags; the workers get them as variables, as all others.
        serve: what they are started with, from TARGET on, but for what they inherit.

    Raises:
        MooringError: they cannot be started.
    """
    if settings.redis_url is None:
        raise SettingsError(
            "redis_url", None, "needed with --workers: several processes share their sessions through it"
        )
    names = [_name(settings.node_name, number) for number in range(1, count + 1)]
    told = {f"{ENV_PREFIX}{name.upper()}": str(value) for name, value in given.items() if value is not None}
    told |= {
        f"{ENV_PREFIX}ADVERTISE_URL": settings.advertise_url or listener.url_for_peers(settings.redis_url),
        f"{ENV_PREFIX}PEER_PORTS": settings.peer_ports or "any",
        "PYTHONUNBUFFERED": "1",
    }
    fd = listener.socket.fileno()

    def commands(report_fd: int) -> list[Command]:
        arguments = (sys.executable, "-m", "mooring", "serve", *serve, "--worker-fds", f"{fd},{report_fd}")
        return [
            Command(
                name,
                arguments,
                told | {f"{ENV_PREFIX}NODE_NAME": name},
                stop_seconds=settings.most_stop_seconds(stop_seconds) + STOP_MARGIN_SECONDS,
                inherits=(fd, report_fd),
                # A flag counts before a file; a variable and a file at once are refused.
                without=frozenset(f"{variable}_FILE" for variable in told),
            )
            for name in names
        ]

    url = f"{told[f'{ENV_PREFIX}ADVERTISE_URL']}{settings.main_endpoint}"
    store = open_store(settings.redis_url, settings.key_prefix, settings.redis_timeout_seconds, settings.secrets)
    asyncio.run(_run(commands, store, listener, f"nodes {names[0]} to {names[-1]} serve {url}"))


async def _run(
    commands: Callable[[int], Sequence[Command]], store: Store, listener: Listener, announcement: str
) -> None:
    workers = Workers(commands, store, _show)
    try:
        await workers.run(on_ready=lambda: typer.echo(announcement), on_stop=listener.socket.close)
    finally:
        await store.aclose()


def _show(name: str, line: str) -> None:
    with suppress(BrokenPipeError):  # nobody reads it any longer; that is no reason to stop serving
        typer.echo(f"{name} | {line}", err=True)


def _name(name: str, number: int) -> str:
    """What tells replicas apart stays: the end of a platform's name, and of any other the beginning."""
    suffix = f"-{number}"
    length = _LONGEST_NAME - len(suffix)
    return (name[-length:] if name_variable() else name[:length]).strip("-") + suffix
