"""What each server under test remembers of a session, in the memory of one process.

A request that reaches another process than its session's finds none of it: that is what makes a misrouted
request visible to the client.
"""

from dataclasses import dataclass, field


@dataclass
class Session:
    """One client's state, keyed by the session id that the SDK gave to it."""

    count: int = 0
    log_level: str = "unset"
    subscriptions: set[str] = field(default_factory=set)

    def next_count(self) -> int:
        self.count += 1
        return self.count


class Sessions:
    def __init__(self) -> None:
        self._by_id: dict[str, Session] = {}

    def of(self, session_id: str | None) -> Session:
        """The session's state; requests without a session share one."""
        return self._by_id.setdefault(session_id or "", Session())
