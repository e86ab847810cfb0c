"""What a request that is passed on loses on its way through HTTP between two nodes, and how the owner gets it back.

It travels beside the request, in `Mooring-Client: <JSON, base64>;<mac>`, the MAC bound to the request's nonce:

    what                          what HTTP between nodes makes of it
    ----------------------------  ---------------------------------------------------------------
    the client's address          the peer's
    that of its server            the owner's
    the scheme                    that of the peer's URL
    the version of HTTP           1.1
    a rare method, or spelling    one that parsers know
    headers of the connection     taken off (RFC 9110, section 7.6.1)
    Host, and its place           there always is one, before all others
    how the body was framed       another length, or chunks
    headers that are not UTF-8    other bytes; and no control characters
    root_path                     that of the owner's server
    the target                    ASCII, without a server's name, and nothing from a `#` on
    the path                      that of the target, whatever something around Mooring has made of it
    what a router around Mooring  nothing, where it does not run for what peers pass on: Starlette's `path_params` and
    has found in the path         `app_root_path`

A node of an earlier release sends none of it, and its requests are as they come.

Of an answer, the app's own headers stand between `Mooring-Begin` and `Mooring-End`: before and behind are those that
the owner's server adds, and what is around Mooring there. The node that the client came to adds them as well: without
a hop they are there once.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from mooring.core.request import BEGIN_HEADER, END_HEADER, INTERNAL_HEADERS
from mooring.errors import SignatureError

Headers = list[tuple[bytes, bytes]]

_OF_THE_HOP: Final = frozenset({b"host", b"content-length", b"transfer-encoding"})
"""What each hop writes for itself."""
_COMMON_METHODS: Final = frozenset(
    {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "QUERY"}
)
_RARE: Final = "REPORT"
"""Stands for a method that not every parser knows. All know this one, and as none of MCP's, old nodes refuse it."""
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
"""Some servers let a few of these into headers; aiohttp writes none."""
_SCHEMES: Final = frozenset({"http", "https"})


@dataclass(frozen=True, slots=True)
class PassedOn:
    """
    Attributes:
        client: host and port, or None where the server did not say; a socket of this machine has no port.
        server: the same of the address that the client came to; None also of a peer that does not say it.
        target: path and query as they came; None where the wire has them as they came.
        path: as it is for the app; None where it is that of the target.
        routed: what a router around Mooring has put into the scope.
        beside: headers that do not survive the way, each with its place among all of them.
    """

    method: str
    scheme: str = "http"
    http_version: str = "1.1"
    client: tuple[str, int | None] | None = None
    server: tuple[str, int | None] | None = None
    root_path: str = ""
    target: bytes | None = None
    beside: tuple[tuple[int, bytes, bytes], ...] = ()
    path: str | None = None
    routed: Mapping[str, Any] = field(default_factory=dict)

    def restored(self, headers: Headers) -> Headers:
        """The headers as the client sent them, from those that came over the wire."""
        kept = [(name, value) for name, value in headers if name not in _OF_THE_HOP]
        restored: Headers = []
        taken = 0
        for place, name, value in self.beside:  # in their order; to insert each would take long where there are many
            between = max(0, place - len(restored))
            restored += kept[taken : taken + between]
            taken += between
            restored.append((name, value))
        return restored + kept[taken:]


def parted(headers: Headers, dropped: Collection[bytes]) -> tuple[Headers, tuple[tuple[int, bytes, bytes], ...]]:
    """The client's headers, but for our own: those that go over the wire, and those that travel beside.

    Args:
        dropped: those that HTTP does not pass on.
    """
    wire: Headers = []
    beside: list[tuple[int, bytes, bytes]] = []
    own = [(name, value) for name, value in headers if name not in INTERNAL_HEADERS]
    for place, (name, value) in enumerate(own):
        survives = name not in dropped and _is_writable(name + value)
        if survives:
            wire.append((name, value))
        if not survives or name in _OF_THE_HOP:
            beside.append((place, name, value))
    return wire, tuple(beside)


def delimited(headers: Headers) -> Headers:
    """An answer's headers on their way to a peer."""
    return [(BEGIN_HEADER, b"1"), *headers, (END_HEADER, b"1")]


def within_delimiters(headers: Headers) -> Headers | None:
    """The app's own of an answer's headers; None where nobody can tell which these are.

    Nor are they where something around Mooring has compressed the body: what it says of that is no less part of it.
    """
    names = [name for name, _ in headers]
    if BEGIN_HEADER not in names or END_HEADER not in names:
        return None
    begin, end = names.index(BEGIN_HEADER), len(names) - 1 - names[::-1].index(END_HEADER)
    if b"content-encoding" in (*names[:begin], *names[end:]):
        return None
    return headers[begin + 1 : end]


def routed_in(scope: Mapping[str, Any]) -> dict[str, Any]:
    """What a router around Mooring has put there, as far as it can be written down."""
    found: dict[str, Any] = {}
    params, root = scope.get("path_params"), scope.get("app_root_path")
    if (
        params
        and isinstance(params, Mapping)
        and all(isinstance(value, str | int | float) for value in params.values())
    ):
        found["path_params"] = {str(name): value for name, value in params.items()}
    if isinstance(root, str):
        found["app_root_path"] = root
    return found


def wire_method(method: str) -> str:
    """What stands for the method on the wire between two nodes, where one may read fewer methods than the other."""
    return method if method in _COMMON_METHODS else _RARE


def _is_writable(value: bytes) -> bool:
    try:
        return _CONTROLS.search(value.decode()) is None
    except UnicodeDecodeError:
        return False


def encode(key: bytes, nonce: str, passed_on: PassedOn) -> str:
    """The value of `Mooring-Client`."""
    said: dict[str, Any] = {
        "method": passed_on.method,
        "scheme": passed_on.scheme,
        "http": passed_on.http_version,
        "client": passed_on.client,
        "server": passed_on.server,
        "root": passed_on.root_path,
        "target": None if passed_on.target is None else _text(passed_on.target),
        "beside": [[place, _text(name), _text(value)] for place, name, value in passed_on.beside],
    }
    if passed_on.path is not None:
        said["path"] = passed_on.path
    if passed_on.routed:
        said["routed"] = passed_on.routed
    text = _text(json.dumps(said, separators=(",", ":")).encode())
    return f"{text};{_mac(key, nonce, text)}"


def decode(key: bytes, nonce: str, text: str) -> PassedOn:
    """
    Raises:
        SignatureError: no peer has sent this with the request of this nonce; or one of a later release, in its own way.
    """
    said, _, mac = text.partition(";")
    if not hmac.compare_digest(mac.encode(errors="replace"), _mac(key, nonce, said).encode()):
        raise SignatureError("what it says of its client is not signed by its peer")
    try:
        return _read(json.loads(base64.urlsafe_b64decode(said)))
    except (ValueError, TypeError, KeyError) as error:
        raise SignatureError("what it says of its client cannot be read") from error


def _read(said: Any) -> PassedOn:
    target, path = said["target"], said.get("path")
    if said["scheme"] not in _SCHEMES:
        raise ValueError("a scheme of no HTTP")
    return PassedOn(
        method=str(said["method"]),
        scheme=said["scheme"],
        http_version=str(said["http"]),
        client=_address(said["client"]),
        server=_address(said.get("server")),
        root_path=str(said["root"]),
        target=None if target is None else _bytes(target),
        beside=tuple((int(place), _bytes(name), _bytes(value)) for place, name, value in said["beside"]),
        path=None if path is None else str(path),
        routed=routed_in(said.get("routed", {})),
    )


def _address(said: Any) -> tuple[str, int | None] | None:
    return None if said is None else (str(said[0]), None if said[1] is None else int(said[1]))


def _mac(key: bytes, nonce: str, text: str) -> str:
    return hmac.new(key, f"client {nonce} {text}".encode(errors="surrogatepass"), hashlib.sha256).hexdigest()


def _text(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode()


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text)
