"""What a tool hands out is brought back, over new connections."""

from __future__ import annotations

import pytest
from aiohttp import web

from mooring.doctor.client.protocol import MODERN_VERSION
from mooring.doctor.evidence.carried_state import carry_state, error_of, is_served
from tests.doctor.examined import examined
from tests.doctor.serving import serving

SCHEMA = {"type": "object", "properties": {"counter": {"type": "string"}, "by": {"type": "integer"}}}


@pytest.mark.parametrize("nodes", [1, 2])
async def test_a_state_and_a_handle_that_one_node_alone_knows(nodes: int) -> None:
    turn = iter(range(10_000))

    async def answer(request: web.Request) -> web.StreamResponse:
        message = await request.json() if request.method == "POST" else {}
        node, params = next(turn) % nodes, message.get("params", {})
        results = {
            "server/discover": {"supportedVersions": [MODERN_VERSION], "capabilities": {"tools": {}}},
            "tools/list": {"tools": [{"name": "increment", "inputSchema": SCHEMA}]},
        }
        result = results.get(message.get("method", ""))
        if message.get("method") == "tools/call":
            result = called(params, node)
        if result is None:
            error = {"code": -32602, "message": "not known here"}
            return web.json_response({"jsonrpc": "2.0", "id": message.get("id"), "error": error}, status=400)
        return web.json_response({"jsonrpc": "2.0", "id": message["id"], "result": result})

    def called(params: dict[str, object], node: int) -> dict[str, object] | None:
        if params["name"] == "new_counter":
            return {"content": [], "structuredContent": {"counter": f"counter-{node}"}}
        if params["name"] == "increment":
            arguments = params["arguments"]
            known = isinstance(arguments, dict) and arguments["counter"] == f"counter-{node}"
            return {"content": [{"type": "text", "text": "1" if known else "no such counter"}], "isError": not known}
        if "requestState" not in params:
            return {"resultType": "input_required", "requestState": f"state-{node}", "inputRequests": {"q": {}}}
        return (
            {"content": [{"type": "text", "text": "declined"}]} if params["requestState"] == f"state-{node}" else None
        )

    async with serving(answer) as url:
        async with examined(url, tool="ask") as exam:
            asked = await carry_state(exam)
        async with examined(url, tool="new_counter", then_tool="increment") as exam:
            counted = await carry_state(exam)
    assert counted.handle == "counter"
    for replies in (asked.states, counted.uses):
        served = [is_served(reply) for reply in replies]
        assert all(served) == (nodes == 1)
        assert any(served) or replies is asked.states
    if nodes > 1:
        assert "no such counter" in {error_of(reply) for reply in counted.uses}
