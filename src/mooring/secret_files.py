"""Secrets that an orchestrator puts into files: Docker's and Kubernetes' secrets, systemd's credentials."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from mooring.errors import SettingsError

_SUFFIX = "_FILE"


def from_secret_files(prefix: str, names: Iterable[str]) -> Mapping[str, str]:
    """What the files hold that `<prefix><NAME>_FILE` name in the environment, without the line's end.

    Raises:
        SettingsError: a file cannot be read or is empty, or the value is in the environment as well. No content is
            in its text.
    """
    found: dict[str, str] = {}
    for name in names:
        variable = f"{prefix}{name.upper()}"
        path = os.environ.get(variable + _SUFFIX)
        if path is None:
            continue
        if variable in os.environ:
            raise SettingsError(name, "(hidden)", f"set once: as {variable}, or in a file as {variable}{_SUFFIX}")
        found[name] = _read(name, path, variable + _SUFFIX)
    return found


def _read(name: str, path: str, variable: str) -> str:
    try:
        text = Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise SettingsError(name, path, f"{variable} has to name a file that can be read ({why})") from None
    if not text:
        raise SettingsError(name, path, f"{variable} names a file that is empty")
    return text
