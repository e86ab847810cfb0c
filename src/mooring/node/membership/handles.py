"""The handles that servers minted and whose state is in this process.

    what happens                             the handle                          its handlers are told
    ---------------------------------------  ----------------------------------  ---------------------
    a call with it, or from its tool         is in use                           -
    the author ends it                       is gone                             `deleted`
    no call for `handle_idle_seconds`        is gone, as `mooring.end` makes it   `ended`
    another node owns its shard              may go on there, if it survives     `fenced`
    its shard is given to a peer             the same                            `moved`
    the node stops                           as above                            nothing: the process ends with it

Nothing of it is in the store. Wrapped handles are not here: their server knows what they stand for.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from mooring.core.handles import Handle, brief
from mooring.node.membership.session import ClosedHandle, ClosedSession

logger = logging.getLogger("mooring.handles")


@dataclass(slots=True)
class LocalHandle:
    """
    Attributes:
        last_used: seconds since the epoch.
        in_use: how many calls with it are running.
    """

    handle: Handle
    principal: str
    last_used: float
    in_use: int = 0


class LocalHandles:
    """Those of one node.

    Args:
        tell: calls the handlers of `on_close`.
        run_errand: does what nobody waits for.
        now: seconds since the epoch.

    Attributes:
        owned: how many of them are some principal's.
    """

    def __init__(
        self,
        tell: Callable[[ClosedSession], Coroutine[Any, Any, None]],
        run_errand: Callable[[Coroutine[Any, Any, None]], None],
        now: Callable[[], float] = time.time,
    ) -> None:
        self.owned = 0
        self._handles: dict[str, LocalHandle] = {}
        self._tell = tell
        self._run_errand = run_errand
        self._now = now

    def __len__(self) -> int:
        return len(self._handles)

    def find(self, text: str) -> LocalHandle | None:
        return self._handles.get(text)

    def shards(self) -> set[str]:
        """Those that have a handle here."""
        return {local.handle.shard for local in self._handles.values()}

    def add(self, handle: Handle, principal: str) -> LocalHandle:
        """What it stands for is here from now on."""
        if handle.text not in self._handles:
            self._handles[handle.text] = LocalHandle(handle, principal, self._now())
            self.owned += handle.is_owned
        return self._handles[handle.text]

    @contextmanager
    def using(self, texts: list[str]) -> Iterator[None]:
        """A call with these handles runs: none of them gets idle."""
        in_use = [local for local in map(self._handles.get, texts) if local is not None]
        for local in in_use:
            local.in_use += 1
        try:
            yield
        finally:
            for local in in_use:
                local.in_use -= 1
                local.last_used = self._now()

    def end(self, text: str) -> bool:
        """Its author ends it. Returns whether it was here."""
        return self._end(text, "deleted")

    def end_idle(self, idle_seconds: float) -> None:
        """End those that no call has named for that long."""
        long_ago = self._now() - idle_seconds
        for text, local in list(self._handles.items()):
            if local.last_used < long_ago and not local.in_use:
                logger.info("handle %s is idle: it ends (handle_idle_seconds)", brief(text))
                self._end(text, "ended")

    def fence(self, shard: str) -> None:
        """Another node owns the shard."""
        lost = [text for text, local in self._handles.items() if local.handle.shard == shard]
        for text in lost:
            self._end(text, "fenced")
        if lost:
            logger.warning("shard %s has another owner: ended its %d handles here (lease_seconds)", shard, len(lost))

    def would_lose(self, shard: str) -> bool:
        """Whether something that a handle of it stands for is in this process alone."""
        return any(local.handle.shard == shard and not local.handle.survives for local in self._handles.values())

    def move_away(self, shard: str) -> None:
        """The shard is a peer's from now on."""
        moved = [local.handle for local in self._handles.values() if local.handle.shard == shard]
        for handle in moved:
            self._end(handle.text, "moved")
        gone = sum(not handle.survives for handle in moved)
        if gone:
            logger.warning("gave shard %s away: %d handles are gone with it, which do not survive", shard, gone)

    def _end(self, text: str, reason: str) -> bool:
        local = self._handles.pop(text, None)
        if local is None:
            return False
        self.owned -= local.handle.is_owned
        self._run_errand(self._tell(ClosedHandle(text, reason, local.principal, local.handle.kind)))
        return True
