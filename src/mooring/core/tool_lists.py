"""The tools in an answer to `tools/list`, to be changed where they are (specification 2025-11-25, Server / Tools)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mooring.core.exact_json import Members, all_of


def tools_in(message: Any) -> Iterator[Members]:
    """Those of a message, or of the answers to a batch."""
    if not isinstance(message, Members) and type(message) is list:
        for one in message:
            yield from tools_in(one) if isinstance(one, Members) else ()
    for result in all_of(message, "result"):
        for tools in all_of(result, "tools"):
            yield from (tool for tool in tools if isinstance(tool, Members)) if type(tools) is list else ()
