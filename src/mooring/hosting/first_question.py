"""What the target serves: once it has started it is asked, in this process, and a line in the log says what it said.

    at a path of `mcp_path` the target      the line says
    --------------------------------------  ------------------------------------------------------------------------
    answers as MCP                          which server it is, and which revisions it speaks
    wants a login, or another host name     that there is something, and what it answered
    has nothing                             where it answers as MCP, or has the older HTTP+SSE, and what to set
    fails, or says nothing                  how; its own log knows why

It is asked past Mooring, so the cluster does not hear of it. A session that this opens is closed again. Nothing that
comes of it ends the start.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from mooring.app_routes import is_leaf, levels_of
from mooring.asgi import App, header
from mooring.core import jsonrpc
from mooring.core.request import SESSION_HEADER
from mooring.hosting.exchange import Answer, Exchange, printable

logger = logging.getLogger("mooring.serve")

_LEGACY: Final = "2025-11-25"
_MODERN: Final = "2026-07-28"
_CLIENT: Final = {"name": "mooring", "version": "1"}
_META: Final = "io.modelcontextprotocol/"
_INITIALIZE: Final = {"protocolVersion": _LEGACY, "capabilities": {}, "clientInfo": _CLIENT}
_DISCOVER: Final = {
    "_meta": {
        f"{_META}protocolVersion": _MODERN,
        f"{_META}clientInfo": _CLIENT,
        f"{_META}clientCapabilities": {},
    }
}
_GUARDED: Final = {401: "a login", 403: "a right of its own", 421: "another host name"}


class FirstQuestion:
    """
    Args:
        app: the target.
        paths: those of `mcp_path`.
        host: name and port by which it is asked.
        state: of the app's lifespan.
    """

    def __init__(self, app: App, paths: Sequence[str], host: str, state: Mapping[str, Any]) -> None:
        self._app = app
        self._paths = [path for path in paths if "{" not in path]
        self._host = host
        self._state = state

    async def ask(self) -> None:
        try:
            for path in self._paths:
                await self._ask_at(self._as_the_app_has_it(path))
        except Exception as error:
            logger.debug("the target was not asked what it serves: %s", type(error).__name__)

    def _as_the_app_has_it(self, path: str) -> str:
        """With a slash at its end, which no setting has, where that alone is a route of the app's."""
        found = set(_endpoints_in(self._app))
        return f"{path}/" if f"{path}/" in found and path not in found else path

    async def _ask_at(self, path: str) -> None:
        answer, modern = await self._initialize(path), await self._discover(path)
        if answer.failure:
            logger.warning("the target fails at %s: %s; see its own log", path, answer.failure)
        elif _is_result(answer) or _is_result(modern):
            logger.info("the target serves MCP at %s: %s", path, _described(answer, modern))
        elif answer.status in _GUARDED:
            what = _GUARDED[answer.status]
            logger.info("the target wants %s at %s (HTTP %d for %s)", what, path, answer.status, self._host)
        elif answer.status >= 500:
            logger.warning("the target fails at %s: HTTP %d; see its own log", path, answer.status)
        else:
            logger.warning("the target answers %s at %s%s", _shown(answer, modern), path, await self._elsewhere(path))

    async def _elsewhere(self, path: str) -> str:
        """What to do about a target that does not answer there."""
        found = [other for other in _endpoints_in(self._app) if other != path]
        found = [other for other in found if _is_result(await self._initialize(other))]
        if found:
            setting = ",".join(other.rstrip("/") or "/" for other in found)
            return f"; it serves MCP at {','.join(found)}: set mcp_path to {setting}, which tells the ingress, too"
        older = next(_older_in(self._app), None)
        if older is not None:
            return f"; it has the older HTTP+SSE transport at {older}, which works as it is"
        return ", and nothing was found that serves MCP elsewhere: set mcp_path to where it does"

    async def _initialize(self, path: str) -> Answer:
        answer = await self._send("POST", path, {}, "initialize", _INITIALIZE)
        session = header(answer.headers, SESSION_HEADER)
        if session is not None and answer.status < 400:
            await self._send("DELETE", path, {"mcp-session-id": session.decode("latin-1")})
        return answer

    async def _discover(self, path: str) -> Answer:
        told = {"mcp-protocol-version": _MODERN, "mcp-method": "server/discover"}
        return await self._send("POST", path, told, "server/discover", _DISCOVER)

    async def _send(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        message: str = "",
        params: Mapping[str, Any] | None = None,
    ) -> Answer:
        told = {
            "host": self._host,
            "accept": "application/json, text/event-stream",
            "content-type": "application/json",
            **headers,
        }
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": message, "params": params}).encode() if message else b""
        return await Exchange(self._app, method, path, told, body, self._state).run()


def _is_result(answer: Answer) -> bool:
    return isinstance(jsonrpc.value_in(answer.message, "result"), dict)


def _described(legacy: Answer, modern: Answer) -> str:
    """`counter 1.0, revisions 2025-11-25 (sessions) and 2026-07-28`, as far as it says."""
    server: dict[str, Any] = {}
    for found in (
        jsonrpc.value_in(modern.message, "result", "_meta", f"{_META}serverInfo"),
        jsonrpc.value_in(legacy.message, "result", "serverInfo"),
    ):
        server = found if isinstance(found, dict) else server
    name = " ".join(jsonrpc.text_in(server, part) for part in ("name", "version")).strip()
    spoken = []
    if _is_result(legacy):
        has_sessions = header(legacy.headers, SESSION_HEADER) is not None
        version = jsonrpc.text_in(legacy.message, "result", "protocolVersion")
        spoken.append(f"{version} with{'' if has_sessions else 'out'} sessions")
    versions = jsonrpc.value_in(modern.message, "result", "supportedVersions")
    if isinstance(versions, list):
        spoken += sorted(str(one) for one in versions if str(one) >= _MODERN)
    return printable(f"{name or 'a server without a name'}, revisions {', '.join(spoken)}")


def _shown(*answers: Answer) -> str:
    """The status, with where it leads, or what it says."""
    first = answers[0]
    place = header(first.headers, b"location")
    said = next(filter(None, (jsonrpc.text_in(answer.message, "error", "message") for answer in answers)), "")
    more = f" to {place.decode('latin-1')}" if place is not None else f" ({said})" if said else ""
    return printable(f"{first.status}{more}")


def _endpoints_in(app: object) -> Iterator[str]:
    """Paths at which apps of the SDKs, and most others, have their endpoint. What else is asked might do something."""
    for above, routes in levels_of(app):
        for route in filter(is_leaf, routes):
            path = getattr(route, "path", "")
            is_sdks = type(getattr(route, "endpoint", None)).__name__.startswith("StreamableHTTP")
            if "{" not in path and (is_sdks or path.rstrip("/").endswith("/mcp")):
                yield above + path


def _older_in(app: object) -> Iterator[str]:
    for above, routes in levels_of(app):
        for route in filter(is_leaf, routes):
            if getattr(route, "path", "").rstrip("/").endswith("/sse"):
                yield above + route.path
