"""Where the tasks of a FastMCP server are (`fastmcp[tasks]`, extension SEP-2663).

    its docket is          so its tasks are                 and their ids
    ---------------------  -------------------------------  ----------------------------------------------------------
    in Redis               every node's                     are left alone
    in memory (default)    in the process that began them   are wrapped, so that requests for them come back: as with
                                                            `tasks = "node"`, unless the operator says otherwise

FastMCP is never imported: it takes whatever has these names, and `tests/node/test_fastmcp_tasks.py` holds FastMCP to
them.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

from mooring.app_routes import apps_in
from mooring.settings import Settings

logger = logging.getLogger("mooring.handles")

_EXTENSION: Final = "io.modelcontextprotocol/tasks"
_IN_MEMORY: Final = "memory:"


def with_tasks_of(app: Any, settings: Settings) -> Settings:
    """What the settings say of tasks, or what is right for this app where they say nothing.

    Args:
        app: as FastMCP's `http_app()` makes it, or one that is around it, or mounts it.
    """
    if settings.redis_url is None:  # there is no other node to ask
        return settings
    if not any(map(_are_in_memory, apps_in(app))):
        return settings
    if "tasks" not in settings.model_fields_set:
        logger.info('the tasks of this server are in the memory of the process that began them: tasks = "node"')
        return settings.model_copy(update={"tasks": "node"})
    if settings.tasks == "shared":
        logger.warning(
            "the tasks of this server are in the memory of the process that began them, and other nodes will not find "
            'them: set tasks = "node", or give FastMCP a docket in Redis (FASTMCP_DOCKET_URL)'
        )
    return settings


def _are_in_memory(app: Any) -> bool:
    server = getattr(getattr(app, "state", None), "fastmcp_server", None)
    extensions = getattr(server, "_extensions", None)
    extension = extensions.get(_EXTENSION) if isinstance(extensions, Mapping) else None
    url = getattr(getattr(extension, "docket_settings", None), "url", "")
    return str(url).startswith(_IN_MEMORY)
