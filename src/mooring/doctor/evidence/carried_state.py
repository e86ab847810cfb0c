"""State of the modern era that travels with requests: does every node know what another one handed out?

requestState   a tool that asks its user answers with it, and the next call brings it back (2026-07-28, SEP-2322)
a handle       a tool hands out a name, and another tool takes it as an argument
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from mooring.core import jsonrpc
from mooring.doctor.client import protocol
from mooring.doctor.client.reply import Outcome, Reply
from mooring.doctor.examination import Examination

_TIMES: Final = 6
"""Over a connection each: of two nodes in turn or at random, both are met."""
_ASKED: Final = {"elicitation": {}, "sampling": {}, "roots": {"listChanged": False}}


@dataclass(frozen=True, slots=True)
class Carried:
    """
    Attributes:
        first: what the operator's tool answered.
        states: the answers to calls that brought a `requestState` back.
        handle: the argument that the second tool takes, where a handle was handed out.
        uses: the answers of the second tool.
    """

    first: Reply
    states: tuple[Reply, ...] = ()
    handle: str = ""
    uses: tuple[Reply, ...] = ()
    second: str = field(default="")


async def carry_state(exam: Examination) -> Carried:
    """Call the operator's tool, and bring back what it hands out, over new connections."""
    first = await _call(exam, exam.plan.tool_params)
    if _is_question(first):
        return Carried(first, (await _answer(exam, first), *[await _ask_and_answer(exam) for _ in range(_TIMES)]))
    if exam.plan.then_tool is None:
        return Carried(first)
    name, value = await _handle_in(exam, first)
    if not name:
        return Carried(first, second=exam.plan.then_tool)
    params = {"name": exam.plan.then_tool, "arguments": {name: value}}
    return Carried(first, (), name, tuple([await _call(exam, params) for _ in range(_TIMES)]), exam.plan.then_tool)


async def _call(exam: Examination, params: Mapping[str, Any]) -> Reply:
    headers, message = protocol.modern(exam.next_id(), "tools/call", params, version=exam.eras.modern[0])
    meta = {**message["params"]["_meta"], protocol.CAPABILITIES: _ASKED}
    message = {**message, "params": {**message["params"], "_meta": meta}}
    return await exam.wire.send("POST", message=message, headers=headers)


def result_of(reply: Reply) -> Mapping[str, Any]:
    result = (reply.message or {}).get("result")
    return result if isinstance(result, dict) else {}


def _is_question(reply: Reply) -> bool:
    result = result_of(reply)
    return result.get("resultType") == "input_required" and isinstance(result.get("requestState"), str)


async def _ask_and_answer(exam: Examination) -> Reply:
    asked = await _call(exam, exam.plan.tool_params)
    return await _answer(exam, asked) if _is_question(asked) else asked


async def _answer(exam: Examination, asked: Reply) -> Reply:
    """The same call with the state that came, and the user declining every question."""
    result = result_of(asked)
    questions = result.get("inputRequests")
    declined = {key: {"action": "decline"} for key in questions} if isinstance(questions, dict) else {}
    params = {**exam.plan.tool_params, "requestState": result["requestState"], "inputResponses": declined}
    return await _call(exam, params)


async def _handle_in(exam: Examination, reply: Reply) -> tuple[str, str]:
    """The argument of the second tool that what was answered fits, and the value; empty where none does."""
    listed = result_of(await exam.modern("tools/list")).get("tools")
    schemas = [one.get("inputSchema") for one in listed if one.get("name") == exam.plan.then_tool] if listed else []
    schema = schemas[0] if schemas and isinstance(schemas[0], dict) else {}
    properties = schema.get("properties")
    texts = (
        [name for name, one in properties.items() if jsonrpc.text_in({"p": one}, "p", "type") == "string"]
        if (isinstance(properties, dict))
        else []
    )
    result = result_of(reply)
    structured = result.get("structuredContent")
    given = structured if isinstance(structured, dict) else {}
    for name in texts:
        if isinstance(given.get(name), str):
            return name, given[name]
    values = [value for value in given.values() if isinstance(value, str)] or _text_of(result)
    return (texts[0], values[0]) if len(texts) == 1 and len(values) == 1 else ("", "")


def _text_of(result: Mapping[str, Any]) -> list[str]:
    content = result.get("content")
    blocks = content if isinstance(content, list) else []
    return [one["text"] for one in blocks if isinstance(one, dict) and isinstance(one.get("text"), str)]


def is_served(reply: Reply) -> bool:
    """The tool answered, and not with an error of its own."""
    return reply.outcome is Outcome.REACHED and bool(result_of(reply)) and result_of(reply).get("isError") is not True


def error_of(reply: Reply) -> str:
    """What was said instead: a JSON-RPC error, or the tool's own text."""
    texts = _text_of(result_of(reply))
    return texts[0] if texts else reply.label
