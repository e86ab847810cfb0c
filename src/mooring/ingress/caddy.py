"""Caddy's configuration, as a Caddyfile. What it is made of, and why, is said in the templates."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from mooring.ingress.proxy import (
    IDLE_SECONDS,
    Choice,
    Files,
    cookie_of,
    fill,
    first_then_others,
    need_plain_nodes,
)
from mooring.ingress.topology import COOKIE, SESSION_HEADER, Backend, Topology

NAME: Final = "caddy"
PROGRAM: Final = "Caddy 2.7 or later"
FILE: Final = "Caddyfile"
RELOAD: Final = "caddy reload --config {file} --adapter caddyfile"

_MARK: Final = "{mooring_mark}"


def whole(topology: Topology, choice: Choice, file: Path) -> Files:
    """One file with a site of its own, over plain http."""
    bind = f"bind {choice.host}" if choice.host else "# on every address"
    return {file: fill("Caddyfile", port=choice.port, bind=bind, snippets=_snippets(topology, choice))}


def part(topology: Topology, choice: Choice, file: Path) -> Files:
    """Snippets: import the file, and then `mooring` into your site."""
    return {file: _snippets(topology, choice)}


def _snippets(topology: Topology, choice: Choice) -> str:
    need_plain_nodes(topology, "Caddy")
    return fill(
        "Caddyfile-part",
        idle_seconds=IDLE_SECONDS,
        health_path=topology.health_path,
        ready_path=topology.ready_path,
        path=topology.path_pattern,
        # In quotes, as Caddy takes a bare word of digits for a number, and drops the zeros that it begins with.
        marks="\n".join(f'\t\t{backend.address} "{backend.mark}"' for backend in topology.ready),
        set_cookie=cookie_of(topology, choice, _MARK),
        holders="".join(_held(holder, topology) for holder in topology.holders),
        placed="".join(_placed(backend, topology) for backend in topology.ready),
        ready=_addresses(topology.ready),
        all=_addresses(topology.backends),
    )


def _held(holder: Backend, topology: Topology) -> str:
    """The requests whose session id names one of its shards."""
    return _route(f"mooring-{holder.name}", f"header_regexp {SESSION_HEADER} {holder.session_ids}", holder, topology)


def _placed(backend: Backend, topology: Topology) -> str:
    """The requests with its cookie, of those that name no session that is held.

    No node's own matcher is called so: what follows `mooring` there is a hyphen, whatever the node is called.
    """
    pattern = f"(^|;\\s*){COOKIE}={backend.mark}(;|$)"
    return _route(f"mooring_cookie-{backend.name}", f"header_regexp Cookie {pattern}", backend, topology)


def _route(name: str, matcher: str, backend: Backend, topology: Topology) -> str:
    nodes = _addresses(first_then_others(backend, topology))
    return (
        f"\t\t\t@{name} {matcher}\n"
        f"\t\t\thandle @{name} {{\n"
        f"\t\t\t\treverse_proxy {nodes} {{\n"
        "\t\t\t\t\tlb_policy first\n"
        "\t\t\t\t\timport mooring-nodes\n"
        "\t\t\t\t}\n"
        "\t\t\t}\n"
    )


def _addresses(backends: tuple[Backend, ...]) -> str:
    return " ".join(backend.address for backend in backends)
