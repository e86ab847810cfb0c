"""The few messages of MCP that the doctor sends, in both eras, and how their answers are read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from mooring.core import jsonrpc
from mooring.core.sse import SseParser

LEGACY_VERSIONS: Final = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
"""Revisions with sessions, the newest first."""
MODERN_VERSION: Final = "2026-07-28"

SESSION: Final = "Mcp-Session-Id"
VERSION: Final = "MCP-Protocol-Version"
METHOD: Final = "Mcp-Method"
NAME: Final = "Mcp-Name"

EVENT_STREAM: Final = "text/event-stream"
ACCEPT: Final = {"Accept": f"application/json, {EVENT_STREAM}", "Content-Type": "application/json"}

HEADER_MISMATCH: Final = -32020
"""A modern request whose headers disagree with its body, or appear twice (2026-07-28, Transports)."""

CLIENT: Final = {"name": "mooring-doctor", "version": "1"}
_META: Final = "io.modelcontextprotocol/"
CAPABILITIES: Final = f"{_META}clientCapabilities"

Message = jsonrpc.Message


def request(request_id: int, method: str, params: Mapping[str, Any] | None = None) -> Message:
    """A JSON-RPC request."""
    message: Message = {"jsonrpc": "2.0", "id": request_id, "method": method}
    return message if params is None else {**message, "params": dict(params)}


def initialize(request_id: int, version: str) -> Message:
    """The first message of a legacy session (2025-11-25, Lifecycle)."""
    return request(
        request_id, "initialize", {"protocolVersion": version, "capabilities": {}, "clientInfo": dict(CLIENT)}
    )


INITIALIZED: Final[Message] = {"jsonrpc": "2.0", "method": "notifications/initialized"}


def modern(
    request_id: int, method: str, params: Mapping[str, Any] | None = None, *, version: str = MODERN_VERSION
) -> tuple[dict[str, str], Message]:
    """A request of the modern era: the headers that it needs, and its message."""
    meta = {
        f"{_META}protocolVersion": version,
        f"{_META}clientInfo": dict(CLIENT),
        CAPABILITIES: {},
    }
    headers = {VERSION: version, METHOD: method}
    if params and isinstance(params.get("name"), str):
        headers[NAME] = params["name"]
    return headers, request(request_id, method, {**(params or {}), "_meta": meta})


def answer(body: bytes, media_type: str, request_id: int) -> Message | None:
    """The answer to that request in an HTTP body; where none has its id, an error without one.

    Servers answer what they refuse before reading it with an id of null, or of their own.
    """
    refusal: Message | None = None
    for message in _messages(body, media_type):
        if "method" in message:
            continue
        if jsonrpc.id_of(message) == request_id:
            return message
        if "error" in message:
            refusal = message
    return refusal


def _messages(body: bytes, media_type: str) -> Iterator[Message]:
    texts: list[str] | list[bytes]
    texts = [event.data for event in SseParser().feed(body)] if media_type == EVENT_STREAM else [body]
    for text in texts:
        yield from (message for message in jsonrpc.read_messages(text) if message.get("jsonrpc") == "2.0")


def error_text(message: Message | None) -> str:
    """What a JSON-RPC error says; empty where it is none."""
    return jsonrpc.text_in(message, "error", "message")


def error_code(message: Message | None) -> int | None:
    code = jsonrpc.value_in(message, "error", "code")
    return code if isinstance(code, int) else None


def challenge_of(headers: Mapping[str, str]) -> str:
    """What login an answer asks for; empty where it asks for none."""
    return headers.get("WWW-Authenticate", "")


def tool_error(message: Message | None) -> str:
    """What went wrong with a tool that was called, as an error of JSON-RPC or of the tool; empty where nothing did."""
    if jsonrpc.value_in(message, "result", "isError") is not True:
        return error_text(message)
    content = jsonrpc.value_in(message, "result", "content")
    first = content[0] if isinstance(content, list) and content and isinstance(content[0], dict) else None
    return jsonrpc.text_in(first, "text") or "an error without a word"


def reason(message: Message | None) -> str:
    """Mooring's reason for a refusal (`error.data.reason`); empty where there is none."""
    return jsonrpc.text_in(message, "error", "data", "reason")
