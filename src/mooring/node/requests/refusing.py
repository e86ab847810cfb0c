"""A request that Mooring refuses, with the reason in its answer and in the log.

Nothing is said to be gone before its record is. Whoever holds the shard of a session that is gone removes its record,
at the next request of the session's principal, or of anybody where it is nobody's:

    who asks                        is answered                        the record
    ------------------------------  ---------------------------------  ----------
    its principal                   404 and why, a DELETE 200          is removed
    another, or nobody              404, as if there never was one     stays
    anybody, at another endpoint    the same                           stays
    whoever the app turns away      what the app says: 401, 403, ...   stays
"""

from __future__ import annotations

import logging
from functools import partial
from typing import Final

from mooring.asgi import App, Receive, Scope, Send, respond
from mooring.core import jsonrpc
from mooring.core.ids import brief
from mooring.core.model import SessionRecord, Written
from mooring.core.request import RequestFacts
from mooring.core.routing import Reason
from mooring.errors import StoreUnavailable
from mooring.node.node import Node
from mooring.node.requests.admission import is_elsewhere, note_refusal, refuse_elsewhere
from mooring.node.requests.answers import MAY_WORK_SOON, advice_on, refuse
from mooring.node.requests.bodies import RememberedBody
from mooring.node.requests.identifying import UnidentifiedRequest
from mooring.node.requests.patience import patiently
from mooring.node.requests.principal import NOBODY, principal_of

logger = logging.getLogger("mooring.routing")

_FOR_ONE_REQUEST: Final = MAY_WORK_SOON | {Reason.OUTCOME_UNKNOWN}
"""The answer is to that very request, and so has its id."""

_REMEMBERED_BYTES: Final = 64 * 1024
"""Enough to read a request's id from; of a larger one it is looked for at either end."""
_READ_BYTES: Final = 64 * 1024 * 1024


class RefusedRequest:
    """One such request."""

    def __init__(self, node: Node, app: App, facts: RequestFacts, scope: Scope, receive: Receive, send: Send) -> None:
        self._node = node
        self._app = app
        self._facts = facts
        self._scope = scope
        self._receive = receive
        self._send = send

    async def refuse(self, reason: Reason) -> None:
        """Answer the refusal and log it."""
        session_id = self._facts.session_id
        if session_id is None or reason not in (Reason.EXPIRED, Reason.UNKNOWN):
            await self._answer(reason)
        elif self._node.sessions.has_ended(session_id):
            await self._answer(Reason.EXPIRED)
        else:
            try:
                record = await patiently(self._node, partial(self._node.store.load_session, session_id))
            except StoreUnavailable:
                await self._answer(Reason.UNREACHABLE)
            else:
                await (self._answer(reason) if record is None else self._refuse_recorded(record))

    async def _refuse_recorded(self, record: SessionRecord) -> None:
        """The session is gone, and its record is not: only its principal is told so, at its own endpoint."""
        if not self._facts.in_query and is_elsewhere(self._node, self._scope, record):
            asked_at = self._node.endpoint_of(self._scope)
            await refuse_elsewhere(self._node, self._send, record.id, record.endpoint, asked_at)
            return
        is_its_principals: bool | None = record.principal in (NOBODY, principal_of(self._scope))
        if not is_its_principals:
            asked = UnidentifiedRequest(self._scope, self._send, record.principal)
            is_its_principals = await asked.identify(self._app)
        if is_its_principals:
            await self._end(record)
        elif is_its_principals is not None:
            note_refusal(self._node, record.id)
            await refuse(self._send, Reason.PRINCIPAL)

    async def _end(self, record: SessionRecord) -> None:
        """Remove the record and say so.

        Whoever holds the shard removes it: without its transport, which was here or on a node that is dead, the session
        is gone for good. Where the store does not answer, nobody knows.
        """
        try:
            written = await patiently(self._node, partial(self._remove, record))
            if written is Written.REFUSED:
                await self._answer(Reason.UNREACHABLE)
                return
            await self._node.listeners.forget_sleeper(record.id)
        except StoreUnavailable:
            await self._answer(Reason.UNREACHABLE)
            return
        if self._facts.method == "DELETE":
            # Gone already as well: it was on record, and an answer that was lost on its way is asked for again.
            self._node.sessions.tell_deleted(record.id, record.principal)
            await respond(self._send, 200, b"")
        else:
            await self._answer(Reason.EXPIRED if record.node_id == self._node.id else Reason.OWNER_LOST)

    async def _remove(self, record: SessionRecord) -> Written:
        epoch = await self._node.keeper.adoption.hold_for(record, self._node.ids.shard_of(record.id) or "")
        return await self._node.store.delete_session(record.id, epoch) if epoch else Written.REFUSED

    async def _answer(self, reason: Reason) -> None:
        self._node.tally.refused[reason] += 1
        logger.warning("refused %s %s: %s%s", self._facts.method, self._named(), reason, advice_on(reason))
        request_id = await asked_by_refused(self._receive) if reason in _FOR_ONE_REQUEST else None
        await refuse(
            self._send,
            reason,
            method=self._facts.method,
            request_id=request_id,
            is_posted=self._facts.in_query,
            headers=self._scope["headers"],
        )

    def _named(self) -> str:
        """The session for a log line: its beginning and its owner, and nothing that was not verified."""
        shard = None if self._facts.session_id is None else self._node.ids.shard_of(self._facts.session_id)
        if self._facts.session_id is None or shard is None:
            return "(no session id of this cluster)"
        owner = self._node.membership.view.owner_of(shard)
        return f"{brief(self._facts.session_id)} of {owner.node_id if owner else 'no known node'}"


async def asked_by_refused(receive: Receive) -> jsonrpc.Asked:
    """The JSON-RPC id, to answer that very request, or those of a batch; None where it has none.

    Args:
        receive: the request, from its beginning.
    """
    body = RememberedBody(receive, _REMEMBERED_BYTES)
    await body.read_rest(_READ_BYTES)
    return body.asked_at_either_end()


async def id_of_refused(receive: Receive) -> jsonrpc.RequestId | None:
    """The same of one that is no batch."""
    asked = await asked_by_refused(receive)
    return None if isinstance(asked, tuple) else asked
