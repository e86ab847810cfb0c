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
    sessions_found = asyncio.run(_locate_all(find_cluster(run_dir, given)))
    if as_json:
        print_json({"sessions": [located.as_json(whole_ids) for located in sessions_found]})
    elif not sessions_found:
        console().print("no sessions")
    else:
        _print(sessions_found, limit, whole_ids)


async def _locate_all(cluster: ChosenCluster) -> list[LocatedSession]:
    async with opened_registry(cluster) as registry:
        return join(await registry.sessions(), await registry.nodes())


def _print(sessions_found: list[LocatedSession], limit: int, whole_ids: bool) -> None:
    out = console()
    rows = table("session", "node", "client", "age", "seen", right="age seen", cut="client")
    for located in sessions_found[:limit]:
        rows.add_row(
            Text(located.shown_id(whole_ids)),
            Text(located.node_name, style="" if located.is_alive else "red"),
            Text(located.client, no_wrap=True, overflow="ellipsis"),
            ago(since(located.record.created)),
            ago(since(located.record.last_seen)),
        )
    print_table(out, rows)
    if len(sessions_found) > limit:
        out.print(f"and {len(sessions_found) - limit} more: --limit shows them, --json has all")
