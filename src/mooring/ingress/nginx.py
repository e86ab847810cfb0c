"""nginx's configuration. What it is made of, and why, is said in the templates.

nginx knows no health checks that ask (without a licence), and no state: so a node that ends, or takes no new sessions,
is found out by the first connection that fails, or leaves the configuration with the next reload. The sticky cookie
names a node that is drawn by lot before the request is sent, since nginx cannot say afterwards which one answered by
any name but its address.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from mooring.ingress.proxy import (
    IDLE_SECONDS,
    SILENT_MINUTES,
    Choice,
    Files,
    beside,
    cookie_of,
    fill,
    first_then_others,
    need_plain_nodes,
)
from mooring.ingress.topology import COOKIE, Backend, Topology

NAME: Final = "nginx"
PROGRAM: Final = "nginx 1.22 or later"
FILE: Final = "nginx.conf"
RELOAD: Final = "nginx -c {file} -s reload"

_DOLLAR: Final = 'geo $mooring_dollar {\n  default "$";\n}\n'
"""nginx has no other way to write a dollar sign where variables may stand."""


def whole(topology: Topology, choice: Choice, file: Path) -> Files:
    """One file with a server of its own."""
    listen = f"{_bracketed(choice.host) if choice.host else '*'}:{choice.port}"
    listen += " ipv6only=off" if choice.is_of_both_kinds else ""
    http, server = (_indented(text, by) for text, by in ((_http(topology, choice), 2), (_server(topology), 4)))
    return {file: fill("nginx.conf", listen=listen, http=http, server=server)}


def part(topology: Topology, choice: Choice, file: Path) -> Files:
    """One file to be included in `http`, and one in a `server`."""
    return {file: _http(topology, choice), beside(file, "server"): _server(topology)}


def _http(topology: Topology, choice: Choice) -> str:
    need_plain_nodes(topology, "nginx")
    head = _DOLLAR if "$" in topology.cookie_path else ""
    return head + fill(
        "nginx-http.conf",
        cookie=COOKIE,
        owners=_lines(f'{shard} "{holder.name}";' for holder in topology.holders for shard in holder.shards),
        marks=_lines(f'{backend.mark} "{backend.name}";' for backend in topology.ready),
        shares=_lines(_shares(topology.ready)),
        set_cookie=_set_cookie(topology, choice),
        upstreams="\n".join(_upstream(backend, topology) for backend in topology.backends),
        all_servers=_lines(f"{_server_line(backend)};" for backend in topology.backends),
        idle_seconds=IDLE_SECONDS,
    )


def _server(topology: Topology) -> str:
    return fill("nginx-server.conf", path=topology.path_pattern, silent_minutes=SILENT_MINUTES)


def _set_cookie(topology: Topology, choice: Choice) -> str:
    before, _, after = cookie_of(topology, choice, "|").partition("|")
    return f"{before}$mooring_mark{after.replace('$', '${mooring_dollar}')}"


def _shares(backends: tuple[Backend, ...]) -> Iterable[str]:
    """Equal shares of all requests, by what stands for a node in the cookie: a name of any length, looked up in a map,
    would not fit. The last one gets what rounding has left, and so it is down: more than all would be an error."""
    *others, last = backends
    for backend in others:
        yield f'{math.floor(10_000 / len(backends)) / 100:.2f}% "{backend.mark}";'
    yield f'* "{last.mark}";'


def _upstream(backend: Backend, topology: Topology) -> str:
    """A node, and the others as its backups: they are tried where a connection fails."""
    first, *others = first_then_others(backend, topology)
    servers = _lines([f"{_server_line(first)};", *(f"{_server_line(other)} backup;" for other in others)])
    return f"upstream mooring-{backend.name} {{\n{servers}\n  keepalive 64;\n  keepalive_timeout {IDLE_SECONDS}s;\n}}"


def _server_line(backend: Backend) -> str:
    return f"server {backend.address} max_fails=1 fail_timeout=1s"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _lines(lines: Iterable[str]) -> str:
    return "\n".join(f"  {line}" for line in lines)


def _indented(text: str, by: int) -> str:
    return "\n".join(f"{' ' * by}{line}".rstrip() for line in text.splitlines())
