"""Session ids and handles in logs: never whole, whoever writes them.

Whoever knows a session id may use the session, unless the app authenticates, and so it is with handles. Our own records
name the beginning only; but the SDK's own name the whole id, which is ours, and so may a library's error with a key, a
header or a tool's arguments in it.
"""

from __future__ import annotations

import logging
from typing import Any, Final

from mooring.core.handles import with_brief_handles
from mooring.core.ids import with_brief_ids

_PLAIN: Final = logging.Formatter()


class ShortSessionIds(logging.Filter):
    """Cuts every session id and handle in a record short: in its message, its arguments, its traceback and its extras.

    Add it to each handler, not to a logger: a logger's filter does not see what the loggers below it pass up. It lets
    every record pass. A traceback that has an id in it is handed on as text (`exc_text`) and no longer as an exception.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        record.args = _shortened_arguments(record.args)
        for name, value in vars(record).items():
            if isinstance(value, str):
                setattr(record, name, _short(value))
        self._shorten_message(record)
        self._shorten_traceback(record)
        return True

    def _shorten_message(self, record: logging.LogRecord) -> None:
        """Whatever is still whole once the message is put together: part of an object's own text, or in two pieces."""
        try:
            message = record.getMessage()
        except Exception:  # arguments that do not fit: the handler says so, and prints them
            message = f"{record.msg} {record.args}"
            record.msg, record.args = _short(message), None
            return
        short = _short(message)
        if short != message:
            record.msg, record.args = short, None

    def _shorten_traceback(self, record: logging.LogRecord) -> None:
        if not record.exc_info:
            return
        traceback = _PLAIN.formatException(record.exc_info)
        short = _short(traceback)
        if short != traceback:
            record.exc_text, record.exc_info = short, None


def _short(text: str) -> str:
    return with_brief_ids(with_brief_handles(text))


def _shortened_arguments(arguments: Any) -> Any:
    """The arguments of a message, of the same kind and number: some formatters look at each."""
    if isinstance(arguments, tuple):
        return tuple(_short(value) if isinstance(value, str) else value for value in arguments)
    if isinstance(arguments, dict):
        return {name: _short(value) if isinstance(value, str) else value for name, value in arguments.items()}
    return arguments
