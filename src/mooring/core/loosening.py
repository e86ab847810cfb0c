"""What `tools/list` says of ids that are wrapped: a handle is a longer text than the id, and no UUID.

Clients hold a tool's result against its schema, and drop one that does not fit; models keep to what the schema of an
argument says. So what limits the text of such an id is taken out of both. The server itself, which gets its own id,
goes by its own schemas.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from mooring.core import exact_json
from mooring.core.exact_json import Members, is_text
from mooring.core.wrapping import ANY, WrapRule, places_of

_LIMITS: Final = frozenset({"format", "pattern", "minLength", "maxLength"})
_EITHER: Final = ("anyOf", "oneOf", "allOf")
_INSIDE: Final = "#/"


class Loosening:
    """
    Args:
        rules: which ids are wrapped.
    """

    def __init__(self, rules: Iterable[WrapRule]) -> None:
        self._rules = tuple(rules)
        self._arguments = sorted({argument for rule in self._rules for argument in rule.use})

    def message(self, text: str) -> str | None:
        """A message with its tools' schemas loosened; None where it stays as it is."""
        try:
            message = exact_json.read(text)
            loosened = [self._loosen(tool) for tool in _tools(message)]
            return exact_json.write(message) if any(loosened) else None
        except (ValueError, RecursionError):
            return None

    def _loosen(self, tool: Members) -> bool:
        paths = [[argument] for argument in self._arguments]
        found = [_without_limits(at) for schema in tool.all("inputSchema") for at in _at(schema, paths)]
        minted = [place for rule in self._rules if rule.mint in tool.all("name") for place in places_of(rule.field)]
        found += [_without_limits(at) for schema in tool.all("outputSchema") for at in _at(schema, minted)]
        return any(found)


def _tools(message: Any) -> Iterator[Members]:
    for result in _all(message, "result"):
        for tools in _all(result, "tools"):
            yield from (tool for tool in tools if isinstance(tool, Members)) if type(tools) is list else ()


def _at(root: Any, paths: Iterable[list[str]]) -> list[Members]:
    """The schemas of what stands at these paths."""
    found: list[Members] = []
    for path in paths:
        here = _alternatives(root, [root])
        for name in path:
            here = _alternatives(root, [inner for schema in here for inner in _members(schema, name)])
        found += here
    return found


def _members(schema: Members, name: str) -> list[Any]:
    if name == ANY:
        return schema.all("items")
    declared = [one for properties in schema.all("properties") for one in _all(properties, name)]
    return declared or schema.all("additionalProperties")


def _alternatives(root: Any, schemas: list[Any]) -> list[Members]:
    """These schemas, and those that they name in their place."""
    found: list[Members] = []
    left = list(schemas)
    while left:
        schema = left.pop()
        if not isinstance(schema, Members) or any(schema is one for one in found):
            continue
        found.append(schema)
        left += [one for name in _EITHER for several in schema.all(name) if type(several) is list for one in several]
        left += [named for reference in schema.all("$ref") if is_text(reference) for named in _named(root, reference)]
    return found


def _named(root: Any, reference: str) -> list[Any]:
    """What a reference inside of a schema leads to (RFC 6901, without escapes: names of classes have none)."""
    found = [root] if reference.startswith(_INSIDE) else []
    for name in reference.removeprefix(_INSIDE).split("/"):
        found = [member for one in found for member in _all(one, name)]
    return found


def _without_limits(schema: Members) -> bool:
    kept = [(name, value) for name, value in schema if name not in _LIMITS]
    is_changed = len(kept) < len(schema)
    schema[:] = kept
    return is_changed


def _all(value: Any, name: str) -> list[Any]:
    return value.all(name) if isinstance(value, Members) else []
