"""`mooring status`: the nodes of a cluster, and what each one has done."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Annotated, Any, Final

import typer
from rich.text import Text

from mooring.cli.chosen_cluster import REGISTRY_SETTINGS, ChosenCluster, find_cluster, opened_registry
from mooring.cli.durations import ago
from mooring.cli.flags import Debug, Json, RunDir, new_app, with_settings
from mooring.cli.output import console, print_json, print_table, table
from mooring.core.model import NodeState
from mooring.core.text import plain
from mooring.store.registry import OVER, NodeStatus, node_as_json

app = new_app()

LONG_AGO_SECONDS: Final = 600
_LINES: Final = 20
"""Of a kind, below the table: of more nodes there is a count."""
_STYLES: Final[dict[str, str]] = {NodeState.READY: "green", NodeState.STARTING: "cyan", NodeState.GONE: "dim"}


@app.command()
@with_settings(only=REGISTRY_SETTINGS)
def status(
    as_json: Json = False,
    show_all: Annotated[
        bool, typer.Option("--all", help="Show nodes that ended long ago too; JSON always has them.")
    ] = False,
    run_dir: RunDir = None,
    debug: Debug = False,
    **given: Any,
) -> None:
    """Show the nodes of a cluster.

    served: requests answered by the node's own app. in: those of them that a peer passed on. out: requests that it
    passed on to their owners. A node is dead if it did not renew its lease in time. JSON has each node's shards too.
    """
    cluster = find_cluster(run_dir, given)
    nodes = asyncio.run(_nodes(cluster))
    if as_json:
        print_json(status_as_json(cluster, nodes))
    else:
        shown = nodes if show_all else [node for node in nodes if not _ended_long_ago(node)]
        _print(cluster, shown, len(nodes) - len(shown))


async def _nodes(cluster: ChosenCluster) -> list[NodeStatus]:
    async with opened_registry(cluster) as registry:
        return await registry.nodes()


def status_as_json(cluster: ChosenCluster, nodes: list[NodeStatus]) -> dict[str, Any]:
    """What `--json` prints of them."""
    return {"ingress": cluster.ingress, "nodes": [_as_json(node) for node in nodes]}


def _as_json(node: NodeStatus) -> dict[str, Any]:
    said = node_as_json(node.info, node.state, node.shards)
    return {**said, "lease_age_seconds": round(node.lease_age_seconds, 3)}


def _print(cluster: ChosenCluster, nodes: list[NodeStatus], hidden: int) -> None:
    out = console()
    if not nodes:
        out.print(f"no nodes, but for {hidden} that ended long ago: --all shows them" if hidden else "no nodes")
        return
    numbers = "pid sessions served in out"
    rows = table("node", "pid", "url", "state", "sessions", "served", "in", "out", right=numbers, cut="url")
    for node in nodes:
        info, did = node.info, node.counters
        texts = (Text(plain(info.name)), str(info.pid), Text(plain(info.url)), _state(node))
        rows.add_row(*texts, *map(str, (info.sessions, did.served, did.forwarded_in, did.forwarded_out)))
    print_table(out, rows)
    for lines in (_refused(nodes), _adopted(nodes), _kept(nodes), _links(nodes)):
        for line in lines[:_LINES]:
            out.print(Text(plain(line, 1_000)))
        if len(lines) > _LINES:
            out.print(f"and {len(lines) - _LINES} more nodes like these: --json has all")
    for line in _versions(nodes):
        out.print(Text(plain(line, 300)))
    if len(nodes) > _LINES:
        states = Counter(node.state for node in nodes)
        counted = ", ".join(f"{count} {state}" for state, count in states.most_common())
        out.print(f"{len(nodes)} nodes: {counted}; {sum(node.info.sessions for node in nodes)} sessions")
    if cluster.ingress:
        out.print(Text(f"ingress: {plain(cluster.ingress)}"))


def _refused(nodes: list[NodeStatus]) -> list[str]:
    """What each has refused; those first that refused most."""
    refusing = [node for node in nodes if node.counters.refused]
    return [
        f"refused by {node.info.name}: "
        + ", ".join(f"{count} {reason}" for reason, count in sorted(node.counters.refused.items()))
        for node in sorted(refusing, key=lambda node: -sum(node.counters.refused.values()))
    ]


def _adopted(nodes: list[NodeStatus]) -> list[str]:
    did = [(node.info.name, node.counters) for node in nodes if node.counters.adopted or node.counters.revived]
    return [f"{name} adopted {done.adopted} shards and revived {done.revived} sessions" for name, done in did]


def _kept(nodes: list[NodeStatus]) -> list[str]:
    did = [(node.info.name, node.counters) for node in nodes if node.counters.streams_kept and not _is_over(node)]
    return [f"{name} keeps {done.streams_kept} streams, {done.streams_open} of them open" for name, done in did]


def _versions(nodes: list[NodeStatus]) -> list[str]:
    """Who has which, where that differs, as in the middle of a deploy."""
    named: dict[str, list[str]] = {}
    for node in nodes:
        if not _is_over(node):
            named.setdefault(node.info.version, []).append(node.info.name)
    return [f"version {one}: {', '.join(names)}" for one, names in sorted(named.items())] if len(named) > 1 else []


def _links(nodes: list[NodeStatus]) -> list[str]:
    """What goes through Redis from node to node."""
    alive = {node.info.id: node.info for node in nodes if not _is_over(node)}
    names = [info.name for info in alive.values() if info.peer_link == "redis"]
    lines = [f"reached by peers through Redis (peer_link): {', '.join(names)}"] if names else []
    for info in alive.values():
        apart = [alive[peer].name for peer in info.relayed_to if peer in alive]
        if apart:
            lines.append(f"{info.name} reaches through Redis, not at their addresses (peer_link): {', '.join(apart)}")
    return lines


def _is_over(node: NodeStatus) -> bool:
    return node.state in OVER


def _ended_long_ago(node: NodeStatus) -> bool:
    return _is_over(node) and node.lease_age_seconds > LONG_AGO_SECONDS


def _state(node: NodeStatus) -> Text:
    """The state; for a node that is no longer there, also since when."""
    text = f"{node.state} {ago(node.lease_age_seconds)}" if _is_over(node) else node.state
    return Text(text, style=_STYLES.get(node.state, "red"))
