"""What a node decides of a request (`mooring.core.routing`), with what it knows at this moment."""

from __future__ import annotations

from dataclasses import replace

from mooring.core.model import NodeState
from mooring.core.request import RequestFacts
from mooring.core.routing import Consult, Decision, Situation, decide, decide_at_sight
from mooring.node.membership.session import LocalSession
from mooring.node.node import Node


class Decisions:
    """Those of one node."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def decide(self, facts: RequestFacts) -> Decision:
        """What to do with the request. One whose state is here is decided at sight."""
        decision: Decision | None = None
        if not self._node.keeper.has_lapsed or await self._node.keeper.regain():
            decision = decide_at_sight(
                facts, self._is_here(facts), is_moving=self._is_moving(facts), is_draining=self._is_draining
            )
        if decision is None:
            decision = decide(facts, self._situation(facts))
        return await self.decide_anew(facts) if isinstance(decision, Consult) else decision

    async def decide_anew(self, facts: RequestFacts) -> Decision:
        """The same with the view of this moment, as far as the store gives one."""
        if not await self._node.keeper.regain():
            return decide(facts, self._situation(facts))
        answered = await self._node.keeper.look()
        partial = not answered or self._node.keeper.is_in_grace
        return decide(facts, replace(self._situation(facts), consulted=True, store_is_partial=partial))

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
