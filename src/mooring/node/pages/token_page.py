"""A page that answers anyone who has the status token, and nobody else."""

from __future__ import annotations

import hmac
import json
from typing import Any, Final

from pydantic import SecretStr

from mooring.asgi import HeaderList, Scope, Send, header, respond
from mooring.node.node import Node

_METHODS: Final = frozenset({"GET", "HEAD"})
_UNAUTHORIZED: Final = b"Send the status token of this cluster (MOORING_STATUS_TOKEN): Authorization: Bearer <token>\n"
_READ_ONLY: Final = b"This page can only be read: send GET or HEAD.\n"


class TokenPage:
    """What it says is its subclass's.

    Args:
        token: what `Authorization: Bearer` has to carry (RFC 6750, section 2.1).
    """

    def __init__(self, node: Node, token: SecretStr) -> None:
        self._node = node
        self._token = token

    async def answer(self, scope: Scope, send: Send) -> None:
        method: str = scope["method"]
        if method not in _METHODS:
            await respond(send, 405, _READ_ONLY, extra=[(b"allow", b"GET, HEAD")])
        elif not self._is_allowed(scope["headers"]):
            await respond(send, 401, _UNAUTHORIZED, extra=[(b"www-authenticate", b"Bearer")], method=method)
        else:
            status, page = self._page(scope)
            await respond(send, status, json.dumps(page).encode(), b"application/json", method=method)

    def _page(self, scope: Scope) -> tuple[int, dict[str, Any]]:
        """A status, and what is said in JSON."""
        raise NotImplementedError

    def _is_allowed(self, headers: HeaderList) -> bool:
        scheme, _, token = (header(headers, b"authorization") or b"").partition(b" ")
        expected = self._token.get_secret_value().encode()
        return hmac.compare_digest(token.strip(b" "), expected) and scheme.lower() == b"bearer"
