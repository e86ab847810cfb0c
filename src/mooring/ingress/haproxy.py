"""HAProxy's configuration. What it is made of, and why, is said in the templates."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from mooring.ingress.proxy import SILENT_MINUTES, Choice, Files, fill, need_plain_nodes
from mooring.ingress.topology import COOKIE, SESSION_HEADER, Backend, Topology

NAME: Final = "haproxy"
PROGRAM: Final = "HAProxy 2.6 or later"
FILE: Final = "haproxy.cfg"
RELOAD: Final = "unix:{file}.sock reload"
"""To the master, by the socket that `-S` gives it. A signal is ignored while an earlier reload is under way."""

_SHARDS_IN_A_LINE: Final = 40
"""HAProxy reads 64 words in a line."""

_FORWARDED: Final = (
    "http-request set-header X-Forwarded-For %[src]",
    "http-request set-header X-Forwarded-Proto http unless { ssl_fc }",
    "http-request set-header X-Forwarded-Proto https if { ssl_fc }",
)
"""What a client says of itself there is not believed."""


def whole(topology: Topology, choice: Choice, file: Path) -> Files:
    """One file with a frontend of its own."""
    bind = f"{choice.host or '*'}:{choice.port}{' v4v6' if choice.is_of_both_kinds else ''}"
    text = fill(
        "haproxy.cfg",
        bind=bind,
        rules=_rules(topology, "  "),
        silent_minutes=SILENT_MINUTES,
        backends=_backends(topology, choice),
    )
    return {file: text}


def part(topology: Topology, choice: Choice, file: Path) -> Files:
    """The backends, to be read beside your own file; what your frontend needs is a comment in them."""
    head = fill("haproxy-part.cfg", rules=_rules(topology, "#   "))
    return {file: head + _backends(topology, choice)}


def _rules(topology: Topology, indent: str) -> str:
    text = fill("haproxy-frontend.cfg", path=topology.path_pattern, header=SESSION_HEADER.lower())
    return "".join(f"{indent}{line}\n" for line in text.splitlines())


def _backends(topology: Topology, choice: Choice) -> str:
    need_plain_nodes(topology, "HAProxy")
    return fill(
        "haproxy-backends.cfg",
        silent_minutes=SILENT_MINUTES,
        health_path=topology.health_path.replace("'", r"\'"),
        ready_path=topology.ready_path.replace("'", r"\'"),
        header=SESSION_HEADER.lower(),
        cookie=COOKIE,
        secure="secure " if choice.secure_cookie else "",
        cookie_path=topology.cookie_path.replace("$", r"\$"),  # between double quotes a variable would be read
        forwarded=_lines(_FORWARDED),
        uses=_lines(use for holder in topology.holders for use in _uses(holder)),
        holding=_lines(f"server {backend.name} {backend.address}" for backend in topology.backends),
        ready=_lines(f"server {one.name} {one.address} cookie {one.mark}" for one in topology.ready),
        all=_lines(f"server {one.name} {one.address} track mooring_sessions/{one.name}" for one in topology.backends),
    )


def _uses(holder: Backend) -> Iterator[str]:
    for start in range(0, len(holder.shards), _SHARDS_IN_A_LINE):
        shards = holder.shards[start : start + _SHARDS_IN_A_LINE]
        yield f"use-server {holder.name} if {{ var(txn.mooring_shard) -m str {' '.join(shards)} }}"


def _lines(lines: Iterable[str]) -> str:
    return "\n".join(f"  {line}" for line in lines)
