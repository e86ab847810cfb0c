"""What `tools/list` says of ids that are wrapped: a handle is a longer text than the id, and no UUID.

Clients hold a tool's result against its schema, and drop one that does not fit; models keep to what the schema of an
argument says. So what limits the text of such an id is taken out of both: of arguments that take one, and of all texts
in the result of a tool that mints or takes one, since it is wrapped wherever it appears there. Of alternatives that
only such limits told apart, several may fit then. The server itself, which gets its own id, goes by its own schemas.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from mooring.core import exact_json
from mooring.core.exact_json import Members, all_of, is_text
from mooring.core.tool_lists import tools_in
from mooring.core.wrap_rules import WrapRule

_LIMITS: Final = frozenset({"format", "pattern", "minLength", "maxLength"})
_ONE: Final = "oneOf"
_ANY: Final = "anyOf"
_TOLD_APART: Final = "discriminator"
"""By a member's value, which says which alternative it is (OpenAPI); some readers want `oneOf` beside it."""
_EITHER: Final = (_ANY, _ONE, "allOf")
_INNER: Final = frozenset(
    {"additionalItems", "additionalProperties", "contains", "else", "items", "propertyNames", "then"}
    | {"unevaluatedItems", "unevaluatedProperties"}
)
_SEVERAL: Final = frozenset({*_EITHER, "items", "prefixItems"})
_NAMED: Final = frozenset({"$defs", "definitions", "dependentSchemas", "patternProperties", "properties"})
"""Where schemas are in a schema (JSON Schema 2020-12, and as it was before): one, a list, one for each name."""
_INSIDE: Final = "#/"


class Loosening:
    """
    Args:
        rules: which ids are wrapped.
    """

    def __init__(self, rules: Iterable[WrapRule]) -> None:
        self._rules = tuple(rules)
        self._mint = frozenset(rule.mint for rule in self._rules)
        self._arguments = sorted({argument for rule in self._rules for argument in rule.use})

    def message(self, text: str) -> str | None:
        """A message with its tools' schemas loosened; None where it stays as it is."""
        try:
            message = exact_json.read(text)
            loosened = [self._loosen(tool) for tool in tools_in(message)]
            return exact_json.write(message) if any(loosened) else None
        except (ValueError, RecursionError):
            return None

    def _loosen(self, tool: Members) -> bool:
        taken = [one for schema in tool.all("inputSchema") for one in _all_taken(schema, self._arguments)]
        mints = any(name in self._mint for name in tool.all("name") if is_text(name))
        told = [one for schema in tool.all("outputSchema") for one in _all_in(schema)] if taken or mints else []
        return any([_without_limits(taken), _without_limits(told)])


def _arguments(root: Any, names: Iterable[str]) -> list[Members]:
    """The schemas of these arguments."""
    here = _alternatives(root, [root])
    return [
        one for name in names for one in _alternatives(root, [inner for at in here for inner in _members(at, name)])
    ]


def _all_taken(root: Any, names: Iterable[str]) -> list[Members]:
    """These, and all that are in them: an argument may be a list of ids, or an object that has one."""
    return _reached(_arguments(root, names), lambda schema: _inner(schema) + _referred(root, schema))


def _reached(schemas: Iterable[Any], further: Callable[[Members], list[Any]]) -> list[Members]:
    """These, and all that they lead to, each once: a schema may lead to itself."""
    found: dict[int, Members] = {}
    left = list(schemas)
    while left:
        schema = left.pop()
        if isinstance(schema, Members) and id(schema) not in found:
            found[id(schema)] = schema
            left += further(schema)
    return list(found.values())


def _members(schema: Members, name: str) -> list[Any]:
    declared = [one for properties in schema.all("properties") for one in all_of(properties, name)]
    return declared or schema.all("additionalProperties")


def _alternatives(root: Any, schemas: list[Any]) -> list[Members]:
    """These schemas, and those that they name in their place."""

    def further(schema: Members) -> list[Any]:
        either = [several for name in _EITHER for several in schema.all(name) if type(several) is list]
        return [one for several in either for one in several] + _referred(root, schema)

    return _reached(schemas, further)


def _referred(root: Any, schema: Members) -> list[Any]:
    """Those that it names in its place."""
    return [named for reference in schema.all("$ref") if is_text(reference) for named in _named(root, reference)]


def _named(root: Any, reference: str) -> list[Any]:
    """What a reference inside of a schema leads to (RFC 6901, without escapes: names of classes have none)."""
    found = [root] if reference.startswith(_INSIDE) else []
    for name in reference.removeprefix(_INSIDE).split("/"):
        found = [member for one in found for member in all_of(one, name)]
    return found


def _all_in(root: Any) -> list[Members]:
    """A schema, and all that are in it, but for those that say what is not so, or what has to be so for another."""
    return _reached([root], _inner)


def _inner(schema: Members) -> list[Any]:
    """Those that stand in it."""
    found: list[Any] = []
    for name, value in schema:
        if name in _INNER:
            found.append(value)
        if name in _SEVERAL and type(value) is list:
            found += value
        elif name in _NAMED and isinstance(value, Members):
            found += [inner for _, inner in value]
    return found


def _without_limits(schemas: list[Members]) -> bool:
    is_changed = False
    for schema in filter(_may_be_text, schemas):
        kept = [(name, value) for name, value in schema if name not in _LIMITS]
        is_changed = is_changed or len(kept) < len(schema)
        schema[:] = kept
    for schema in schemas if is_changed else ():
        if not schema.all(_ANY) and not schema.all(_TOLD_APART):
            schema[:] = [(_ANY if name == _ONE else name, value) for name, value in schema]
    return is_changed


def _may_be_text(schema: Members) -> bool:
    types = schema.all("type")
    return not types or any(one == "string" or (type(one) is list and "string" in one) for one in types)
