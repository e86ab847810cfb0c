"""Arguments that carry handles, marked in `tools/list` answers so that clients mirror them into headers.

An argument is marked with a header's name where it has the same one (`Session-Id`: `session_id`, `sessionId`), where it
is declared as text, and where the tool marks no other argument so: clients have to drop a tool whose marks are not
valid (specification 2026-07-28, Custom Headers from Tool Parameters).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from mooring.core import exact_json
from mooring.core.exact_json import Members, all_of, is_text
from mooring.core.tool_lists import tools_in

MARK: Final = "x-mcp-header"

_NOT_OF_A_NAME: Final = re.compile("[^a-z0-9]")


class Marking:
    """
    Args:
        names: of the headers `Mcp-Param-NAME`.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = {plain(name): name for name in names}

    def message(self, text: str) -> str | None:
        """A message with its tools marked; None where it stays as it is."""
        try:
            message = exact_json.read(text)
            marked = [
                self._mark(properties, _marks_in(schema))
                for tool in tools_in(message)
                for schema in tool.all("inputSchema")
                for properties in all_of(schema, "properties")
                if isinstance(properties, Members)
            ]
            return exact_json.write(message) if any(marked) else None
        except (ValueError, RecursionError):
            return None

    def _mark(self, properties: Members, taken: set[str]) -> bool:
        marked = False
        for argument, schema in properties:
            name = self._names.get(plain(argument))
            if name is None or name.lower() in taken or all_of(schema, MARK):
                continue
            if isinstance(schema, Members) and schema.all("type") == ["string"]:
                schema.append((MARK, name))
                taken.add(name.lower())
                marked = True
        return marked


def _marks_in(schema: Any) -> set[str]:
    """The names that are taken, however deep: arguments inside of others have marks as well."""
    taken: set[str] = set()
    left = [schema]
    while left:
        value = left.pop()
        if isinstance(value, Members):
            taken |= {mark.lower() for mark in value.all(MARK) if is_text(mark)}
            left += [member for _, member in value]
        elif isinstance(value, list):
            left += value
    return taken


def plain(name: str) -> str:
    """What an argument's name and a header's have in common."""
    return _NOT_OF_A_NAME.sub("", name.lower())
