"""The flags that commands share, and those that are made from the settings.

A flag for a setting is text here: `Settings` alone says what is right, so that a wrong flag, a wrong environment
variable and a wrong line in the file get the same words.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Container
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from mooring.cli.app import DEBUG_KEY
from mooring.cli.catalogue import NOT_SET, Setting, all_settings


def new_app() -> typer.Typer:
    """The Typer app of one command's module; help and usage errors are plain text, which fits 80 columns."""
    return typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


def _remember_debug(context: typer.Context, value: bool) -> bool:
    if value:
        context.meta[DEBUG_KEY] = True
    return value


Debug = Annotated[bool, typer.Option("--debug", callback=_remember_debug, help="Show tracebacks and debug records.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
WholeIds = Annotated[
    bool,
    typer.Option("--whole-ids", help="Show session ids whole: to most apps they are as good as passwords."),
]
RunDir = Annotated[
    Path | None,
    typer.Option(
        "--run-dir", metavar="DIR", help="Use the cluster that `mooring up` runs in DIR.  [default: .mooring]"
    ),
]
Target = Annotated[
    str, typer.Argument(metavar="TARGET", help="module:attribute or path/file.py:attribute.", show_default=False)
]

Command = TypeVar("Command", bound=Callable[..., Any])


def with_settings(*, only: Container[str] | None = None) -> Callable[[Command], Command]:
    """Give a command a flag for each setting that can be one; they arrive in its `**given`, None where not used.

    Args:
        only: the names of the settings that the command needs; all where None.
    """

    def decorate(command: Command) -> Command:
        signature = inspect.signature(command, eval_str=True)
        own = [one for one in signature.parameters.values() if one.kind is not one.VAR_KEYWORD]
        flags = [
            _flag(setting) for setting in all_settings() if setting.flag and (only is None or setting.name in only)
        ]
        command.__signature__ = signature.replace(parameters=[*own, *flags])  # type: ignore[attr-defined]
        return command

    return decorate


def _flag(setting: Setting) -> inspect.Parameter:
    default = "" if setting.default == NOT_SET else f"  [default: {setting.default}]"
    metavar = setting.takes.partition(",")[0].upper()
    option = typer.Option(setting.flag, metavar=metavar, help=setting.meaning + default, show_default=False)
    return inspect.Parameter(
        setting.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[str | None, option]
    )
