"""The types of ASGI that a plain middleware meets (asgi.readthedocs.io, HTTP and Lifespan, spec version 2)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final
from urllib.parse import quote

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

HeaderList = list[tuple[bytes, bytes]]

OWN_ANSWER: Final = "mooring.own"
"""In a message that begins an answer: it is Mooring's, and not the app's."""

EVENT_STREAM: Final = b"text/event-stream"

_IN_PATHS = "/!$&'()*+,;=:@~"
"""What stands for itself in a path (RFC 3986, section 3.3); servers need not give the path as it was written."""
_IN_TARGETS = "".join(map(chr, range(0x21, 0x7F))).replace("#", "")


def target_of(scope: Scope) -> bytes:
    """Path and query as the client sent them."""
    raw: bytes = scope.get("raw_path") or quote(scope["path"], safe=_IN_PATHS).encode()
    query: bytes = scope.get("query_string") or b""
    return raw + b"?" + query if query else raw


def written(target: bytes) -> bytes:
    """The target as a client may write it: servers let in more than that. What follows a `#` would not be sent."""
    return quote(target, safe=_IN_TARGETS).encode()


def route_of(scope: Scope) -> str:
    """The path below `root_path`: below where a server, or an app around this one, has put it."""
    path: str = scope["path"]
    root: str = scope.get("root_path") or ""
    below = path.removeprefix(root) if root else path
    return below if below is path or below.startswith("/") else (path if below else "/")


def is_at(scope: Scope, endpoint: str) -> bool:
    """Whether a request is for this very path, below `root_path` or as the client has it, and not for one below it."""
    return endpoint in ((route_of(scope).rstrip("/") or "/"), (scope["path"].rstrip("/") or "/"))


def off_root(scope: Scope) -> Scope | None:
    """The scope with `root_path` off the front of its path; None where it is not there.

    uvicorn with `--root-path` puts it in front of every path. One that a peer passes on has it there already.
    """
    path: str = scope["path"]
    root: str = scope.get("root_path") or ""
    if not root or not path.startswith(root + "/"):
        return None
    raw: bytes | None = scope.get("raw_path")
    return {**scope, "path": path.removeprefix(root), "raw_path": raw and raw.removeprefix(root.encode())}


def header(headers: HeaderList, name: bytes) -> bytes | None:
    """The first header of that lower-case name. Apps write their own names in any case."""
    for given, value in headers:
        if given.lower() == name:
            return value
    return None


def request_header(headers: HeaderList, name: bytes) -> bytes | None:
    """The first header of that lower-case name in a request: servers give their names in lower case (ASGI, HTTP)."""
    for given, value in headers:
        if given == name:
            return value
    return None


def media_type(headers: HeaderList) -> bytes:
    """What a body is, by its Content-Type without parameters, in lower case; empty where that is not said."""
    return _kind_in(header(headers, b"content-type") or b"")


def _kind_in(content_type: bytes) -> bytes:
    return content_type.partition(b";")[0].strip().lower()


def posts_json(scope: Scope) -> bool:
    """Whether a request is a POST that says that it brings JSON, as each message has to."""
    return bool(scope["method"] == "POST") and media_type(scope["headers"]) == b"application/json"


def is_compressed(headers: HeaderList) -> bool:
    """Whether a body cannot be read as it is. Apps that want nobody to compress their streams say `identity` (RFC 9110,
    section 12.5.3), or `none`, which is no coding and taken for none by all clients."""
    return any(_is_a_coding(value) for given, value in headers if given.lower() == b"content-encoding")


def _is_a_coding(content_encoding: bytes) -> bool:
    return content_encoding.strip().lower() not in (b"", b"identity", b"none")


def is_open_event_stream(headers: HeaderList) -> bool:
    """Whether a body is an event stream that can be read, and added to: not compressed, and without a length."""
    kind: bytes | None = None
    for given, value in headers:
        name = given.lower()
        if name == b"content-length" or (name == b"content-encoding" and _is_a_coding(value)):
            return False
        if name == b"content-type" and kind is None:
            kind = _kind_in(value)
    return kind == EVENT_STREAM


def has_body(headers: HeaderList) -> bool:
    """Whether a request with these headers brings a body (RFC 9112, section 6). Of HTTP/2 they do not tell."""
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value.strip(b"0") != b"")
        for name, value in headers
    )


def replaced(headers: HeaderList, name: bytes, value: bytes) -> HeaderList:
    """The headers with this value under that lower-case name; a missing header is not added."""
    return [(given, value if given.lower() == name else before) for given, before in headers]


def without(headers: HeaderList, *names: bytes) -> HeaderList:
    """The headers without those of these lower-case names."""
    return [(given, value) for given, value in headers if given.lower() not in names]


async def respond(
    send: Send,
    status: int,
    body: bytes,
    content_type: bytes = b"text/plain; charset=utf-8",
    extra: HeaderList | None = None,
    *,
    method: str = "GET",
) -> None:
    """Send a whole answer; to a HEAD request, all of it but the body (RFC 9110, section 9.3.2)."""
    headers: HeaderList = [(b"content-length", b"%d" % len(body)), (b"cache-control", b"no-store"), *(extra or [])]
    if body:
        headers.append((b"content-type", content_type))
    await send({"type": "http.response.start", "status": status, "headers": headers, OWN_ANSWER: True})
    await send({"type": "http.response.body", "body": b"" if method == "HEAD" else body, "more_body": False})


class WholeBody:
    """What an app receives of a request that is made here: its body, and that the sender left once it has.

    Attributes:
        has_left: set by `leave`.
    """

    def __init__(self, body: bytes) -> None:
        self._body: bytes | None = body
        self.has_left = asyncio.Event()

    def leave(self) -> None:
        """The sender waits for nothing more."""
        self.has_left.set()

    async def receive(self) -> Message:
        if self._body is None:
            await self.has_left.wait()
            return {"type": "http.disconnect"}
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}
