"""`mooring doctor URL`: what is wrong with a deployment, and what to change."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.text import Text

from mooring.cli.doctor import plan_options
from mooring.cli.doctor.command_as_typed import command_as_typed
from mooring.cli.doctor.interruption import until_interrupted
from mooring.cli.doctor.progress import Progress
from mooring.cli.doctor.screen import fitted
from mooring.cli.exits import ExitCode
from mooring.cli.flags import Debug, new_app
from mooring.cli.logs import configure_logging
from mooring.cli.output import console, print_json, table
from mooring.core.masking import masked_secrets
from mooring.doctor.catalogue import CHECKS, WATCH
from mooring.doctor.diagnosis import diagnose
from mooring.doctor.junit import junit
from mooring.doctor.markdown import markdown
from mooring.doctor.plan import LEAST_SESSIONS, Plan
from mooring.doctor.report import Report
from mooring.files import replace_file

app = new_app()

_NAMES: Final = tuple(check.name for check in CHECKS)
_MOST: Final = 1_000
_MAY_HOLD_SECRETS: Final[Mapping[str, Callable[[str], str]]] = {
    "header": lambda text: f"{text.partition(':')[0]}: ***",
    "arguments": lambda _: "***",
}
"""The parameters whose values are not repeated, and what is shown for them."""


def _list_checks(value: bool) -> None:
    if value:
        rows = table("check", "asks", cut="asks")
        for check in (*CHECKS, WATCH):
            rows.add_row(Text(check.name), Text(check.asks))
        console().print(rows)
        raise typer.Exit


@app.command()
def doctor(
    context: typer.Context,
    url: Annotated[str, typer.Argument(metavar="URL", help="The MCP endpoint, as clients know it.")],
    sessions: Annotated[
        int, typer.Option(metavar="N", min=LEAST_SESSIONS, max=_MOST, help="The most sessions that are opened.")
    ] = 20,
    calls: Annotated[
        int, typer.Option(metavar="N", min=1, max=_MOST, help="Calls of each session, in each of four ways.")
    ] = 10,
    header: Annotated[
        list[str] | None, typer.Option(metavar="'NAME: VALUE'", help="Sent with every request; repeatable.")
    ] = None,
    token_env: Annotated[
        list[str] | None,
        typer.Option(
            metavar="VAR",
            help="The environment variable with the bearer token; a second one is another principal's.",
        ),
    ] = None,
    tool: Annotated[
        str | None, typer.Option(metavar="NAME", help="Call this tool, where a ping is sent otherwise.")
    ] = None,
    arguments: Annotated[str | None, typer.Option(metavar="JSON", help="The tool's arguments, an object.")] = None,
    then: Annotated[
        str | None, typer.Option(metavar="NAME", help="The tool that takes the handle which --tool hands out.")
    ] = None,
    other_path: Annotated[
        str | None, typer.Option(metavar="/PATH", help="Beside MCP on that host: is it still balanced?")
    ] = None,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", min=0.1, help="How long a request may take.")] = 10,
    idle: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="How long a silent stream is held; 0 for not at all.")
    ] = 35,
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Send nothing but what opens and closes sessions, lists and pings.")
    ] = False,
    only: Annotated[
        list[str] | None, typer.Option(metavar="CHECK", help="These checks alone; repeatable, or with commas.")
    ] = None,
    skip: Annotated[list[str] | None, typer.Option(metavar="CHECK", help="All checks but these.")] = None,
    status: Annotated[
        str | None, typer.Option(metavar="URL", help="The status page of a Mooring node, to ask it as well.")
    ] = None,
    status_token_env: Annotated[
        str | None,
        typer.Option(
            metavar="VAR", help=f"The environment variable with its token.  [default: {plan_options.STATUS_TOKEN}]"
        ),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="In under 10 s: all but how long silence is borne, and less of each.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Watch sessions while you stop or redeploy a node; Ctrl-C ends it.")
    ] = False,
    watch_seconds: Annotated[
        float | None, typer.Option(metavar="SECONDS", min=1, help="End the watch after this time.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of a table.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Markdown for a ticket instead of a table.")] = False,
    junit_file: Annotated[
        Path | None, typer.Option("--junit", metavar="FILE", help="Write JUnit's XML as well, for CI.")
    ] = None,
    list_checks: Annotated[
        bool, typer.Option("--list-checks", callback=_list_checks, is_eager=True, help="List the checks, and end.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Find out what is wrong with an MCP deployment, and what to change.

    It is a client, and sees what clients see, whatever serves there. It opens sessions, sends lists, pings and
    a few requests that a server has to refuse, and closes every session again. No tool is called unless --tool names
    one.

    Exit codes: 0 healthy, 1 warnings, 2 broken, 3 cannot be examined.
    """
    plan_options.check_together(
        {
            "--json": (as_json, {"--markdown": as_markdown}),
            "--tool": (tool is not None, {"--read-only": read_only}),
            "--watch": (watch or watch_seconds is not None, {"--only": bool(only), "--skip": bool(skip)}),
            "--quick": (quick, {"--watch": watch or watch_seconds is not None, "--idle": _is_typed(context, "idle")}),
        },
    )
    plan = Plan(
        url=plan_options.url_of(url, "URL"),
        sessions=sessions,
        calls=calls,
        headers=plan_options.headers_of(header or (), has_token=bool(token_env)),
        tokens=plan_options.tokens_of(token_env or ()),
        tool=None if tool is None else plan_options.tool_of(tool),
        arguments={} if arguments is None else plan_options.arguments_of(arguments, tool),
        then_tool=None if then is None else plan_options.then_of(then, tool),
        other_path=None if other_path is None else plan_options.path_of(other_path),
        timeout_seconds=plan_options.seconds_of(timeout, "--timeout"),
        idle_seconds=plan_options.seconds_of(idle, "--idle"),
        read_only=read_only,
        only=plan_options.names_of(only or (), _NAMES, "--only"),
        skip=plan_options.names_of(skip or (), _NAMES, "--skip"),
        status_url=None if status is None else plan_options.url_of(status, "--status"),
        status_token=plan_options.status_token_of(status, status_token_env),
        watch_seconds=watch_seconds or (math.inf if watch else None),
    )
    if quick:
        plan = plan_options.quicker(plan)
    configure_logging("warning", debug=debug)
    report = _examine(plan)
    with _reader_may_leave():
        if as_json:
            print_json(report.as_json())
        elif as_markdown:
            typed = command_as_typed(context, report.url, shown=_MAY_HOLD_SECRETS)
            typer.echo(
                markdown(report, version=version("mooring"), command=masked_secrets(typed, plan.secrets)), nl=False
            )
        else:
            _print(report)
    if junit_file is not None:
        _write(junit_file, junit(report))
    raise typer.Exit(int(report.outlook))


def _is_typed(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _write(path: Path, text: str) -> None:
    try:
        replace_file(path, text)
    except OSError as error:
        typer.echo(f"mooring: {path} cannot be written: {error.strerror or error}", err=True)
        raise typer.Exit(ExitCode.INTERNAL) from None


def _examine(plan: Plan) -> Report:
    """The report; where it was interrupted, the end of the process, with a line on what was opened."""
    progress = Progress()

    def say(what: str) -> None:
        with contextlib.suppress(OSError):  # nobody is there to read it, where the terminal went away
            progress.clear()
            typer.echo(f"mooring: interrupted: {what}", err=True)

    async def run() -> Report:
        work = diagnose(plan, progress, begun=progress.begun)
        return await until_interrupted(work, last_words=lambda: say("sessions may have been left open"))

    try:
        with progress:
            return asyncio.run(run())
    except asyncio.CancelledError:
        opened, closed = progress.sessions
        say(f"{closed} of {opened} sessions that were opened are closed" if opened else "no session was opened")
        raise typer.Exit(ExitCode.INTERRUPTED) from None


def _print(report: Report) -> None:
    out = console()
    height = out.height if sys.stdout.isatty() else None
    out.print(Text("\n").join(fitted(report, out.width, height)), soft_wrap=True)


@contextlib.contextmanager
def _reader_may_leave() -> Iterator[None]:
    """`mooring doctor URL | head`: the exit code is the deployment's, whoever reads."""
    try:
        yield
    except (BrokenPipeError, SystemExit):  # rich makes the latter of the former
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
