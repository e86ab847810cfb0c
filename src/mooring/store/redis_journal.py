"""The journal in Redis or Valkey; what is in it is sealed (`mooring.core.sealing`).

    <session>:log      stream   of each entry: s its stream, e epoch, n number, t the bytes added before it, d data
    <session>:calls    hash     of each stream: c what is known of the call, b its body, o its outcome
    <session>:state    string
    <session>:carried  string

What does not open is told of once, and counts for nothing: it was written by somebody else, or sealed with a secret
that is not known here any more. In a log it stands as an entry that cannot be sent again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final

from mooring.core.ids import brief
from mooring.core.model import Written
from mooring.core.sealing import Seals
from mooring.errors import Fenced
from mooring.store.codec import complain, pairs
from mooring.store.journal import (
    CALLS,
    LOG_BYTES,
    LOG_ENTRIES,
    Call,
    Calls,
    Entries,
    LogEntry,
    SettledCall,
    StateChange,
)
from mooring.store.keys import Keys
from mooring.store.lane import Command, Lane, Script, script
from mooring.store.sealed import seal, unseal

_TOGETHER: Final = 100
"""Entries or calls that one script writes: more go in several, so that none holds Redis up."""
_NO_STATE: Final = b"{}"
_STATE: Final = re.compile(rb"[0-9]{1,16} ([0-9]{1,16}) (.*)", re.DOTALL)
"""As commit.lua writes it."""
_LAST: Final = 1
_LOST: Final = 2


class RedisJournal:
    """
    Args:
        lane: the way to Redis of all that there may be thousands of.
    """

    def __init__(self, lane: Lane, keys: Keys, seals: Seals) -> None:
        self._lane = lane
        self._keys = keys
        self._seals = seals

    async def append(self, session_id: str, epoch: int, entries: Collection[LogEntry], ttl_seconds: float) -> Written:
        writes = [Entries(session_id, epoch, entries)]
        return (await self.append_all(writes, ttl_seconds)).get(session_id, Written.DONE)

    async def append_all(self, writes: Iterable[Entries], ttl_seconds: float) -> Mapping[str, Written]:
        bounds = [_ms(ttl_seconds), LOG_ENTRIES, LOG_BYTES]
        commands = (
            (w.session_id, _script("append").on(self._log_keys(w.session_id), [w.epoch, *bounds, *fields]))
            for w in writes
            for fields in _together(self._entry_fields(w.session_id, entry) for entry in w.entries)
        )
        return await self._lane.write_all("adding to the log of a session", commands)

    async def read(self, session_id: str, stream: str) -> list[LogEntry]:
        command = _script("read").on([self._keys.log(session_id)], [stream])
        answer = await self._lane.ask("reading the log of a session", command)
        found: dict[tuple[int, int], LogEntry] = {}
        for epoch, number, sealed in zip(answer[::3], answer[1::3], answer[2::3], strict=True):
            entry = self._open_entry(session_id, stream, epoch, number, sealed)
            if entry is None:
                continue
            before = found.get((entry.epoch, entry.number))
            if before is None or before.data is None:
                found[entry.epoch, entry.number] = entry
        return [found[place] for place in sorted(found)]

    async def note_calls(self, session_id: str, epoch: int, calls: Collection[Call], ttl_seconds: float) -> Written:
        writes = [Calls(session_id, epoch, calls)]
        return (await self.note_all(writes, ttl_seconds)).get(session_id, Written.DONE)

    async def note_all(self, writes: Iterable[Calls], ttl_seconds: float) -> Mapping[str, Written]:
        bounds = [_ms(ttl_seconds), CALLS]
        commands = (
            (w.session_id, _script("note").on(self._calls_keys(w.session_id), [w.epoch, *bounds, *fields]))
            for w in writes
            for fields in _together(self._call_fields(w.session_id, call) for call in w.calls)
        )
        return await self._lane.write_all("noting the calls of a session", commands)

    async def calls(self, session_id: str) -> list[Call | SettledCall]:
        command = _script("calls").on([self._keys.calls(session_id)], [])
        fields = dict(pairs(await self._lane.ask("reading the calls of a session", command)))
        running, settled = [], []
        for stream in dict.fromkeys(name[1:] for name in fields if name[:1] in ("c", "o")):
            call = self._open_call(session_id, stream, fields.get(f"c{stream}"), fields.get(f"b{stream}"))
            outcome = self._open_outcome(session_id, stream, fields.get(f"o{stream}"))
            if outcome is not None:
                settled.append(SettledCall(stream, outcome, call))
            elif call is not None:
                running.append(call)
        return [*sorted(running, key=lambda call: call.started), *settled]

    async def settle(self, session_id: str, epoch: int, stream: str, outcome: bytes, ttl_seconds: float) -> bytes:
        sealed = seal(self._seals, outcome, session_id, f"outcome {stream}")

        def command(forged: bytes) -> Command:
            args = [epoch, _ms(ttl_seconds), stream, sealed, forged]
            return _script("settle").on(self._calls_keys(session_id), args)

        return await self._decide("settling a call", session_id, stream, command)

    async def commit(
        self, session_id: str, epoch: int, change: StateChange, ttl_seconds: float, state_ttl_seconds: int
    ) -> bytes:
        state = seal(self._seals, change.state, session_id, "state") if change.state != _NO_STATE else b""
        outcome = seal(self._seals, change.outcome, session_id, f"outcome {change.stream}") if change.stream else b""
        keys = [*self._calls_keys(session_id), self._keys.state(session_id)]

        def command(forged: bytes) -> Command:
            bounds = [epoch, _ms(ttl_seconds), state_ttl_seconds]
            others = [change.version, len(change.mixed), *change.mixed, *change.over]
            return _script("commit").on(keys, [*bounds, state, change.stream, outcome, forged, *others])

        return await self._decide("writing the state of a session", session_id, change.stream, command)

    async def load_state(self, session_id: str) -> tuple[bytes | None, int]:
        command = Command(("GET", self._keys.state(session_id)))
        found = await self._lane.ask("reading the state of a session", command)
        if not found:
            return b"", 0
        parts = _STATE.fullmatch(found)
        if parts is None:
            complain("state", brief(session_id), "not a state")
            return None, 0
        version, sealed = parts.groups()
        return (unseal(self._seals, sealed, session_id, "state") if sealed else b""), int(version)

    async def carry(self, session_id: str, epoch: int, incarnation: int, data: bytes, ttl_seconds: int) -> Written:
        sealed = seal(self._seals, b"%d %b" % (incarnation, data), session_id, "carried") if data else b""
        keys = [self._keys.session(session_id), self._keys.carried(session_id)]
        commands = ((session_id, _script("carry").on(keys, [epoch, ttl_seconds, sealed])),)
        written = await self._lane.write_all("writing what goes along with a session", commands)
        return written.get(session_id, Written.DONE)

    async def carried(self, session_id: str) -> tuple[int, bytes] | None:
        command = Command(("GET", self._keys.carried(session_id)))
        sealed = await self._lane.ask("reading what goes along with a session", command)
        known = self._open(session_id, "carried", sealed)
        if known is None:
            return None
        incarnation, data = known.split(b" ", 1)
        return int(incarnation), data

    async def _decide(self, doing: str, session_id: str, stream: str, command: Callable[[bytes], Command]) -> bytes:
        """The outcome that stands, by a script that is told which outcome on record does not open.

        Raises:
            Fenced: nothing was decided.
        """
        forged = b""
        while True:
            written, *stands = await self._lane.ask(doing, command(forged))
            if not stands:
                raise Fenced(doing, is_missing=written == Written.MISSING.value)
            standing = self._open_outcome(session_id, stream, stands[0]) if stream else b""
            if standing is not None:
                return standing
            forged = stands[0]

    async def forget(self, session_id: str, epoch: int, streams: Collection[str]) -> Written:
        commands = ((session_id, _script("forget").on(self._calls_keys(session_id), [epoch, *streams])),)
        return (await self._lane.write_all("forgetting calls", commands)).get(session_id, Written.DONE)

    def _log_keys(self, session_id: str) -> list[str]:
        return [self._keys.session(session_id), self._keys.log(session_id)]

    def _calls_keys(self, session_id: str) -> list[str]:
        return [self._keys.session(session_id), self._keys.calls(session_id)]

    def _entry_fields(self, session_id: str, entry: LogEntry) -> list[Any]:
        flags = (_LAST if entry.is_last else 0) | (_LOST if entry.data is None else 0)
        sealed = seal(self._seals, bytes([flags]) + (entry.data or b""), session_id, _place(entry))
        return [entry.stream, entry.epoch, entry.number, sealed]

    def _open_entry(self, session_id: str, stream: str, epoch: bytes, number: bytes, sealed: bytes) -> LogEntry | None:
        if not (epoch.isdigit() and number.isdigit() and len(epoch) <= 16 and len(number) <= 16):
            complain("log", brief(session_id), "an entry without a place")
            return None
        entry = LogEntry(stream, int(epoch), int(number), None)
        text = unseal(self._seals, sealed, session_id, _place(entry))
        if not text:
            return entry
        data = None if text[0] & _LOST else text[1:]
        return LogEntry(stream, entry.epoch, entry.number, data, bool(text[0] & _LAST))

    def _call_fields(self, session_id: str, call: Call) -> list[Any]:
        said = {"id": call.request_id_json, "method": call.method, "name": call.name, "started": call.started}
        if call.is_transactional:
            said["transactional"] = True
        body = seal(self._seals, call.body, session_id, f"body {call.stream}") if call.body else b""
        return [call.stream, seal(self._seals, json.dumps(said).encode(), session_id, f"call {call.stream}"), body]

    def _open_call(self, session_id: str, stream: str, sealed: bytes | None, body: bytes | None) -> Call | None:
        """A body that does not open is none: then the call is not carried out again."""
        text = self._open(session_id, f"call {stream}", sealed)
        if text is None:
            return None
        try:
            said = json.loads(text)
            known = str(said["id"]), str(said["method"]), str(said["name"])
            kept = self._open(session_id, f"body {stream}", body) or b""
            return Call(stream, *known, kept, float(said["started"]), said.get("transactional") is True)
        except (KeyError, TypeError, ValueError) as error:
            complain("call", brief(session_id), type(error).__name__)
            return None

    def _open_outcome(self, session_id: str, stream: str, sealed: bytes | None) -> bytes | None:
        return self._open(session_id, f"outcome {stream}", sealed)

    def _open(self, session_id: str, what: str, sealed: bytes | None) -> bytes | None:
        return unseal(self._seals, sealed, session_id, what) if sealed else None


def _place(entry: LogEntry) -> str:
    return f"log {entry.stream} {entry.epoch} {entry.number}"


def _together(fields: Iterator[Sequence[Any]]) -> Iterator[list[Any]]:
    """The arguments of each script; once none, so that the epoch is compared in any case."""
    yield [part for each in islice(fields, _TOGETHER) for part in each]
    while some := list(islice(fields, _TOGETHER)):
        yield [part for each in some for part in each]


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))


def _script(name: str) -> Script:
    return script(name, "journal")
