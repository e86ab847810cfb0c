"""What a call hears whose handle cannot be served."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mooring.asgi import Message
from mooring.core.routing import Reason
from mooring.node.requests.handle_answers import REASON_KEY, can_be_said, refuse_handle

CALL = {"jsonrpc": "2.0", "id": "seven", "method": "tools/call"}
SAYABLE = [reason for reason in Reason if can_be_said(reason)]


async def refusal(
    reason: Reason, message: Any, handle: str = "mh~aaaaa.m.x", revision: bytes = b"2026-07-28", **options: Any
) -> tuple[int, dict[str, Any]]:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"method": "POST", "headers": [(b"mcp-protocol-version", revision)]}
    await refuse_handle(send, scope, reason, message, handle, **options)
    return sent[0]["status"], json.loads(sent[1]["body"])


@pytest.mark.parametrize("reason", SAYABLE)
async def test_a_tools_caller_hears_a_result_that_a_model_can_act_on(reason: Reason) -> None:
    status, told = await refusal(reason, CALL)
    assert status == 200
    assert told["id"] == "seven"
    assert told["result"]["isError"] is True
    assert told["result"]["resultType"] == "complete"
    assert "mh~aaaaa.m.x" in told["result"]["content"][0]["text"]
    assert told["result"]["_meta"][REASON_KEY]


@pytest.mark.parametrize("reason", SAYABLE)
@pytest.mark.parametrize("message", [{**CALL, "method": "tasks/get"}, {**CALL, "id": None}, {}, None])
async def test_anybody_else_hears_an_error_of_json_rpc(reason: Reason, message: Any) -> None:
    status, told = await refusal(reason, message)
    assert status == 400
    assert told["id"] == ("seven" if message and message["id"] else None)
    assert told["error"]["code"] == -32602
    assert told["error"]["data"]["handle"] == "mh~aaaaa.m.x"


async def test_a_client_of_before_takes_no_status_for_the_end_of_its_connection() -> None:
    """SDK v1 for Python closes all that it has where an answer has another status than these."""
    asked = {**CALL, "method": "prompts/get"}
    status, told = await refusal(Reason.EXPIRED, asked, revision=b"2025-11-25")
    assert (status, told["error"]["code"], told["error"]["data"]["reason"]) == (200, -32602, "handle_gone")
    assert (await refusal(Reason.PRINCIPAL, asked, revision=b"2024-11-05", is_posted=True))[0] == 400
    assert (await refusal(Reason.PRINCIPAL, None, revision=b"2025-11-25"))[0] == 400


async def test_anothers_handle_looks_exactly_as_one_that_never_was() -> None:
    for message in (CALL, None):
        assert await refusal(Reason.PRINCIPAL, message) == await refusal(Reason.FORGED, message)


async def test_what_a_client_sent_is_shown_up_to_a_bound() -> None:
    _, told = await refusal(Reason.FORGED, CALL, "mh~" + "x" * 100_000)
    assert len(json.dumps(told)) < 1000


def test_what_is_about_no_handle_is_not_said_here() -> None:
    assert not can_be_said(Reason.SIGNATURE)
    assert not can_be_said(Reason.DUPLICATE_HEADER)
