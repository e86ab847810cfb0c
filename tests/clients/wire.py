"""What a client program does and notes below its client: cookies, the session id, the answer to DELETE."""

import asyncio
import json
from dataclasses import dataclass
from http.client import HTTPConnection
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit

PROTOCOL_VERSION = "2025-11-25"
_SECONDS = 5.0


def cookie_jar(*, keeps_cookies: bool) -> CookieJar:
    return CookieJar() if keeps_cookies else CookieJar(DefaultCookiePolicy(allowed_domains=()))


@dataclass
class WireNotes:
    """Noted from a client's HTTP answers; `note` is a response hook of httpx and of its successor."""

    session_id: str | None = None
    delete_status: int | None = None

    async def note(self, response: Any) -> None:
        self.session_id = response.headers.get("mcp-session-id") or self.session_id
        if response.request.method == "DELETE":
            self.delete_status = response.status_code


def _post_in_session(url: str, session_id: str) -> int:
    parts = urlsplit(url)
    assert parts.hostname is not None
    connection = HTTPConnection(parts.hostname, parts.port, timeout=_SECONDS)
    headers = {
        "Accept": "application/json, text/event-stream",
        "Content-Type": "application/json",
        "Mcp-Protocol-Version": PROTOCOL_VERSION,
        "Mcp-Session-Id": session_id,
    }
    try:
        connection.request("POST", parts.path, json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping"}), headers)
        return connection.getresponse().status
    finally:
        connection.close()


async def post_in_session(url: str, session_id: str) -> int:
    """The HTTP status of a ping in that session, over a connection of its own and without cookies."""
    return await asyncio.to_thread(_post_in_session, url, session_id)
