"""`mooring` itself: its commands, and the border at which errors become one line and an exit code."""

from __future__ import annotations

import importlib
import traceback
from typing import Annotated, Any, Final, NoReturn

import typer
from typer.core import TyperGroup

from mooring.cli.exits import ExitCode, exit_code
from mooring.core.handles import with_brief_handles
from mooring.core.ids import with_brief_ids
from mooring.core.masking import masked
from mooring.core.text import plain
from mooring.errors import MooringError
from mooring.hosting.collector import rarely_collecting

COMMANDS: Final = {
    "up": "Run a whole cluster on this machine: Redis, nodes, Traefik.",
    "serve": "Run one node in the foreground.",
    "status": "Show the nodes of a cluster.",
    "sessions": "List the sessions of a cluster.",
    "session": "Show where one session lives.",
    "drain": "Have a node give its sessions to the others.",
    "roll": "Replace the nodes of `mooring up`, one after another.",
    "rebalance": "Have fuller nodes give idle sessions to emptier ones.",
    "doctor": "Find out what is wrong with an MCP deployment.",
    "ingress": "Print the configuration for your own load balancer.",
    "settings": "List every setting, its value and its meaning.",
}
"""Each command's name, which is its module's too, and what it does."""

DEBUG_KEY: Final = "mooring.debug"
LONGEST_LINE: Final = 2_000


class Commands(TyperGroup):
    """Imports a command's module when that command is run: `--help` and `--version` need none of them."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, _, rest = super().resolve_command(ctx, args)
        with rarely_collecting():
            module = importlib.import_module(f"mooring.cli.{name}")
        return name, typer.main.get_command(module.app), rest

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except MooringError as error:
            _end(ctx, str(error), exit_code(error), error)
        except KeyboardInterrupt:
            raise typer.Exit(ExitCode.INTERRUPTED) from None
        except Exception as error:
            if isinstance(error, BrokenPipeError) or type(error).__module__.startswith(("typer", "click")):
                raise
            line = f"internal error: {type(error).__name__}: {error} (--debug shows where)"
            _end(ctx, line, ExitCode.INTERNAL, error)


def _end(context: typer.Context, line: str, code: ExitCode, error: Exception) -> NoReturn:
    if context.meta.get(DEBUG_KEY):
        traceback.print_exception(error)
    shown = plain(with_brief_ids(with_brief_handles(masked(line))), LONGEST_LINE)
    typer.secho(f"mooring: {shown}", err=True, fg=typer.colors.RED)
    raise typer.Exit(code)


def _show_version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        typer.echo(f"mooring {version('mooring')}")
        raise typer.Exit


def _stand_in() -> None:
    """What a list of commands shows; `Commands.resolve_command` puts the real one in its place."""


app = typer.Typer(
    cls=Commands,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _name, _help in COMMANDS.items():
    app.command(_name, help=_help)(_stand_in)


@app.callback(no_args_is_help=True)
def mooring(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks and debug records.")] = False,
) -> None:
    """Keeps every MCP request on the node that holds its state."""
    context.meta[DEBUG_KEY] = debug


def main() -> None:
    """The entry point of `mooring`."""
    app(prog_name="mooring")
