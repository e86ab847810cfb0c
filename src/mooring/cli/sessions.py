"""`mooring sessions`: every session that is on record."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import typer
from rich.text import Text

from mooring.cli.chosen_cluster import REGISTRY_SETTINGS, ChosenCluster, find_cluster, opened_registry
from mooring.cli.durations import ago
from mooring.cli.flags import Debug, Json, RunDir, WholeIds, new_app, with_settings
from mooring.cli.located_sessions import LocatedSession, join, since
from mooring.cli.output import console, print_json, print_table, table

app = new_app()


@app.command()
@with_settings(only=REGISTRY_SETTINGS)
def sessions(
    as_json: Json = False,
    whole_ids: WholeIds = False,
    limit: Annotated[int, typer.Option(min=1, help="Show at most this many rows; JSON has them all.")] = 50,
    run_dir: RunDir = None,
    debug: Debug = False,
    **given: Any,
) -> None:
    """List the sessions of a cluster, oldest first: where each one lives, its client, its age, when last seen."""
    sessions_found, total = asyncio.run(_locate(find_cluster(run_dir, given), None if as_json else limit))
    if as_json:
        print_json({"sessions": [located.as_json(whole_ids) for located in sessions_found]})
    elif not sessions_found:
        console().print("no sessions")
    else:
        _print(sessions_found, total, whole_ids)


async def _locate(cluster: ChosenCluster, most: int | None) -> tuple[list[LocatedSession], int]:
    """The oldest, or all, and how many there are."""
    async with opened_registry(cluster) as registry:
        if most is None:
            records = await registry.sessions()
            total = len(records)
        else:
            records, total = await registry.oldest_sessions(most)
        return join(records, await registry.nodes()), total


def _print(sessions_found: list[LocatedSession], total: int, whole_ids: bool) -> None:
    out = console()
    rows = table("session", "node", "client", "age", "seen", right="age seen", cut="client")
    for located in sessions_found:
        rows.add_row(
            Text(located.shown_id(whole_ids)),
            Text(located.node_name, style="" if located.is_alive else "red"),
            Text(located.client, no_wrap=True, overflow="ellipsis"),
            ago(since(located.record.created)),
            ago(since(located.record.last_seen)),
        )
    print_table(out, rows)
    if total > len(sessions_found):
        out.print(f"and {total - len(sessions_found)} more: --limit shows them, --json has all")
