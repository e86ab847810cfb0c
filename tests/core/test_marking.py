"""Which arguments are marked, so that no client drops a tool for it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from mcp.shared.inbound import find_invalid_x_mcp_header

from mooring.core.marking import Marking

MARKING = Marking(["Browser", "Session-Id"])


def listed(**properties: Any) -> str:
    schema = {"type": "object", "properties": properties}
    result = {"resultType": "complete", "tools": [{"name": "t", "inputSchema": schema}]}
    return json.dumps({"jsonrpc": "2.0", "id": 1, "result": result})


def marks(text: str | None) -> dict[str, str]:
    assert text is not None
    [tool] = json.loads(text)["result"]["tools"]
    properties = tool["inputSchema"]["properties"]
    return {name: schema["x-mcp-header"] for name, schema in properties.items() if "x-mcp-header" in schema}


@pytest.mark.parametrize(
    ("argument", "header"),
    [("browser", "Browser"), ("session_id", "Session-Id"), ("sessionId", "Session-Id"), ("SESSION-ID", "Session-Id")],
)
def test_an_argument_of_a_headers_name_is_marked_and_all_else_stays(argument: str, header: str) -> None:
    text = listed(**{argument: {"type": "string", "maxLength": 1.50}, "url": {"type": "string"}})
    marked = MARKING.message(text)
    assert marks(marked) == {argument: header}
    assert marked is not None
    assert json.loads(marked.replace(f',"x-mcp-header":"{header}"', "")) == json.loads(text)


@pytest.mark.parametrize(
    "properties",
    [
        {"url": {"type": "string"}},
        {"browser": {"type": "integer"}},
        {"browser": {"type": ["string", "null"]}},
        {"browser": {"anyOf": [{"type": "string"}, {"type": "null"}]}},
        {"browser": True},
        {"browser": {"type": "string", "x-mcp-header": "Other"}},
        {"browser": {"type": "string"}, "b": {"type": "string", "x-mcp-header": "BROWSER"}},
        {"nested": {"type": "object", "properties": {"browser": {"type": "string"}}}},
        {
            "browser": {"type": "string"},
            "deep": {"properties": {"b": {"type": "string", "x-mcp-header": "browser"}}},
        },
    ],
)
def test_what_a_client_could_take_amiss_is_not_marked(properties: dict[str, Any]) -> None:
    assert MARKING.message(listed(**properties)) is None


def test_no_client_drops_a_tool_for_its_marks() -> None:
    nested = {"type": "object", "properties": {"browser": {"type": "string", "x-mcp-header": "Browser"}}}
    marked = MARKING.message(listed(browser={"type": "string"}, session_id={"type": "string"}, options=nested))
    assert marks(marked) == {"session_id": "Session-Id"}
    assert marked is not None
    assert find_invalid_x_mcp_header(json.loads(marked)["result"]["tools"][0]["inputSchema"]) is None


def test_of_two_arguments_of_one_name_the_first_is_marked() -> None:
    text = listed(session_id={"type": "string"}, sessionId={"type": "string"})
    assert marks(MARKING.message(text)) == {"session_id": "Session-Id"}


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "1", '{"result": {"tools": {}}}', '{"result": {"tools": [1, {"inputSchema": 2}]}}', "[" * 100_000],
)
def test_what_lists_no_tools_stays_as_it_is(text: str) -> None:
    assert MARKING.message(text) is None
