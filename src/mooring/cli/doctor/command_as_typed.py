"""The command as it was typed, for whoever wants to run it again."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping

import typer


def command_as_typed(context: typer.Context, *arguments: str, shown: Mapping[str, Callable[[str], str]]) -> str:
    """The command with these arguments and with the options that were typed.

    Args:
        shown: parameters that are not repeated as they are, and what to show for their values.
    """
    words = [*context.command_path.split(), *arguments]
    for parameter in context.command.params:
        name = str(parameter.name)
        source = context.get_parameter_source(name)
        if parameter.param_type_name != "option" or source is None or source.name != "COMMANDLINE":
            continue
        given = context.params.get(name)
        for value in given if isinstance(given, list | tuple) else [given]:
            words.append(parameter.opts[0])
            if not isinstance(value, bool):
                show = shown.get(name, str)
                words.append(show(f"{value:g}" if isinstance(value, float) else str(value)))
    return shlex.join(words)
