"""What a node decides of a request (`mooring.core.routing`), with what it knows at this moment."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Final

from mooring.core.model import NodeState
from mooring.core.request import RequestFacts
from mooring.core.routing import Consult, Decision, Reason, Refuse, Serve, Situation, decide, decide_at_sight
from mooring.node.membership.session import LocalSession
from mooring.node.node import Node

_AGAIN_SECONDS: Final = 0.1
"""Until it is decided again, where a session was not to be revived here after all, or a shard cannot be claimed."""


class Decisions:
    """Those of one node."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def decide(self, facts: RequestFacts) -> Decision:
        """What to do with the request. One whose state is here is decided at sight."""
        decision: Decision | None = None
        await self._settle_doubt(facts)
        if not self._node.keeper.has_lapsed or await self._node.keeper.regain():
            decision = self._at_sight(facts)
        if decision is None:
            decision = decide(facts, self._situation(facts))
        return await self.decide_anew(facts) if isinstance(decision, Consult) else decision

    def is_served_anywhere(self, facts: RequestFacts) -> bool:
        """Whether the request is served wherever it arrives, and so here, with nothing to look up."""
        return facts.is_free and self.serves_what_is_free

    @property
    def serves_what_is_free(self) -> bool:
        """Whether such requests are served here, wherever they may be."""
        return not self._node.keeper.has_lapsed and not self._is_draining

    def is_served_at_sight(self, facts: RequestFacts) -> bool:
        """Whether the request is served here with nobody asked, since what it names is here."""
        is_known = not self._node.keeper.has_lapsed and not self._node.membership.doubtful
        return is_known and isinstance(self._at_sight(facts), Serve)

    def _at_sight(self, facts: RequestFacts) -> Decision | None:
        return decide_at_sight(
            facts, self._is_here(facts), is_moving=self._is_moving(facts), is_draining=self._is_draining
        )

    async def decide_anew(self, facts: RequestFacts) -> Decision:
        """The same with the view of this moment, as far as the store gives one."""
        await self._settle_doubt(facts)
        if not await self._node.keeper.regain():
            return decide(facts, self._situation(facts))
        answered = await self._node.keeper.look()
        partial = not answered or self._node.keeper.is_in_grace
        return decide(facts, replace(self._situation(facts), consulted=True, store_is_partial=partial))

    async def _settle_doubt(self, facts: RequestFacts) -> None:
        """Have the store say whether the shard is a peer's by now, as it may be; while it is away, nobody takes it."""
        if self._node.membership.doubtful and self._node.shard_of(facts) in self._node.membership.doubtful:
            await self._node.keeper.beat()

    async def decide_again(self, facts: RequestFacts, give_up: float) -> Decision:
        """The same a moment later, where what was decided could not be done: refused, once it is too late.

        Args:
            give_up: until when the request may be held (`time.monotonic`).
        """
        await asyncio.sleep(_AGAIN_SECONDS)
        return await self.decide_anew(facts) if time.monotonic() < give_up else Refuse(Reason.UNREACHABLE)

    def find(self, facts: RequestFacts) -> LocalSession | None:
        """The session of a request, where it lives here."""
        return None if facts.session_id is None else self._node.sessions.find(facts.session_id)

    def _is_here(self, facts: RequestFacts) -> bool:
        if facts.placed_on is not None:
            return facts.placed_on in self._node.membership.shards
        if facts.handle is None:
            return self.find(facts) is not None
        handle = self._node.handles.read(facts.handle)
        return handle is not None and self._node.holds(handle)

    def _situation(self, facts: RequestFacts) -> Situation:
        return Situation(
            node_id=self._node.id,
            view=self._node.membership.view,
            takes_new=self._node.takes_new_sessions,
            session_here=self._is_here(facts),
            shard=self._node.shard_of(facts),
            store_is_filling=self._node.keeper.store_is_filling and not self._node.is_alone,
            has_lapsed=self._node.keeper.has_lapsed,
            helper=self._node.keeper.helper,
            has_left=self._node.membership.has_left,
            is_moving=self._is_moving(facts),
            is_draining=self._is_draining,
            sessions=len(self._node.sessions),
            capacity=self._node.settings.capacity,
        )

    @property
    def _is_draining(self) -> bool:
        return self._node.membership.state is NodeState.DRAINING

    def _is_moving(self, facts: RequestFacts) -> bool:
        return bool(self._node.membership.moving) and self._node.is_moving(self._node.shard_of(facts))
