"""Paths that clients chose, in log lines: one line each."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from mooring.asgi import Receive, Scope, Send
from tests.cluster_in_process import RunningNode, running_node, running_nodes
from tests.node.apps import ScriptedApp
from tests.node.rpc import INITIALIZE, RawClient

ODD = "%0AWARNING%20forged%1B[2J"


def is_clean(caplog: pytest.LogCaptureFixture) -> bool:
    said = [record.getMessage() for record in caplog.records if record.name.startswith("mooring")]
    assert any("forged" in text for text in said)
    return all(text.isprintable() for text in said if "forged" in text)


async def test_an_endpoint_that_is_found(node: RunningNode, raw: RawClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    session = (await raw.send("POST", f"{node.url}/mcp-{ODD}", body=INITIALIZE)).session_id
    assert is_clean(caplog)
    caplog.clear()
    assert (await raw.call(node.url, session)).status == 404  # at another endpoint
    assert is_clean(caplog)


@pytest.mark.parametrize("data", [b"/messages/?session_id=0123", b"/messages/"])
async def test_a_stream_that_is_found_or_warned_of(
    data: bytes, raw: RawClient, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        body = b"event: endpoint\ndata: " + data + b"\n\n"
        await send({"type": "http.response.body", "body": body, "more_body": False})

    caplog.set_level(logging.INFO)
    async with running_node(app, None) as node:
        await raw.send("GET", f"{node.url}/{ODD}")
    assert is_clean(caplog)


async def test_what_goes_to_one_node_that_is_silent(raw: RawClient, caplog: pytest.LogCaptureFixture) -> None:
    options: dict[str, Any] = {"one_node_paths": "/jobs/*", "hold_seconds": 0.2, "lease_seconds": 60.0}
    async with running_nodes(ScriptedApp, 2, **options) as nodes:
        await nodes[0].vanish()
        assert (await raw.send("POST", f"{nodes[1].url}/jobs/{ODD}", body={})).status == 503
    assert is_clean(caplog)
