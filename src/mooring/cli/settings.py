"""`mooring settings`: every setting, its value now and where the value comes from; and the reference in the docs."""

from __future__ import annotations

import json
import textwrap
from typing import Annotated, Any, Final

import typer

from mooring.cli.catalogue import NOT_SET, Setting, all_settings, mistyped_variables, origin_of, shown
from mooring.cli.flags import Debug, Json, new_app
from mooring.settings import Settings

app = new_app()

REFERENCE_HEAD: Final = """\
# Settings

<!-- Written by `mooring settings --markdown`; a test checks that it is current. -->

A setting comes from the first of these that has it:

1. a flag of the command: `--lease-seconds 10`,
2. the environment, as `MOORING_` and its name in capitals: `MOORING_LEASE_SECONDS=10`,
3. the file `mooring.toml` in the working directory, or the one named by `MOORING_SETTINGS_FILE`: `lease_seconds = 10`,
4. for the name and the address of a node: [what its platform says](platforms.md#names-and-addresses),
5. its default.

From Python they are the arguments of `mooring.Settings.load`. `mooring settings` shows the values in force and where
each one comes from. A wrong one ends the command with exit code 2; the error names the setting, its value and what
would be right.

`secret` and `status_token` have no flag, since `ps` shows flags to every user of the machine. They and `redis_url` can
be in files of their own, as orchestrators put them there: `MOORING_SECRET_FILE=/run/secrets/mooring`.

| setting | takes | default | meaning |
|---|---|---|---|
"""


@app.command()
def settings(
    as_json: Json = False,
    as_markdown: Annotated[
        bool, typer.Option("--markdown", help="Print the reference: defaults, no values in force.")
    ] = False,
    debug: Debug = False,
) -> None:
    """List every setting: its value in force, where the value comes from, its default, and what it means.

    Secrets and the passwords of URLs are hidden.
    """
    if as_markdown:
        typer.echo(reference(), nl=False)
        return
    in_force = Settings.load()
    for variable, meant in mistyped_variables():
        typer.echo(f"{variable} sets nothing: {meant} was meant, perhaps", err=True)
    if as_json:
        rows = [_as_json(setting, in_force) for setting in all_settings()]
        typer.echo(json.dumps({"settings": rows}, indent=2, ensure_ascii=False))
        return
    typer.echo("\n".join(_as_text(setting, in_force) for setting in all_settings()))


def reference() -> str:
    """`docs/settings.md`."""
    rows = [f"| `{one.name}` | {one.takes} | {_default_cell(one)} | {one.meaning} |\n" for one in all_settings()]
    return REFERENCE_HEAD + "".join(rows)


def _default_cell(setting: Setting) -> str:
    is_value = setting.default != NOT_SET and not setting.default.startswith("the ")
    return f"`{setting.default}`" if is_value else setting.default.strip("()")


def _as_json(setting: Setting, in_force: Settings) -> dict[str, Any]:
    value = getattr(in_force, setting.name)
    source, name = origin_of(setting)
    return {
        "name": setting.name,
        "value": value if isinstance(value, int | float) or value is None else shown(value),
        "source": source,
        "source_name": name or None,
        "default": None if setting.default == NOT_SET else setting.default,
        "takes": setting.takes,
        "environment": setting.environment,
        "flag": setting.flag,
        "meaning": setting.meaning,
    }


def _as_text(setting: Setting, in_force: Settings) -> str:
    value, (source, named) = shown(getattr(in_force, setting.name)), origin_of(setting)
    origin = "default" if source == "default" else f"from {source} {named}; default {setting.default}"
    about = f"{setting.meaning} Takes: {setting.takes}. {setting.environment}"
    name = typer.style(setting.name, bold=True)
    return f"{name} = {value}  [{origin}]\n" + textwrap.indent(textwrap.fill(about, 74), "    ") + "\n"
