"""`mooring sessions`: every session that is on record."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import typer
from rich.text import Text

from mooring.cli.flags import Debug, Json, RunDir, new_app, with_settings
from mooring.cli.lodging import Lodging, join, since
from mooring.cli.output import console, print_json, table
from mooring.cli.reach import REACHING, Reach, find_cluster, opened_registry
from mooring.cli.spans import ago

app = new_app()


@app.command()
@with_settings(only=REACHING)
def sessions(
    as_json: Json = False,
    limit: Annotated[int, typer.Option(min=1, help="The most rows of the table; JSON has all.")] = 50,
    run_dir: RunDir = None,
    debug: Debug = False,
    **given: Any,
) -> None:
    """List the sessions of a cluster, the oldest first: where each one lives, which client, how old, when last seen."""
    lodgings = asyncio.run(_lodgings(find_cluster(run_dir, given)))
    if as_json:
        print_json({"sessions": [lodging.as_json() for lodging in lodgings]})
    elif not lodgings:
        console().print("no sessions")
    else:
        _print(lodgings, limit)


async def _lodgings(reach: Reach) -> list[Lodging]:
    async with opened_registry(reach) as registry:
        return join(await registry.sessions(), await registry.nodes())


def _print(lodgings: list[Lodging], limit: int) -> None:
    out = console()
    rows = table("session", "node", "client", "age", "seen", right="age seen", cut="client")
    for lodging in lodgings[:limit]:
        rows.add_row(
            Text(lodging.record.id),
            Text(lodging.node_name, style="" if lodging.is_alive else "red"),
            Text(lodging.client, no_wrap=True, overflow="ellipsis"),
            ago(since(lodging.record.created)),
            ago(since(lodging.record.last_seen)),
        )
    out.print(rows)
    if len(lodgings) > limit:
        out.print(f"and {len(lodgings) - limit} more: --limit shows them, --json has all")
