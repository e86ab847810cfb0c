"""Whole HTTP requests as bytes, as the SDK's own client writes them, made once and sent many times."""

from __future__ import annotations

import json
from typing import Any, Final

PROTOCOL_VERSION: Final = "2025-11-25"
MODERN_VERSION: Final = "2026-07-28"

_CLIENT: Final = {"name": "bench", "version": "1"}

Tool = dict[str, Any]
"""What `tools/call` names: a tool and its arguments."""

ADD: Final[Tool] = {"name": "add", "arguments": {"a": 1, "b": 2}}


def initialize() -> bytes:
    """Opens a legacy session."""
    return _post(
        {
            "jsonrpc": "2.0",
            "id": 0,
            "method": "initialize",
            "params": {"protocolVersion": PROTOCOL_VERSION, "capabilities": {}, "clientInfo": _CLIENT},
        }
    )


def initialized(session_id: str) -> bytes:
    """The notification that ends the handshake."""
    return _post({"jsonrpc": "2.0", "method": "notifications/initialized"}, _session_headers(session_id))


def legacy_call(session_id: str, tool: Tool = ADD) -> bytes:
    """A tool call on a session."""
    return _post({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": tool}, _session_headers(session_id))


def end(session_id: str) -> bytes:
    """Ends a session."""
    return _request("DELETE", b"", _session_headers(session_id))


def modern_call(tool: Tool = ADD) -> bytes:
    """A tool call of revision 2026-07-28, which says everything itself, in headers and in `_meta`."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": MODERN_VERSION,
        "io.modelcontextprotocol/clientInfo": _CLIENT,
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    return _post(
        {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {**tool, "_meta": meta}},
        {"mcp-protocol-version": MODERN_VERSION, "mcp-method": "tools/call", "mcp-name": tool["name"]},
    )


def header_list(request: bytes) -> list[tuple[bytes, bytes]]:
    """The headers as an ASGI server hands them to an app."""
    lines = request.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]
    parts = (line.partition(b":") for line in lines)
    return [(name.lower(), value.strip()) for name, _, value in parts]


def body(request: bytes) -> bytes:
    return request.partition(b"\r\n\r\n")[2]


def _session_headers(session_id: str) -> dict[str, str]:
    return {"mcp-session-id": session_id, "mcp-protocol-version": PROTOCOL_VERSION}


def _post(message: dict[str, Any], headers: dict[str, str] | None = None) -> bytes:
    content = json.dumps(message, separators=(",", ":")).encode()
    return _request("POST", content, {"content-type": "application/json", **(headers or {})})


def _request(method: str, content: bytes, headers: dict[str, str]) -> bytes:
    given = {
        "Host": "127.0.0.1:8000",
        "Accept-Encoding": "gzip, deflate",
        "Connection": "keep-alive",
        "User-Agent": "python-httpx2",
        "accept": "application/json, text/event-stream",
        **headers,
        "Content-Length": str(len(content)),
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    return f"{method} /mcp HTTP/1.1\r\n{lines}\r\n".encode() + content
