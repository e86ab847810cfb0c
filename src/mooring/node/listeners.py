"""Whoever listens to a session's streams, while that goes: it ends here, sleeps, or goes to another node."""

from __future__ import annotations

import asyncio

from mooring.core.ids import SessionIds
from mooring.core.stream_ids import StreamKind
from mooring.node.carrying import Carrying
from mooring.node.membership.session import LocalSession
from mooring.node.membership.sessions import LocalSessions
from mooring.node.streams.memory import StreamMemory


class Listeners:
    """Those of one node.

    Attributes:
        come_elsewhere: the node is about to stop: who wants to listen is told to come again.
    """

    def __init__(self, sessions: LocalSessions, streams: StreamMemory, ids: SessionIds, carrying: Carrying) -> None:
        self._sessions = sessions
        self._streams = streams
        self._ids = ids
        self._carrying = carrying
        self.come_elsewhere = False
        sessions.when_gone = self._let_go
        sessions.when_fenced = self._let_sleepers_go
        sessions.listened_to = self._shards_listened_to

    async def forget_sleeper(self, session_id: str) -> None:
        """A session that slept here is gone, or another node's: whoever listens to it hears the end."""
        if self._sessions.find(session_id) is None:
            await asyncio.gather(*(stream.dismiss() for stream in self._streams.of(session_id)))
            self._streams.forget(session_id)

    async def end(self) -> None:
        """The node is about to stop: end the streams of clients that only listen, so that they listen elsewhere."""
        self.come_elsewhere = True
        await asyncio.gather(*(stream.dismiss() for stream in self._streams.standing()), return_exceptions=True)

    def _let_go(self, session: LocalSession) -> None:
        """Whoever listens hears the end. What was said is kept where the session may come back to this node."""
        session.ask_no_more()
        sleeps = session.ends_as == "hibernated"
        for stream in self._streams.of(session.id):
            if not (sleeps and stream.facts.kind is StreamKind.STANDING):
                self._sessions.run_errand(stream.dismiss())
        if sleeps or session.ends_as == "ended":
            self._streams.rest(session.id, but_listeners=sleeps)
        else:
            self._streams.forget(session.id)

    def _let_sleepers_go(self, shard: str) -> None:
        self._carrying.gave(shard)
        for session_id in self._streams.sessions():
            if self._sessions.find(session_id) is None and self._ids.shard_of(session_id) == shard:
                self._sessions.run_errand(self.forget_sleeper(session_id))

    def _shards_listened_to(self) -> set[str]:
        heard = {name for name in self._streams.sessions() if any(one.has_listener for one in self._streams.of(name))}
        return {shard for name in heard if (shard := self._ids.shard_of(name)) is not None}
