"""What is wrong with a setting, in the operator's words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from mooring.core.masking import masked_setting
from mooring.errors import SettingsError

_SECRETS: Final = frozenset({"secret", "status_token"})


def explained(error: ValidationError, fields: Mapping[str, FieldInfo]) -> SettingsError:
    """The first of pydantic's complaints, in the operator's words."""
    first = error.errors(include_url=False)[0]
    said = first["msg"].removeprefix("Value error, ")
    name = str(first["loc"][0]) if first["loc"] else said.partition(":")[0]
    if not first["loc"]:
        said = said.partition(": ")[2]
        value = first["input"].get(name, fields[name].default) if isinstance(first["input"], dict) else None
    else:
        value = first["input"]
    if name not in fields:
        said = "there is no such setting; `mooring settings` lists them all"
    if name == "redis_url":
        value = masked_setting(str(value))
    elif name in _SECRETS or name not in fields:
        value = "(hidden)"
    return SettingsError(name, value, said)
