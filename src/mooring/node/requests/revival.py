"""Bringing a session back on this node: its `initialize` is replayed into the app, under the same public id.

    one step                                           what may come of it
    -------------------------------------------------  ----------------------------------------------------------------
    wait until `on_close` has heard of its last life   it takes too long: the session goes on, and it is logged
    make sure that its shard is ours, raise the epoch  another node owns it: it is decided again where the request goes
    of its record, and read the record after that      none: it is gone
    read what its server kept of it                    the store is away: the client tries again
    replay `initialize`, in the name of whoever sent   the app turns that one away (401, ...): so do we, and the next
    the request that woke it                           request tries again, as where it fails. If it refuses: it
                                                       cannot be revived
    compare whom the app found to ask                  not the session's principal: answered as unknown
    compare the revision that it speaks                not what the client was told: it cannot be revived
    let its last life here, if it is at work, write    the same as above; before that it may, since nothing may come of
    no more, and read again                            the revival
    `initialized`, its GET, log level, subscriptions   a failure is logged, and the session goes on without; where
                                                       the app takes long, it goes on, and that is told beside it
    tell the author (`on_revive`)                      the same
    make sure that the shard was ours all the time,    it was not, or the record was removed: the app's session is
    and write the record                               ended again, and it is decided again

Until the record is to be written nobody can use the session, and nothing of it was read to whoever woke it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Final

from mooring.asgi import App, Scope, Send, is_at, route_of, without, written
from mooring.core import jsonrpc
from mooring.core.ids import brief
from mooring.core.kept_state import KeptState
from mooring.core.model import SessionRecord
from mooring.core.request import SESSION_HEADER
from mooring.core.routing import CONSULT, Consult, Reason
from mooring.node.clock import passing_time
from mooring.node.current import Serving
from mooring.node.membership import inner_ids
from mooring.node.membership.session import LocalSession, RevivedSession
from mooring.node.node import Node
from mooring.node.requests.admission import (
    end_nobodys_listening,
    is_below,
    is_elsewhere,
    note_refusal,
    refuse_elsewhere,
)
from mooring.node.requests.answers import SAY_NOTHING_OF_A_SESSION
from mooring.node.requests.ending import end_in_app
from mooring.node.requests.inner import InnerAnswer, ask, scope_for
from mooring.node.requests.opening import move_in, protocol_of
from mooring.node.requests.principal import NOBODY, principal_of
from mooring.node.requests.telling import Telling

logger = logging.getLogger("mooring.sessions")

_SAID_LENGTH: Final = 200
_HEARS_WARNINGS: Final = frozenset({"debug", "info", "notice", "warning"})
"""Levels that a client may have asked for (specification 2025-11-25, Logging)."""
_MEMORY_IS_GONE: Final = (
    "This session goes on in a new place. What the server kept for it in memory is gone, unless the server restored it."
)


class Revival:
    """Of one session, for the request that wakes it."""

    def __init__(self, node: Node, app: App, session_id: str, scope: Scope, send: Send) -> None:
        self._node = node
        self._app = app
        self._id = session_id
        self._scope = scope
        self._send = send
        # Who the app found to ask: as the SDK says before it serves, or else as the scope does.
        self._principal = NOBODY
        self._is_guarded = False
        # The scope of what is sent to the app; and the app's own name for the session, once it has given one.
        self._asked: Scope = scope
        self._inner_id: str | None = None
        # Once the app has opened it.
        self._session: LocalSession | None = None

    async def carry_out(
        self, reason: Reason, tell: Callable[[RevivedSession], Awaitable[None]]
    ) -> LocalSession | Reason | Consult | None:
        began = time.monotonic()
        record, epoch = await self._take()
        if not epoch:
            return CONSULT
        if record is None:
            return reason
        if is_elsewhere(self._node, self._scope, record):
            await refuse_elsewhere(
                self._node, self._send, self._id, record.endpoint, self._node.endpoint_of(self._scope)
            )
            return None
        if not self._may_be_revived(record):
            return reason
        self._asked = scope_for(_at_endpoint(self._scope, record.endpoint))
        try:
            kept, version = await self._node.store.journal.load_state(self._id)
            session = await self._replay(record, epoch, reason)
            if not isinstance(session, LocalSession):
                return session
            if await self._node.sessions.supersede(self._id):  # what a call of its last life has changed meanwhile
                kept, version = await self._node.store.journal.load_state(self._id)
            session.state = KeptState(kept, self._node.settings.state_bytes, version)
            await Telling(self._node, self._app, session, self._asked).begin()
            if session.principal != record.principal:  # it was nobody's, and so is whoever listens to it here
                self._node.sessions.run_errand(end_nobodys_listening(self._node, session))
            was_given = self._node.membership.was_given(session.shard)
            found = await self._node.carrying.find(session, was_given=was_given)
            await tell(await self._loaded(session, record, found))
            if not await self._moves_in(session):
                return CONSULT
            if found is not None:
                await self._node.carrying.moved_in(session)
        except BaseException:
            if self._node.sessions.find(self._id) is None:
                if self._session is not None:
                    self._session.ask_no_more()
                self._node.sessions.abandon(self._end)
            raise
        self._node.tally.revived += 1
        logger.log(
            logging.INFO if self._node.membership.was_given(session.shard) else logging.WARNING,
            "revived session %s of node %s in %.0f ms: its incarnation %d",
            brief(self._id),
            record.node_id,
            1000 * (time.monotonic() - began),
            session.incarnation,
        )
        return session

    async def _loaded(self, session: LocalSession, record: SessionRecord, found: bytes | None) -> RevivedSession:
        """What its author hears of it, once what was found on record of its last life is loaded."""
        revived = RevivedSession(self._id, session.principal, session.incarnation, record.node_id, record.last_seen)
        is_loaded = found is not None and await self._node.carrying.load(revived, found)
        is_told = session.log_level in _HEARS_WARNINGS and self._node.settings.hibernate_seconds is None
        if session.standing is not None and is_told and not is_loaded:
            warning = session.standing.warn(_MEMORY_IS_GONE)
            if session.standing.stream is None:  # the app takes its time
                self._node.sessions.keep_working(asyncio.create_task(warning))
            else:
                await warning
        return replace(revived, is_loaded=is_loaded)

    async def _moves_in(self, session: LocalSession) -> bool:
        """Whether the session may live here. If not it is fenced: the handlers were told of it."""
        is_ours = await self._node.may_open(session.shard)
        is_still_so = self._node.membership.shards.get(session.shard, session.epoch) == session.epoch
        if is_ours and is_still_so and await self._node.sessions.open(session):
            return True
        self._node.sessions.fence_one(session)
        return False

    async def _take(self) -> tuple[SessionRecord | None, int]:
        """The record as its last owner left it, whom it refuses from now on; and our epoch, 0 where it is not ours.

        Raises:
            StoreUnavailable: nobody knows.
        """
        shard = self._node.ids.shard_of(self._id)
        if shard is None:
            return None, 1
        return await self._node.keeper.adoption.take(self._id, shard, self._node.settings.session_ttl_seconds)

    def _may_be_revived(self, record: SessionRecord) -> bool:
        endpoint = record.endpoint or self._node.endpoint_of(self._scope)
        is_there = endpoint is not None and is_below(route_of(self._scope), endpoint)
        return bool(record.initialize) and is_there and self._node.settings.revives(endpoint or "")

    async def _note_principal(self, scope: Scope, send: Send) -> bool:
        self._principal, self._is_guarded = principal_of(scope), True
        return True

    def _note_user(self, scope: Scope) -> None:
        if not self._is_guarded:
            self._principal = principal_of(scope)

    async def _replay(self, record: SessionRecord, epoch: int, reason: Reason) -> LocalSession | Reason | None:
        inner_ids.on_end(self._id, self._node.session_ended)
        inner_ids.guard(self._id, self._note_principal)
        scope = {**self._asked}
        with (
            Serving(self._node, scope, self._id),
            inner_ids.minting(self._id) if inner_ids.may_mint_again(self._id) else nullcontext(),
        ):
            keep = self._node.sessions.keep_working
            answer = await ask(self._app, scope, _agreed(record), keep, when_begun=self._note_user)
        self._inner_id = answer.session_id
        if not answer.is_good or answer.message is None or self._inner_id is None:
            await self._end()
            return await self._give_up(answer, reason)
        if self._principal != record.principal != NOBODY:
            await self._end()
            note_refusal(self._node, self._id)
            return Reason.PRINCIPAL
        if record.protocol and protocol_of(answer.message) != record.protocol:
            await self._end()
            self._warn(
                "session %s was not revived: its client speaks revision %s by what was agreed on, and the app answers "
                "with %r; let a release speak what the one before it did",
                brief(self._id),
                record.protocol,
                protocol_of(answer.message),
            )
            return reason
        return self._of(record, epoch, self._inner_id, answer.message)

    def _of(self, record: SessionRecord, epoch: int, inner_id: str, result: jsonrpc.Message) -> LocalSession:
        now = passing_time()
        if record.node_id != self._node.id:  # what is known of its streams here is older than what is on record
            self._node.streams.forget(self._id)
        session = self._session = LocalSession(
            id=self._id,
            shard=self._node.ids.shard_of(self._id) or "",
            inner_id=inner_id,
            created=record.created,
            last_seen=now,
            touched=now,
            principal=self._principal,
            protocol=protocol_of(result),
            client=record.client,
            initialize=record.initialize,
            epoch=epoch,
            endpoint=record.endpoint or self._node.found_endpoint(route_of(self._scope)),
            incarnation=record.incarnation + 1,
            log_level=record.log_level,
            subscriptions=dict.fromkeys(record.subscriptions),
            has_stream=record.has_stream,
            homes=record.homes,
            since=now,
        )
        self._node.found_endpoint(session.endpoint)
        move_in(self._node, self._app, session, self._asked, self._principal if self._is_guarded else None)
        return session

    async def _give_up(self, answer: InnerAnswer, reason: Reason) -> Reason | None:
        """The app did not open it again. What it says to anybody, it says to this client."""
        said = jsonrpc.text_in(answer.message or {}, "error", "message")[:_SAID_LENGTH]
        self._warn(
            "session %s was not revived: the app answers its initialize with %s %r; see its log",
            brief(self._id),
            answer.status,
            said,
        )
        if answer.status in SAY_NOTHING_OF_A_SESSION and answer.status != 429:
            headers = without(answer.headers, SESSION_HEADER, b"content-length")
            headers.append((b"content-length", b"%d" % len(answer.body)))
            await self._send({"type": "http.response.start", "status": answer.status, "headers": headers})
            await self._send({"type": "http.response.body", "body": bytes(answer.body), "more_body": False})
            return None
        is_passing = answer.status in (0, 429) or answer.status >= 500 or _failed_inside(answer) or _broke_off(answer)
        return Reason.NOT_REVIVED if is_passing else reason

    async def _end(self) -> None:
        """Have the app end what it may have opened."""
        if not await inner_ids.end(self._id) and self._inner_id is not None:
            await end_in_app(self._app, self._asked, self._inner_id)

    def _warn(self, text: str, *values: object) -> None:
        """It may be so with each session of a node that died."""
        self._node.log_once.few(logger, logging.WARNING, text, *values)


def _at_endpoint(scope: Scope, endpoint: str) -> Scope:
    """The scope at the endpoint itself, where the request was for something of the app's below it."""
    if not endpoint or is_at(scope, endpoint):
        return scope
    path = scope["path"].removesuffix(route_of(scope)) + endpoint
    return {**scope, "path": path, "raw_path": written(path.encode()), "query_string": b""}


def _agreed(record: SessionRecord) -> bytes:
    """Its `initialize`, for the revision that was agreed on: another release of the server may speak more, or fewer."""
    initialize = jsonrpc.read_message(record.initialize) if record.protocol else None
    if initialize is None or jsonrpc.text_in(initialize, "params", "protocolVersion") in ("", record.protocol):
        return record.initialize
    return json.dumps({**initialize, "params": {**initialize["params"], "protocolVersion": record.protocol}}).encode()


def _failed_inside(answer: InnerAnswer) -> bool:
    """Whether the app says that it failed, and not that it does not want to."""
    error = (answer.message or {}).get("error")
    return isinstance(error, dict) and error.get("code") == jsonrpc.INTERNAL_ERROR


def _broke_off(answer: InnerAnswer) -> bool:
    """Whether the app began to answer and said nothing, as where its server ends all event streams since it stops."""
    return answer.status < 300 and answer.message is None and not answer.body
