"""Which tools an answer lists, of whatever shape it is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mooring.core import exact_json
from mooring.core.tool_lists import tools_in

LIST = {"jsonrpc": "2.0", "id": 1, "result": {"tools": [{"name": "a"}, {"name": "b"}]}}


@pytest.mark.parametrize(
    ("message", "names"),
    [
        (LIST, ["a", "b"]),
        ([LIST, {"result": {"tools": [{"name": "c"}]}}], ["a", "b", "c"]),
        ([[LIST], 1, None], []),
        ({"result": {"tools": [1, None, "a", ["b"], {"name": "c"}]}}, ["c"]),
        ({"result": {"tools": {"name": "a"}}}, []),
        ({"result": [LIST]}, []),
        ({"error": {"code": 1}}, []),
        ("text", []),
    ],
)
def test_the_tools_of_an_answer(message: Any, names: list[str]) -> None:
    found = tools_in(exact_json.read(json.dumps(message)))
    assert [name for tool in found for name in tool.all("name")] == names


def test_members_of_the_same_name_all_count() -> None:
    text = '{"result":{"tools":[{"name":"a"}],"tools":[{"name":"b"}]},"result":{"tools":[{"name":"c"}]}}'
    assert [tool.all("name") for tool in tools_in(exact_json.read(text))] == [["a"], ["b"], ["c"]]
