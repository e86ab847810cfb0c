"""What limits ids in schemas is gone where they are wrapped, and nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mooring.core.loosening import Loosening
from mooring.core.wrap_rules import WrapRule

UUID = {"type": "string", "format": "uuid"}
TEXT = {"type": "string"}


def listed(given: Any, taken: Any, name: str = "make", definitions: Any = None) -> str:
    schema = {"type": "object", "properties": taken, "$defs": definitions or {}}
    tool = {"name": name, "outputSchema": given, "inputSchema": schema}
    return json.dumps({"jsonrpc": "2.0", "id": 1, "result": {"tools": [tool]}})


def loosened(field: str, text: str) -> Any:
    changed = Loosening([WrapRule("make", field, ("session",))]).message(text)
    return None if changed is None else json.loads(changed)["result"]["tools"][0]


@pytest.mark.parametrize(
    ("field", "schema", "expected"),
    [
        ("id", {"properties": {"id": UUID, "of": UUID}}, {"properties": {"id": TEXT, "of": TEXT}}),
        (
            "id",
            {"properties": {"id": UUID, "format": UUID, "n": {"type": "integer", "format": "int32"}}},
            {"properties": {"id": TEXT, "format": TEXT, "n": {"type": "integer", "format": "int32"}}},
        ),
        (
            "id",
            {"properties": {"id": {"oneOf": [UUID, {**TEXT, "maxLength": 9}]}}, "not": {"required": ["x"]}},
            {"properties": {"id": {"anyOf": [TEXT, TEXT]}}, "not": {"required": ["x"]}},
        ),
        ("id", {"additionalProperties": UUID}, {"additionalProperties": TEXT}),
        ("id", {"propertyNames": {"format": "uuid"}}, {"propertyNames": {}}),
        ("", {"properties": {"result": {**TEXT, "pattern": "^s"}}}, {"properties": {"result": TEXT}}),
        (
            "all.*.id",
            {
                "properties": {"all": {"type": "array", "items": {"$ref": "#/$defs/One"}}},
                "$defs": {"One": {"properties": {"id": {"anyOf": [{**TEXT, "maxLength": 3}, {"type": "null"}]}}}},
            },
            {
                "properties": {"all": {"type": "array", "items": {"$ref": "#/$defs/One"}}},
                "$defs": {"One": {"properties": {"id": {"anyOf": [TEXT, {"type": "null"}]}}}},
            },
        ),
    ],
    ids=["field", "names like limits", "one of", "any name", "by id", "alone", "list"],
)
def test_a_result_that_brings_ids_may_bring_handles(field: str, schema: Any, expected: Any) -> None:
    assert loosened(field, listed(schema, {}))["outputSchema"] == expected
    assert loosened(field, listed(schema, {}, "other")) is None


def test_what_a_tool_says_that_takes_ids_may_name_handles() -> None:
    tool = loosened("id", listed({"properties": {"of": UUID}}, {"session": TEXT}, "other"))
    assert tool["outputSchema"] == {"properties": {"of": TEXT}}


def test_an_argument_that_is_one_of_several_takes_handles() -> None:
    tool = loosened("id", listed({}, {"session": {"oneOf": [UUID, {**TEXT, "pattern": "^s"}]}}))
    assert tool["inputSchema"]["properties"] == {"session": {"anyOf": [TEXT, TEXT]}}


def test_alternatives_that_are_told_apart_by_a_member_stay_what_they_are() -> None:
    kinds = {"oneOf": [{"properties": {"id": UUID}}], "discriminator": {"propertyName": "kind"}}
    tool = loosened("id", listed({"properties": {"of": kinds}}, {}))
    assert tool["outputSchema"]["properties"]["of"] == {**kinds, "oneOf": [{"properties": {"id": TEXT}}]}


@pytest.mark.parametrize("name", ["make", "other"])
def test_an_argument_that_takes_ids_takes_handles(name: str) -> None:
    tool = loosened("id", listed({}, {"session": UUID, "page": {**TEXT, "maxLength": 9}}, name))
    assert tool["inputSchema"]["properties"] == {"session": TEXT, "page": {**TEXT, "maxLength": 9}}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "array", "items": UUID}, {"type": "array", "items": TEXT}),
        ({"anyOf": [{"items": {"$ref": "#/$defs/Id"}}, {"type": "null"}]}, None),
        ({"properties": {"id": UUID}}, {"properties": {"id": TEXT}}),
        ({"propertyNames": {"pattern": "^s"}}, {"propertyNames": {}}),
        ({"$ref": "#/$defs/Tree"}, None),
    ],
    ids=["list", "list of a class", "object", "names", "class in itself"],
)
def test_an_argument_of_several_ids_takes_handles(schema: Any, expected: Any) -> None:
    tree = {"properties": {"of": {"$ref": "#/$defs/Id"}, "in": {"items": {"$ref": "#/$defs/Tree"}}}}
    definitions = {"Id": UUID, "Tree": tree, "Other": UUID}
    told = loosened("id", listed({}, {"session": schema}, definitions=definitions))["inputSchema"]
    assert told["properties"]["session"] == (expected or schema)
    assert told["$defs"] == {"Id": UUID if expected else TEXT, "Tree": tree, "Other": UUID}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"result": {"tools": {}}}',
        '{"result": {"tools": null}}',
        '{"result": {"tools": [1, {"name": "make", "outputSchema": 2}]}}',
        listed({"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/A"}}}, {"session": TEXT}),
        "[" * 100_000,
    ],
)
def test_what_has_no_limits_stays_as_it_is(text: str) -> None:
    assert Loosening([WrapRule("make", "id", ("session",))]).message(text) is None
