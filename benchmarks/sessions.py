"""Opening and closing legacy sessions, over one connection, outside of what is timed."""

from __future__ import annotations

import contextlib
import http.client

from benchmarks import messages


class Client:
    """One connection to a server."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def open(self) -> str:
        """Open a session and end its handshake; its id.

        Raises:
            RuntimeError: the server did not open one.
        """
        opened, _ = self._send("POST", messages.initialize())
        session_id = opened.headers.get("Mcp-Session-Id", "")
        if opened.status != 200 or not session_id:
            raise RuntimeError(f"no session was opened: {opened.status}")
        self._send("POST", messages.initialized(session_id))
        return session_id

    def call(self, session_id: str, tool: messages.Tool) -> None:
        """Call a tool on a session.

        Raises:
            RuntimeError: the call failed.
        """
        answered, body = self._send("POST", messages.legacy_call(session_id, tool))
        if answered.status != 200 or b'"result"' not in body:
            raise RuntimeError(f"a call failed: {answered.status} {body[:300]!r}")

    def end(self, session_id: str) -> None:
        """End a session.

        Raises:
            RuntimeError: the server did not end it.
        """
        ended, _ = self._send("DELETE", messages.end(session_id))
        if ended.status not in {200, 204}:
            raise RuntimeError(f"a session was not ended: {ended.status}")

    def close(self) -> None:
        self._connection.close()

    def _send(self, method: str, request: bytes) -> tuple[http.client.HTTPResponse, bytes]:
        headers = {name.decode(): value.decode() for name, value in messages.header_list(request)}
        self._connection.request(method, "/mcp", messages.body(request) or None, headers)
        response = self._connection.getresponse()
        return response, response.read()


def open_sessions(port: int, count: int) -> list[str]:
    """Open sessions and end their handshakes; their ids.

    Raises:
        RuntimeError: the server did not open one.
    """
    with contextlib.closing(Client(port)) as client:
        return [client.open() for _ in range(count)]
