"""Logging, which only the command line configures.

On a terminal: short coloured records. Elsewhere, as in a container: one line for each record, with time (UTC), level,
logger and message; the control characters in a message are escaped, so that foreign text cannot forge a line. Either
way no session id is whole.
"""

from __future__ import annotations

import logging
import sys
import time
from typing import Final, Literal

from mooring.log_filter import ShortSessionIds

Level = Literal["debug", "info", "warning", "error"]

_CHATTY: Final = ("asyncio", "httpcore", "httpx", "mcp", "sse_starlette", "uvicorn")
"""Loggers that write records for each request or for their own start, which are of no use to an operator."""

_BRING_HANDLERS: Final = ("fastmcp",)
"""Loggers that get handlers of their own when their package is imported."""


class OneLine(logging.Formatter):
    """`2026-11-21T04:05:06.789Z INFO mooring.lease: message`; a traceback, where there is one, follows."""

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the standard library's name
        return "".join(
            character if character.isprintable() else character.encode("unicode_escape").decode()
            for character in super().formatMessage(record)
        )


def configure_logging(level: Level = "info", *, debug: bool = False) -> None:
    """Send all records to standard error, from `level` up; `debug` shows those of the chatty loggers too."""
    root = logging.getLogger()
    handler = _terminal_handler() if sys.stderr.isatty() else _plain_handler()
    handler.addFilter(ShortSessionIds())
    root.handlers[:] = [handler]
    root.setLevel(logging.DEBUG if debug else level.upper())
    for name in () if debug else _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)


def take_over_loggers() -> None:
    """Call once the server is imported, so that its records go the same way as all others."""
    for name in _BRING_HANDLERS:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True


def _plain_handler() -> logging.Handler:
    handler = logging.StreamHandler()
    handler.setFormatter(OneLine())
    return handler


def _terminal_handler() -> logging.Handler:
    from rich.console import Console
    from rich.logging import RichHandler

    handler = RichHandler(console=Console(stderr=True), show_path=False, log_time_format="[%X]")
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    return handler
