"""The file `mooring.toml`, or the one that `MOORING_SETTINGS_FILE` names."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from mooring.errors import SettingsError

SETTINGS_FILE_VARIABLE: Final = "MOORING_SETTINGS_FILE"
DEFAULT_SETTINGS_FILE: Final = "mooring.toml"


def settings_file() -> Mapping[str, Any]:
    """What the settings file says; nothing where there is none.

    Raises:
        SettingsError: it cannot be read, or the one that the environment names is missing.
    """
    path = Path(os.environ.get(SETTINGS_FILE_VARIABLE, DEFAULT_SETTINGS_FILE))
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if SETTINGS_FILE_VARIABLE in os.environ:
            raise SettingsError(
                "settings_file", str(path), f"{SETTINGS_FILE_VARIABLE} names a file that does not exist"
            ) from None
        return {}
    except (OSError, ValueError) as error:
        raise SettingsError("settings_file", str(path), f"it cannot be read as TOML: {error}") from error
