"""Where FastMCP keeps what a tool sets with `ctx.set_state`: with the state of its session.

    asked for                                              is
    -----------------------------------------------------  ------------------------------------------------------------
    in a call on a session, under that session's key       in the session's state: on record with the call's answer
    under any other key: a user's, or a handle's           in memory, on this node, as FastMCP does it by itself
    on an HTTP+SSE stream                                  the same: its session lives here, and is as long as that
    where there is no such call                            the same; calls find it there, as long as none sets it anew

FastMCP is never imported: it takes whatever has these methods (`key_value.aio.protocols.AsyncKeyValue`).
"""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, SupportsFloat

from mooring.node.current import what_is_served
from mooring.node.current_call import use_now

logger = logging.getLogger("mooring.sessions")

_PART: Final = "fastmcp"
_OF_OTHERS: Final = ("user:", "session:", "process:")
"""What the keys begin with that are no session's, in FastMCP 4."""
_SAME: Final = 0.9
"""A value that is set again as it was is written only once a tenth of its time has passed."""
_MOST_LASTING: Final = 100_000
_MOST_FLEETING: Final = 10_000
"""Of what is kept elsewhere under no user's name, and no handle's: FastMCP makes a session up for each request of
revision 2026-07-28, and nobody asks for what was set in it."""

_SWEEP_SECONDS: Final = 10.0

Entry = list[Any]
"""A value, and when it ends, in seconds since the epoch; None: with its session."""


class SessionStateStore:
    """Give it to `FastMCP(session_state_store=...)`. `mooring serve` and `mooring up` do so by themselves, for a server
    that was given none.

    Args:
        of: tells servers apart that keep state of the same session, as those that are mounted into one; the same on
            every node.
        now: seconds since the epoch.
    """

    def __init__(self, of: str = "", *, now: Callable[[], float] = time.time) -> None:
        self._of = of
        self._now = now
        # What is no session's or of one of HTTP+SSE, and what single requests set; that which was used last at the end.
        self._lasting: dict[str, Entry] = {}
        self._fleeting: dict[str, Entry] = {}
        # When those of them are let go whose time is over.
        self._sweep_at = 0.0
        self._has_warned = False

    async def get(self, key: str, *, collection: str | None = None) -> dict[str, Any] | None:
        return (await self.ttl(key, collection=collection))[0]

    async def ttl(self, key: str, *, collection: str | None = None) -> tuple[dict[str, Any] | None, float | None]:
        entry = self._find(self._named(key, collection))
        if entry is None:
            return None, None
        value, end = entry
        return copy.deepcopy(value), None if end is None else end - self._now()

    async def put(
        self, key: str, value: Mapping[str, Any], *, collection: str | None = None, ttl: SupportsFloat | None = None
    ) -> None:
        name, now = self._named(key, collection), self._now()
        end = None if ttl is None else now + float(ttl)
        entries, name = self._entries(name)
        before = entries.get(name)
        if before is not None and _is_same(before[0], dict(value)) and _is_near(before[1], end, now):
            return
        if entries is not self._lasting and entries is not self._fleeting:
            _let_go_of_old(entries, now)
        elif self._sweep_at <= now:  # now and then: there may be a hundred thousand
            self._sweep_at = now + _SWEEP_SECONDS
            _let_go_of_old(self._lasting, now)
            _let_go_of_old(self._fleeting, now)
        entries.pop(name, None)
        entries[name] = [copy.deepcopy(dict(value)), end]
        if entries is self._fleeting and len(entries) > _MOST_FLEETING:
            del entries[next(iter(entries))]
        if entries is self._lasting and len(entries) > _MOST_LASTING:
            self._let_go_of_one()

    async def delete(self, key: str, *, collection: str | None = None) -> bool:
        name = self._named(key, collection)
        is_there = self._find(name) is not None
        self._elsewhere(name).pop(name, None)
        if is_there:
            entries, name = self._entries(name)
            entries.pop(name, None)
        return is_there

    async def get_many(self, keys: Sequence[str], *, collection: str | None = None) -> list[dict[str, Any] | None]:
        return [await self.get(key, collection=collection) for key in keys]

    async def ttl_many(
        self, keys: Sequence[str], *, collection: str | None = None
    ) -> list[tuple[dict[str, Any] | None, float | None]]:
        return [await self.ttl(key, collection=collection) for key in keys]

    async def put_many(
        self,
        keys: Sequence[str],
        values: Sequence[Mapping[str, Any]],
        *,
        collection: str | None = None,
        ttl: SupportsFloat | None = None,
    ) -> None:
        for key, value in zip(keys, values, strict=True):
            await self.put(key, value, collection=collection, ttl=ttl)

    async def delete_many(self, keys: Sequence[str], *, collection: str | None = None) -> int:
        return sum([await self.delete(key, collection=collection) for key in keys])

    def _named(self, key: str, collection: str | None) -> str:
        return f"{key}\n{collection or ''}\n{self._of}".rstrip("\n")

    def _entries(self, name: str) -> tuple[dict[str, Entry], str]:
        """Where this is to be kept, and as what."""
        use, own = use_now(), _in_session(name)
        return (self._elsewhere(name), name) if use is None or own is None else (use.part(_PART), own)

    def _elsewhere(self, name: str) -> dict[str, Entry]:
        """Where it is, or is to be."""
        lasts = _in_session(name) is None or name in self._lasting or _is_on_stream()
        return self._lasting if lasts and name not in self._fleeting else self._fleeting

    def _let_go_of_one(self) -> None:
        del self._lasting[next(iter(self._lasting))]
        if not self._has_warned:
            self._has_warned = True
            logger.warning(
                "FastMCP keeps state of more than %s users and sessions in the memory of this node: those that were "
                "not used for the longest time are gone; give it a store (session_state_store)",
                f"{_MOST_LASTING:,}",
            )

    def _find(self, name: str) -> Entry | None:
        use, own = use_now(), _in_session(name)
        found = None if use is None or own is None else use.peek(_PART).get(own)
        if not found:
            entries = self._elsewhere(name)
            found = entries.pop(name, None)
            if found is not None:
                entries[name] = found  # it is used now
        if found is not None and found[1] is not None and found[1] <= self._now():
            return None
        return found


def keep_state_of(server: Any, of: str = "") -> None:
    """A FastMCP server that was given no store of its own keeps its sessions' state with ours; so do those that are
    mounted into it by now.

    Args:
        of: the place where it is mounted.
    """
    if getattr(server, "_state_storage", _NO_FASTMCP) is None:
        server._state_storage = SessionStateStore(of)
    for n, provider in enumerate(getattr(server, "providers", ())):
        while hasattr(provider, "_inner"):  # with a namespace, it is wrapped
            provider = provider._inner
        mounted = getattr(provider, "server", server)
        if mounted is not server:
            keep_state_of(mounted, f"{of}/{n}")


_NO_FASTMCP: Final = object()


def _in_session(name: str) -> str | None:
    """The name without the session's id, which the app may give it anew; None where it is no session's."""
    prefix, colon, rest = name.partition(":")
    return None if not colon or f"{prefix}:" in _OF_OTHERS else rest


def _is_on_stream() -> bool:
    """Whether a session of HTTP+SSE asks: its tools run where its stream was opened, or where they were asked for."""
    serving = what_is_served()
    if serving is None or serving.session_id is None:
        return False
    return serving.scope.get("method") == "GET" or serving.node.sessions.find(serving.session_id) is not None


def _let_go_of_old(entries: dict[str, Entry], now: float) -> None:
    for old in [old for old, entry in entries.items() if entry[1] is not None and entry[1] <= now]:
        del entries[old]


def _is_same(before: dict[str, Any], value: dict[str, Any]) -> bool:
    """Python takes `True` for 1 and 1.0, however deep inside; JSON does not."""
    return before == value and repr(before) == repr(value)


def _is_near(before: float | None, end: float | None, now: float) -> bool:
    if before is None or end is None:
        return before is end
    return before - now >= _SAME * (end - now)
