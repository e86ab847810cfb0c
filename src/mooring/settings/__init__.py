"""All settings of a node, each with its default and its meaning.

A setting comes from, in this order: an argument or a flag, the environment (`MOORING_` and its name in capitals),
the file `mooring.toml` (or the one that `MOORING_SETTINGS_FILE` names), the default. A secret may be in a file of its
own, named in the environment: `MOORING_SECRET_FILE`.
"""

from __future__ import annotations

from mooring.settings.platforms import default_node_name
from mooring.settings.settings import ENV_PREFIX, SECRET_FILES, Settings
from mooring.settings.settings_file import SETTINGS_FILE_VARIABLE, settings_file

__all__ = ["ENV_PREFIX", "SECRET_FILES", "SETTINGS_FILE_VARIABLE", "Settings", "default_node_name", "settings_file"]
