"""The settings as a list: what each one is called everywhere, what it takes, and where its value comes from.

Flags, `mooring settings` and the generated `docs/settings.md` are made from this, and this from `Settings`.
"""

from __future__ import annotations

import difflib
import os
import re
import types
import typing
from dataclasses import dataclass
from typing import Any, Final

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from mooring.core.masking import masked
from mooring.settings import ENV_PREFIX, SECRET_FILES, Settings, settings_file
from mooring.settings.platforms import address_variable, name_variable
from mooring.settings.settings_file import DEFAULT_SETTINGS_FILE, SETTINGS_FILE_VARIABLE

HIDDEN: Final = "(hidden)"
NOT_SET: Final = "(not set)"
_PLATFORMS: Final = {"node_name": name_variable, "advertise_url": address_variable}
"""What a platform says of a setting that nobody has set; of `advertise_url` it says the address, to `mooring serve`."""

_OF_KUBERNETES: Final = re.compile(r"_SERVICE_HOST$|_(SERVICE_)?PORT(_\w+)?$")

_BOUNDS: Final = (("ge", "at least"), ("gt", "more than"), ("le", "at most"), ("lt", "less than"))


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting.

    Attributes:
        takes: what a right value is, in a few words.
        default: as text; `NOT_SET` where there is none.
        flag: None for a secret, since `ps` shows flags to every user of the machine.
    """

    name: str
    meaning: str
    takes: str
    default: str
    flag: str | None

    @property
    def environment(self) -> str:
        return f"{ENV_PREFIX}{self.name.upper()}"


def all_settings() -> list[Setting]:
    """Every setting, in the order in which `Settings` names them."""
    return [_setting(name, field) for name, field in Settings.model_fields.items()]


def origin_of(setting: Setting) -> tuple[str, str]:
    """Where the value in force comes from, and by which name it is there.

    Returns:
        `environment`, `secret file`, `file`, `platform` or `default`; a variable's or a file's name, or none.
    """
    if setting.environment in {name.upper() for name in os.environ}:
        return "environment", setting.environment
    if setting.name in SECRET_FILES and f"{setting.environment}_FILE" in os.environ:
        return "secret file", os.environ[f"{setting.environment}_FILE"]
    if setting.name in settings_file():
        return "file", os.environ.get(SETTINGS_FILE_VARIABLE, DEFAULT_SETTINGS_FILE)
    variable = _PLATFORMS[setting.name]() if setting.name in _PLATFORMS else None
    return ("platform", variable) if variable else ("default", "")


def mistyped_variables() -> list[tuple[str, str]]:
    """Variables that set nothing and are like one that does, and that one.

    Others may begin with our prefix as well: Kubernetes tells of each Service by some, and one may be called mooring.
    """
    known = {setting.environment for setting in all_settings()} | {SETTINGS_FILE_VARIABLE}
    known |= {f"{ENV_PREFIX}{name.upper()}_FILE" for name in SECRET_FILES}
    found: list[tuple[str, str]] = []
    for variable in sorted(os.environ):
        if variable.startswith(ENV_PREFIX) and variable not in known and not _OF_KUBERNETES.search(variable):
            meant = variable.removesuffix("_FILE")
            likely = [meant] if meant in known else difflib.get_close_matches(variable, sorted(known), 1, cutoff=0.85)
            found.extend((variable, one) for one in likely)
    return found


def shown(value: Any) -> str:
    """A value for people: secrets and the passwords of URLs hidden."""
    if value is None:
        return NOT_SET
    if isinstance(value, SecretStr):
        return HIDDEN
    return f"{value:.12g}" if isinstance(value, float) else masked(str(value))


def _setting(name: str, field: FieldInfo) -> Setting:
    kinds = _kinds(field.annotation)
    default = "the host's name" if field.default_factory else shown(field.default)
    flag = None if SecretStr in kinds else f"--{name.replace('_', '-')}"
    return Setting(name, field.description or "", _takes(name, field, kinds), default, flag)


def _kinds(annotation: Any) -> set[Any]:
    """The types in an annotation, without None."""
    if typing.get_origin(annotation) is typing.Annotated:
        return _kinds(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in {typing.Union, types.UnionType}:
        return {kind for part in typing.get_args(annotation) for kind in _kinds(part)} - {types.NoneType}
    return {annotation}


def _takes(name: str, field: FieldInfo, kinds: set[Any]) -> str:
    if kinds & {int, float}:
        kind = "seconds" if name.endswith("_seconds") else "number"
    elif bool in kinds:
        kind = "true or false"
    elif typing.get_origin(field.annotation) is typing.Literal:
        kind = " or ".join(typing.get_args(field.annotation))
    else:
        kind = {"url": "URL", "path": "path"}.get(name.rpartition("_")[2], "text")
    bounds = [
        f"{words} {getattr(limit, bound)}"
        for limit in field.metadata
        for bound, words in _BOUNDS
        if hasattr(limit, bound)
    ]
    return ", ".join([kind, *bounds])
