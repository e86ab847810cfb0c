"""Opening legacy sessions, over one connection, outside of what is measured."""

from __future__ import annotations

import http.client

from benchmarks import messages


def open_sessions(port: int, count: int) -> list[str]:
    """Open sessions and end their handshakes; their ids.

    Raises:
        RuntimeError: the server did not open one.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        return [_open(connection) for _ in range(count)]
    finally:
        connection.close()


def _open(connection: http.client.HTTPConnection) -> str:
    opened = _send(connection, messages.initialize())
    session_id = opened.headers.get("Mcp-Session-Id", "")
    if opened.status != 200 or not session_id:
        raise RuntimeError(f"no session was opened: {opened.status}")
    _send(connection, messages.initialized(session_id))
    return session_id


def _send(connection: http.client.HTTPConnection, request: bytes) -> http.client.HTTPResponse:
    headers = {name.decode(): value.decode() for name, value in messages.header_list(request)}
    connection.request("POST", "/mcp", messages.body(request), headers)
    response = connection.getresponse()
    response.read()
    return response
