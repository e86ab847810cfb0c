"""`mooring session ID`: one session, and where it lives.

The id may be cut short, as it is in logs and in the list of sessions.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import typer
from rich.text import Text

from mooring.cli.chosen_cluster import REGISTRY_SETTINGS, ChosenCluster, find_cluster, opened_registry
from mooring.cli.durations import ago
from mooring.cli.flags import Debug, Json, RunDir, WholeIds, new_app, with_settings
from mooring.cli.located_sessions import LocatedSession, join, moment, since
from mooring.cli.output import console, print_json
from mooring.core.ids import brief, has_session_form, is_brief, with_brief_ids
from mooring.core.text import plain
from mooring.errors import MooringError

app = new_app()


@app.command()
@with_settings(only=REGISTRY_SETTINGS)
def session(
    session_id: Annotated[
        str, typer.Argument(metavar="ID", help="The Mcp-Session-Id, or its first ten characters.", show_default=False)
    ],
    as_json: Json = False,
    whole_ids: WholeIds = False,
    run_dir: RunDir = None,
    debug: Debug = False,
    **given: Any,
) -> None:
    """Show where one session lives, since when, which client opened it, and when it was last seen.

    The record is renewed at most once every touch_seconds, so the session may have been seen later than it says.
    """
    if not has_session_form(session_id) and not is_brief(session_id):
        raise typer.BadParameter(
            f"{with_brief_ids(plain(session_id))!r} is not a session id: 5, 22 and 11 letters and digits, "
            "joined by dots, or the first ten characters of one",
            param_hint="ID",
        )
    located = asyncio.run(_locate(find_cluster(run_dir, given), session_id))
    if not located:
        raise MooringError(
            f"no session {brief(session_id)} on record: it was closed, it expired, or another cluster has it"
        )
    if len(located) > 1:
        raise MooringError(f"{len(located)} sessions begin with {brief(session_id)}: give the whole id")
    if as_json:
        print_json(located[0].as_json(whole_ids))
    else:
        _print(located[0], whole_ids)


async def _locate(cluster: ChosenCluster, session_id: str) -> list[LocatedSession]:
    """The session of this id, or all whose ids begin like this one."""
    async with opened_registry(cluster) as registry:
        if has_session_form(session_id):
            record = await registry.session(session_id)
            found = [] if record is None else [record]
        else:
            found = await registry.sessions(session_id.removesuffix("..."))
        located = join(found, await registry.nodes()) if found else []
        for one in located if cluster.settings.secret is not None else ():
            one.running.extend(await registry.running_calls(one.record.id))
        return located


def _print(located: LocatedSession, whole_ids: bool) -> None:
    out = console()
    record, node = located.record, located.node
    facts = {
        "session": located.shown_id(whole_ids),
        "node": f"{node.info.name} ({record.node_id}), {node.state}" if node else f"{record.node_id}, forgotten",
        "url": node.info.url if node else "",
        "client": located.client,
        "protocol": record.protocol,
        "principal": located.principal,
        "created": f"{moment(record.created)}, {ago(since(record.created))} ago",
        "last seen": f"{moment(record.last_seen)}, {ago(since(record.last_seen))} ago",
        "revived": f"{record.incarnation} times" if record.incarnation else "",
        "lived on": ", ".join(f"{node_id} from {moment(began)}" for node_id, began in record.homes[:-1]),
        "running": ", ".join(located.running),
    }
    for name, fact in facts.items():
        if fact:
            out.print(Text(f"{name:<10} {plain(fact, 200)}"))
    if not located.is_alive:
        out.print(Text("its node is no longer there: its next request opens it again on another one", style="yellow"))
