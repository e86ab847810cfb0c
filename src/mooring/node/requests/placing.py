"""Calls of one conversation, kept together by a key that its host sends (`placement_key`) before any handle exists.

    the key                              so
    -----------------------------------  ---------------------------------------------------------------------
    is new                               it is written down with a shard of this node: one write
    is known here                        the call goes to the owner of its shard; nothing is asked
    is known elsewhere                   the same write answers with its shard
    was not used for long                it is forgotten, by the store and by each node
    is also another principal's          that is another key
    cannot be looked up: the store is away   the call is served here, once that was tried for a moment

Whoever holds a key is on the way to its shard: so a node's death moves its conversations together.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from mooring.asgi import App, Scope, Send, request_header
from mooring.core import jsonrpc
from mooring.core.handle_search import decoded
from mooring.core.ids import derive_key
from mooring.errors import StoreUnavailable
from mooring.node.node import Node
from mooring.node.requests.identifying import UnidentifiedRequest
from mooring.node.requests.no_session import of_no_session
from mooring.node.requests.principal import NOBODY, principal_of
from mooring.store.patience import ask_for

logger = logging.getLogger("mooring.routing")

_REMEMBERED: Final = 100_000
"""Keys, and as many senders."""
_KEY_LENGTH: Final = 1_000
_SENDER_SECONDS: Final = 60.0
_PATIENCE_SECONDS: Final = 3.0
"""A store that is silent for a moment is not away: calls of one conversation would part for that."""
_FRESH: Final = 0.5
"""For this part of the time in which a key is forgotten, it is not written again; the store has it longer by that."""


@dataclass(slots=True)
class _Placed:
    """
    Attributes:
        written: when the store was last told of it; by a clock that does not go back.
    """

    shard: str
    written: float


class Placements:
    """Those that one node knows.

    Args:
        now: seconds, by a clock that does not go back.
    """

    def __init__(self, node: Node, app: App, now: Callable[[], float] = time.monotonic) -> None:
        self._node = node
        self._app = app
        self._now = now
        where, _, self._name = node.settings.placement_key.partition(":")
        self._is_in_header = where == "header"
        self._header = self._name.lower().encode()
        self._secrets = [derive_key(secret, "placement key") for secret in node.secrets]
        self._placed: OrderedDict[str, _Placed] = OrderedDict()
        # Who sends with which Authorization, as the app said, and when. Of those that have none this says nothing.
        self._senders: OrderedDict[bytes, tuple[str, float]] = OrderedDict()

    def key_in(self, scope: Scope, body: bytes | None) -> str:
        """The key that a call says; "" where it says none."""
        if not self._name:
            return ""
        if self._is_in_header:
            said = request_header(scope["headers"], self._header)
            return "" if said is None else decoded(said)[:_KEY_LENGTH]
        if body is None or self._name.rpartition("/")[2].encode() not in body:
            return ""
        key = jsonrpc.value_in(jsonrpc.read_message(body), "params", "_meta", self._name)
        is_key = isinstance(key, str | int) and not isinstance(key, bool)  # hosts count conversations, too
        return str(key)[:_KEY_LENGTH] if is_key else ""

    async def shard_of(self, key: str, scope: Scope, send: Send) -> str | None:
        """The shard of its calls; "" where nobody can say. None where the app has turned its sender away."""
        is_told = principal_of(scope) != NOBODY or bool(request_header(scope["headers"], b"authorization"))
        principal = await self._who(scope, send) if is_told else NOBODY
        if principal is None:
            return None
        said = f"{principal}\0{key}".encode("utf-8", "replace")
        names = [hmac.digest(secret, said, hashlib.sha256).hex()[:32] for secret in self._secrets]
        name = names[0]
        placed = self._placed.get(name)
        idle_seconds = self._node.settings.placement_idle_seconds
        if placed is not None and self._now() - placed.written < idle_seconds * _FRESH:
            self._placed.move_to_end(name)
            return placed.shard
        if not is_told and await self._ask(scope, send) is None:
            return None
        kept_seconds = idle_seconds * (1 + _FRESH)
        known = "" if placed is None or self._now() - placed.written >= kept_seconds else placed.shard
        shard = await self._place(names, known, kept_seconds, 0.0 if placed else _PATIENCE_SECONDS)
        if not shard:
            return "" if placed is None else placed.shard
        self._placed[name] = _Placed(shard, self._now())
        if len(self._placed) > _REMEMBERED:
            self._placed.popitem(last=False)
        return shard

    async def _place(self, names: list[str], known: str, kept_seconds: float, patience_seconds: float) -> str:
        """The shard that the store knows for it; "" where it does not answer for that long.

        Args:
            names: while the secret is changed, one by each: nodes that have them in another order find the same.
            known: the shard that it had, for a store that was emptied.
            kept_seconds: how long the store remembers it from now on.
        """

        async def place() -> str:
            found: dict[str, str] = {}
            for name in names:
                shard = next(iter(found.values()), known) or self._node.next_shard()
                found[name] = await self._node.store.place(name, shard, round(kept_seconds * 1000))
            return found[min(found)]

        try:
            return await ask_for(patience_seconds, place, now=self._now)
        except StoreUnavailable:
            return ""

    async def _who(self, scope: Scope, send: Send) -> str | None:
        """Who sends it, as the app says, who is asked once a minute for each Authorization."""
        named = principal_of(scope)
        if named != NOBODY:
            return named
        authorization = request_header(scope["headers"], b"authorization") or b""
        sender = hmac.digest(self._secrets[0], authorization, hashlib.sha256)
        known, since = self._senders.get(sender, (NOBODY, 0.0))
        if sender in self._senders and self._now() - since < _SENDER_SECONDS:
            return known
        principal = await self._ask(scope, send)
        if principal is not None:
            self._senders[sender] = (principal, self._now())
            if len(self._senders) > _REMEMBERED:
                self._senders.popitem(last=False)
        return principal

    async def _ask(self, scope: Scope, send: Send) -> str | None:
        """Who sends it, as the app says now; None where it was turned away, and answered.

        Those that have no Authorization are nobody here: the app may know them by anything, as by a cookie or by their
        certificate. It is asked whether it lets them in before a key of theirs is written: else whoever may not call at
        all could fill the store with keys.
        """
        return await UnidentifiedRequest(of_no_session(scope), send, None, goes_on=True).find_out(self._app)
