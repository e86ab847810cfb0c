"""The handles that servers minted and whose state is in this process.

    what happens                             the handle                          its handlers are told
    ---------------------------------------  ----------------------------------  ---------------------
    a call with it, or from its tool         is in use                           -
    the author ends it                       is gone                             `deleted`
    no call for `handle_idle_seconds`        is gone, as `mooring.end` makes it   `ended`
    another node owns its shard              may go on there, if it survives     `fenced`
    its shard is given to a peer             the same                            `moved`
    the node stops                           as above                            nothing: the process ends with it

What `mooring.state` keeps of one is on record as a session's state is, under the handle; nothing else of it is in the
store. A handle with something on record survives. Wrapped handles are not here: their server knows what they stand for.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final

from mooring.core.handles import Handle, brief
from mooring.core.kept_state import NOTHING, KeptState
from mooring.core.model import SessionRecord
from mooring.node.clock import passing_time
from mooring.node.membership.session import ClosedHandle, ClosedSession, LocalSession

logger = logging.getLogger("mooring.handles")


_ERA: Final = "2026-07-28"
_LATELY_SECONDS: Final = 60.0
"""How long a handle that was ended is remembered: its record may be read before it is removed, and used after that."""


@dataclass(slots=True)
class LocalHandle:
    """
    Attributes:
        last_used: seconds since the epoch.
        in_use: how many calls with it are running.
        heard_by: how many streams of changes, which have no end of their own, name it.
        when_fenced: what those want to be told of, should another node own its shard.
        may_begin: it was minted in this process: nothing was ever kept of it elsewhere.
        kept: what is kept of it, as of a session, once anybody has asked for that.
    """

    handle: Handle
    principal: str
    last_used: float
    in_use: int = 0
    heard_by: int = 0
    when_fenced: list[Callable[[], None]] = field(default_factory=list)
    may_begin: bool = False
    kept: LocalSession | None = None

    @property
    def survives(self) -> bool:
        """Whether it goes on when this process is gone."""
        return self.handle.survives or self._is_on_record

    @property
    def is_in_doubt(self) -> bool:
        """Whether something else may be on record than what is kept."""
        return self.kept is not None and self.kept.state.is_in_doubt

    @property
    def _is_on_record(self) -> bool:
        return self.kept is not None and self.kept.state.kept not in (None, NOTHING)


class InUse:
    """A call with these handles, from `begin` to `end`, which does nothing where it never began.

    Args:
        listens: it is a stream of changes: nothing waits for its end.
    """

    __slots__ = ("_handles", "_listens", "_locals", "_texts", "_when_fenced")

    def __init__(
        self, handles: LocalHandles, texts: list[str], when_fenced: Callable[[], None], *, listens: bool
    ) -> None:
        self._handles = handles
        self._when_fenced = when_fenced
        self._listens = listens
        self._texts = texts
        self._locals: list[LocalHandle] = []

    def begin(self) -> None:
        """It runs, with those of them that are here."""
        self._locals = [local for local in map(self._handles.find, self._texts) if local is not None]
        for local in self._locals:
            self._count(local, 1)
            local.when_fenced.append(self._when_fenced)

    def end(self) -> None:
        """It is over."""
        for local in self._locals:
            self._count(local, -1)
            local.when_fenced.remove(self._when_fenced)
            self._handles.was_used(local)

    def _count(self, local: LocalHandle, change: int) -> None:
        if self._listens:
            local.heard_by += change
        else:
            local.in_use += change


class LocalHandles:
    """Those of one node.

    Args:
        tell: calls the handlers of `on_close`.
        run_errand: does what nobody waits for.
        remove: takes what is kept of one off the record, and `renew` lets that stay there as long as it may.
        now: seconds since the epoch.

    Attributes:
        kept: what is kept of them, by handle, for the record.
    """

    def __init__(
        self,
        tell: Callable[[ClosedSession], Coroutine[Any, Any, None]],
        run_errand: Callable[[Coroutine[Any, Any, None]], None],
        remove: Callable[[LocalSession], Coroutine[Any, Any, None]],
        renew: Callable[[LocalSession], Coroutine[Any, Any, None]],
        now: Callable[[], float] = passing_time,
    ) -> None:
        self.kept: dict[str, LocalSession] = {}
        self._remove = remove
        self._renew = renew
        self._handles: dict[str, LocalHandle] = {}
        # Those that their author ended lately, and when; the oldest first.
        self._ended: dict[str, float] = {}
        self._tell = tell
        self._run_errand = run_errand
        self._now = now

    def __len__(self) -> int:
        return len(self._handles)

    def find(self, text: str) -> LocalHandle | None:
        return self._handles.get(text)

    def has_ended(self, text: str) -> bool:
        """Whether its author ended it here a moment ago."""
        return text in self._ended

    def shards(self) -> set[str]:
        """Those that have a handle here."""
        return {local.handle.shard for local in self._handles.values()}

    def add(
        self, handle: Handle, principal: str, kept: LocalSession | None = None, *, may_begin: bool = False
    ) -> LocalHandle:
        """What it stands for is here from now on.

        Args:
            kept: what is on record of it. Where it is here already, what is here counts.
            may_begin: it is new.
        """
        if handle.text not in self._handles:
            self._handles[handle.text] = LocalHandle(handle, principal, self._now(), may_begin=may_begin)
        local = self._handles[handle.text]
        if local.kept is None and kept is not None:
            kept.principal = principal
            local.kept = self.kept[handle.text] = kept
        return local

    def keep(self, text: str, epoch: int, most_bytes: int) -> LocalSession | None:
        """What is kept of a handle that is here, from now on if nothing was; None where nothing can be.

        Args:
            epoch: at which its shard is held.
            most_bytes: that it may have.
        """
        local = self._handles.get(text)
        if local is None or (local.kept is None and not local.may_begin):
            return None
        if local.kept is None:
            kept = _session_of(local.handle, local.principal, self._now(), epoch)
            kept.state = KeptState(most_bytes=most_bytes)
            local.kept = self.kept[text] = kept
        self.was_used(local)
        return local.kept

    def kept_in(self, shard: str) -> list[LocalSession]:
        """What is kept of the handles of a shard."""
        return [kept for kept in self.kept.values() if kept.shard == shard]

    def using(
        self, texts: list[str], when_fenced: Callable[[], None] = lambda: None, *, listens: bool = False
    ) -> InUse:
        """While a call with these handles runs, none of them gets idle, and it is told should another node own one."""
        return InUse(self, texts, when_fenced, listens=listens)

    def was_used(self, local: LocalHandle) -> None:
        """A call with it was there a moment ago."""
        local.last_used = self._now()
        if local.kept is not None:
            local.kept.last_seen = local.last_used

    def end(self, text: str) -> bool:
        """Its author ends it. Returns whether it was here."""
        if text in self._handles:
            self._ended[text] = self._now()
        return self._end(text, "deleted")

    def end_idle(self, idle_seconds: float) -> None:
        """End those that no call has named for that long."""
        long_ago = self._now() - idle_seconds
        for text, local in list(self._handles.items()):
            is_used = local.in_use or local.heard_by or local.is_in_doubt
            if local.last_used < long_ago and not is_used:
                logger.info("handle %s is idle: it ends (handle_idle_seconds)", brief(text))
                self._end(text, "ended")
        while self._ended and next(iter(self._ended.values())) < self._now() - _LATELY_SECONDS:
            del self._ended[next(iter(self._ended))]

    def fence(self, shard: str) -> None:
        """Another node owns the shard."""
        lost = [text for text, local in self._handles.items() if local.handle.shard == shard]
        for text in lost:
            for cut_off in tuple(self._handles[text].when_fenced):
                cut_off()
            self._end(text, "fenced")
        if lost:
            logger.warning("shard %s has another owner: ended its %d handles here (lease_seconds)", shard, len(lost))

    def cut_off(self, shard: str) -> None:
        """The shard is about to be a peer's: nothing runs any more with what goes on there, nor listens to it here."""
        for local in tuple(self._handles.values()):
            if local.handle.shard == shard and local.survives:
                for cut_off in tuple(local.when_fenced):
                    cut_off()

    def are_in_use(self, shard: str, *, elsewhere: bool = False) -> bool:
        """Whether a call with one of them runs.

        Args:
            elsewhere: with one that goes on at another node.
        """
        used = (local for local in self._handles.values() if local.in_use and local.handle.shard == shard)
        return any(local.survives or not elsewhere for local in used)

    def would_lose(self, shard: str) -> bool:
        """Whether something that a handle of it stands for is in this process alone."""
        return any(local.handle.shard == shard and not local.survives for local in self._handles.values())

    def move_away(self, shard: str) -> None:
        """The shard is a peer's from now on."""
        moved = [local for local in self._handles.values() if local.handle.shard == shard]
        gone = sum(not local.survives for local in moved)
        for local in moved:
            self._end(local.handle.text, "moved")
        if gone:
            logger.warning("gave shard %s away: %d handles are gone with it, which do not survive", shard, gone)

    def _end(self, text: str, reason: str) -> bool:
        local = self._handles.pop(text, None)
        if local is None:
            return False
        if local.kept is not None:
            self._let_go(local.kept, reason)
        self._run_errand(self._tell(ClosedHandle(text, reason, local.principal, local.handle.kind)))
        return True

    def _let_go(self, kept: LocalSession, reason: str) -> None:
        del self.kept[kept.id]
        kept.ends_as = reason
        if reason == "deleted":
            kept.is_closed = True
            self._run_errand(self._remove(kept))
        elif reason == "ended":
            self._run_errand(self._renew(kept))


def kept_on_record(handle: Handle, record: SessionRecord, epoch: int, state: KeptState) -> LocalSession:
    """What another process, or this one, has kept of a handle.

    Args:
        epoch: at which its shard is held by now.
    """
    kept = _session_of(handle, record.principal, record.created, epoch)
    kept.state = state
    return kept


def _session_of(handle: Handle, principal: str, created: float, epoch: int) -> LocalSession:
    """On record a handle is like a session that nobody opens again."""
    now = passing_time()
    return LocalSession(
        id=handle.text,
        shard=handle.shard,
        inner_id=handle.text,
        created=created,
        last_seen=now,
        touched=now,
        principal=principal,
        protocol=_ERA,
        client="",
        initialize=b"",
        epoch=epoch,
    )
