"""Whether a request that was running when its node was lost may be carried out again: it changes nothing.

Its method says so (`mooring.core.stream_ids`), or its tool: `readOnlyHint` or `idempotentHint`, as the app tells us
(specification 2025-11-25, Tools: annotations).
"""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Final, TypeGuard

from mooring.asgi import App, Scope
from mooring.core import jsonrpc
from mooring.core.stream_ids import StreamKind
from mooring.node.current_call import is_transactional
from mooring.node.membership.session import LocalSession
from mooring.node.node import Node
from mooring.node.requests.inner import ask, scope_for
from mooring.store.journal import Call, SettledCall

logger = logging.getLogger("mooring.sessions")

_PAGES: Final = 50
"""Of a list of tools that are read to find one."""


async def calls_of(node: Node, session_id: str) -> dict[str, Call | SettledCall]:
    """The calls of a session that are on record, by what they are called there.

    Raises:
        StoreUnavailable: nobody knows.
    """
    return {call.stream: call for call in await node.store.journal.calls(session_id)}


def leaves_nothing(call: Call | SettledCall | None) -> TypeGuard[Call]:
    """Whether nothing is left of it as long as it has no outcome, so that it may be carried out again."""
    return isinstance(call, Call) and call.is_transactional and bool(call.body) and is_transactional(call.name)


class ToolHints:
    """What the app says of its tools in a session.

    Args:
        scope: of the request that makes us ask.
    """

    def __init__(self, node: Node, session: LocalSession, app: App, scope: Scope) -> None:
        self._node = node
        self._session = session
        self._app = app
        self._scope = scope

    async def changes_nothing(self, call: Call, kind: StreamKind) -> bool:
        """Whether that call may be carried out again, as far as anybody promises."""
        if kind is StreamKind.SAFE:
            return True
        if call.method != "tools/call" or not call.name:
            return False
        try:
            async with asyncio.timeout(self._node.settings.hold_seconds):
                hints = await self._hints(call)
        except Exception as error:  # the app's: what it does not say it does not promise
            logger.warning(
                "the app does not say whether %r changes anything: %r; it is not carried out again: see the app's log",
                call.name[:200],
                error,
            )
            return False
        return hints.get("readOnlyHint") is True or hints.get("idempotentHint") is True

    async def _hints(self, call: Call) -> jsonrpc.Message:
        """A tool's annotations, as the app lists it to whoever asks."""
        cursor = ""
        for page in range(_PAGES):
            request = {"jsonrpc": "2.0", "id": f"mooring-{call.stream[-12:]}-{page}", "method": "tools/list"}
            if cursor:
                request["params"] = {"cursor": cursor}  # type: ignore[assignment]
            scope = scope_for(self._scope, self._session.inner_id, self._session.protocol)
            answer = await ask(self._app, scope, json.dumps(request).encode(), self._node.sessions.keep_working)
            tools = jsonrpc.value_in(answer.message, "result", "tools")
            for one in tools if isinstance(tools, list) else ():
                if isinstance(one, dict) and one.get("name") == call.name:
                    hints = one.get("annotations")
                    return hints if isinstance(hints, dict) else {}
            cursor = jsonrpc.text_in(answer.message, "result", "nextCursor")
            if not cursor:
                break
        return {}
