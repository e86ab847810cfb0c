"""A request that Mooring refuses, with the reason in its answer and in the log.

Nothing is said to be gone before its record is.
"""

from __future__ import annotations

import logging
from typing import Final

from mooring.asgi import Receive, Send, respond
from mooring.core import jsonrpc
from mooring.core.ids import brief
from mooring.core.model import Written
from mooring.core.request import RequestFacts
from mooring.core.routing import Reason
from mooring.errors import StoreUnavailable
from mooring.node.node import Node
from mooring.node.requests.answers import refuse
from mooring.node.requests.bodies import RememberedBody

logger = logging.getLogger("mooring.routing")

_REMEMBERED_BYTES: Final = 64 * 1024
"""Enough to read a request's id from."""


class RefusedRequest:
    """One such request."""

    def __init__(self, node: Node, facts: RequestFacts, receive: Receive, send: Send) -> None:
        self._node = node
        self._facts = facts
        self._receive = receive
        self._send = send

    async def refuse(self, reason: Reason) -> None:
        """Answer the refusal and log it."""
        had_record = False
        if reason in (Reason.EXPIRED, Reason.UNKNOWN) and self._facts.session_id is not None:
            reason, had_record = await self._confirm_gone(reason, self._facts.session_id)
        if had_record and self._facts.method == "DELETE" and reason is not Reason.UNREACHABLE:
            await respond(self._send, 200, b"")
            return
        self._node.tally.refused[reason] += 1
        logger.warning("refused %s %s: %s", self._facts.method, self._named(), reason)
        request_id = await self._read_id() if reason is Reason.UNREACHABLE else None
        await refuse(self._send, reason, method=self._facts.method, request_id=request_id)

    async def _confirm_gone(self, reason: Reason, session_id: str) -> tuple[Reason, bool]:
        """What to say of a session that is not here, and whether there was a record of it, which is removed then.

        Whoever holds the shard removes the record: without its transport, which was here or on a node that is dead, the
        session is gone for good. Where the store does not answer, nobody knows.
        """
        if self._node.sessions.has_ended(session_id):
            return Reason.EXPIRED, False
        try:
            record = await self._node.store.load_session(session_id)
            if record is None:
                return reason, False
            epoch = await self._node.keeper.hold(self._node.ids.shard_of(session_id) or "", record.epoch)
            if not epoch or await self._node.store.delete_session(session_id, epoch) is Written.REFUSED:
                return Reason.UNREACHABLE, False
        except StoreUnavailable:
            return Reason.UNREACHABLE, False
        return (Reason.EXPIRED if record.node_id == self._node.id else Reason.OWNER_LOST), True

    async def _read_id(self) -> jsonrpc.RequestId | None:
        """The JSON-RPC id, to answer that very request; None where it has none."""
        body = RememberedBody(self._receive, _REMEMBERED_BYTES)
        await body.read_rest()
        return jsonrpc.id_of(body.message())

    def _named(self) -> str:
        """The session for a log line: its beginning and its owner, and nothing that was not verified."""
        shard = None if self._facts.session_id is None else self._node.ids.shard_of(self._facts.session_id)
        if self._facts.session_id is None or shard is None:
            return "(no session id of this cluster)"
        owner = self._node.membership.view.owner_of(shard)
        return f"{brief(self._facts.session_id)} of {owner.node_id if owner else 'no known node'}"
