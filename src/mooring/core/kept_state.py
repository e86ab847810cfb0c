"""What a server keeps of one session: JSON values that its calls change in place, and what of them is on record.

All calls of a session have the same values in their hands, as in one process. What is committed is all of them as they
are when a call is answered:

    when a call is answered, the values          then
    -------------------------------------------  -----------------------------------------------------------------------
    it never asked for them, or they are those   nothing is written
    on record
    are others, or in another order              they are committed with the answer. Other calls that have asked for
                                                 them and are not answered may have changed them as well: from then on
                                                 such a call is not carried out again, since a part of it may be on
                                                 record, and its answer goes on record though it changes nothing more
    are not JSON, or larger than they may be,    the call fails, and everybody goes on with those on record. What others
    or cannot be written                         changed meanwhile is gone with it: they fail as well when they end

The last row drops the values as a whole: whoever has the old ones in hand changes what nobody looks at any more.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Final

from mooring.errors import NoSession, StateRefused, StoreUnavailable

STATE_BYTES: Final = 256 * 1024
OWN: Final = "own"
"""The part of it that is the author's; other parts belong to whoever keeps something beside them."""
NOTHING: Final = b"{}"
TOO_LATE: Final = (
    "the call was answered: what it changes is kept with its answer. Ask for the state, and change it, before the tool "
    "returns"
)
_TRIES: Final = 10
_NOW: Final = "now"
_UNSEEN: Final = 1_000
"""So many numbers after the last one on record may be those of writes that were given up, and are still to come."""

Parts = dict[str, dict[str, Any]]


def canonical(parts: Parts) -> bytes:
    """The one way in which these values are written; empty parts are left out.

    A thread may change them meanwhile: what is written is what they were at one moment.

    Raises:
        StateRefused: they are not JSON, or would be read back as something else.
    """
    written = ""
    for _ in range(_TRIES):
        try:
            known = {name: parts[name] for name in sorted(parts) if parts[name]}
            before, written = written, _written(known)
            odd = _odd_in(known)
            if odd is not None:
                raise StateRefused(f"{odd.__name__} would be read back as a plain dict or list: keep it as one")
            if json.loads(written) == known:
                return written.encode()
        except RuntimeError as error:
            if isinstance(error, RecursionError):
                raise StateRefused("it is nested too deep, or holds itself") from None
            continue
        except (TypeError, ValueError) as error:
            raise StateRefused(str(error)[:200]) from None
        if written == before:
            break
    raise StateRefused("it would be read back as something else: keys are texts, and lists are no tuples")


def _written(known: Parts) -> str:
    """Keys stay in their order: dicts have one, which authors see."""
    text = json.dumps(known, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    text.encode()  # a lone surrogate is no text
    return text


def _odd_in(value: Any) -> type | None:
    """A kind of dict or list in there that is more than that (`defaultdict`, `Counter`), and is written as one."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        kind = type(one)
        if kind is dict:
            waiting += one.values()
        elif kind is list:
            waiting += one
        elif isinstance(one, dict | list):
            return kind
    return None


class KeptState:
    """
    Args:
        kept: what is on record; None where that cannot be read.
        most_bytes: that it may have.
        version: of what is on record.

    Attributes:
        kept: what is on record, in its canonical form.
        is_in_doubt: something else may be on record: a write that failed may have been done. Whoever keeps the records
            writes this again as soon as that is possible; calls that change nothing do not wait for it.
    """

    __slots__ = ("_most_bytes", "_users", "_values", "_version", "is_in_doubt", "kept")

    def __init__(self, kept: bytes | None = NOTHING, most_bytes: int = STATE_BYTES, version: int = 0) -> None:
        self.kept = kept or (NOTHING if kept is not None else None)
        self.is_in_doubt = False
        self._version = version + _UNSEEN if version else 0
        self._most_bytes = most_bytes
        # The values, once somebody has asked for them.
        self._values: dict[str, Parts] = {}
        # Calls that have, and are not answered.
        self._users: set[StateUse] = set()

    def next_version(self) -> int:
        """Each write has a number: one that was given up, and comes late, is behind those that came after it."""
        self._version += 1
        return self._version

    def parts_for(self, use: StateUse) -> Parts:
        """The values, for a call that may change them.

        Raises:
            StoreUnavailable: what is on record cannot be read, and is not written over.
        """
        self._users.add(use)
        return self.peek()

    def peek(self) -> Parts:
        """The values, for whoever changes nothing.

        Raises:
            StoreUnavailable: what is on record cannot be read, and is not written over.
        """
        if self.kept is None:
            raise StoreUnavailable(
                "what is kept here cannot be read: was it sealed with a secret that is no longer among those of this "
                "node (secret)? A new session, or handle, begins with nothing"
            )
        # Calls ask from threads as well, and all get the same: what the first one has made.
        found = self._values.get(_NOW)
        return self._values.setdefault(_NOW, json.loads(self.kept)) if found is None else found

    def due(self, use: StateUse) -> bytes | None:
        """What has to be on record before this call is answered; None where it is.

        Raises:
            StateRefused: it cannot be, and why, in words for whoever called.
        """
        if use.parts is None:
            return None
        if use.parts is not self._values.get(_NOW):
            raise StateRefused("it was dropped with what another call of it left, which could not be kept")
        text = canonical(use.parts)
        if text == self.kept:
            return None
        if len(text) > self._most_bytes:
            raise StateRefused(f"it would take {len(text):,} bytes, and {self._most_bytes:,} may be kept (state_bytes)")
        return text

    def is_kept(self, text: bytes) -> None:
        """This is on record now."""
        self.kept = text
        self.is_in_doubt = False

    def roll_back(self, use: StateUse, *, in_doubt: bool = False) -> None:
        """What this call left is not kept: everybody goes on with what is on record.

        Args:
            in_doubt: it may be on record all the same, until something else is written.
        """
        if use.parts is self._values.get(_NOW):
            del self._values[_NOW]
        self.is_in_doubt = self.is_in_doubt or in_doubt

    def cut_off(self, use: StateUse) -> None:
        """Nobody is told of what this call changed, which may go on: it is dropped, unless it is on record by now."""
        if use.parts is not None:
            self.roll_back(use)

    def begins_again(self, stream: str) -> None:
        """The call of this stream is carried out again, after it was cut off here."""
        for use in tuple(self._users):
            if use.stream == stream:
                self.cut_off(use)
                self.done(use)

    def mix(self, use: StateUse) -> None:
        """What this call leaves may go on record from now on, and with it what the others have changed so far."""
        for other in self._mixed_with(use):
            other.is_mixed = True

    def others(self, use: StateUse) -> list[str]:
        """The streams of the other calls, as far as they are noted, whose changes may be among the values."""
        return [other.stream for other in self._mixed_with(use) if other.stream]

    def _mixed_with(self, use: StateUse) -> list[StateUse]:
        return [other for other in tuple(self._users) if other is not use and other.parts is use.parts]

    def done(self, use: StateUse) -> None:
        """The call is answered, or has ended without. One that was cut off may go on changing values: it never is."""
        use.is_over = True
        self._users.discard(use)


@dataclass(slots=True, eq=False)
class StateUse:
    """What one call has to do with the state of its session.

    Attributes:
        stream: where the call is noted, so that it may be carried out again; else "".
        parts: the values, once it has asked for them.
        is_mixed: a part of what it changes may be on record, with what another call changed.
        is_over: it was answered.
        refusal: why it gets none; "" where it does.
    """

    state: KeptState
    stream: str = ""
    parts: Parts | None = field(default=None)
    is_over: bool = False
    is_mixed: bool = False
    refusal: str = ""

    def part(self, name: str = OWN) -> dict[str, Any]:
        """A part of the values, to read and to change.

        Raises:
            NoSession: the call has been answered, or gets none.
            StoreUnavailable: what is on record cannot be read.
        """
        if self.refusal:
            raise NoSession(self.refusal)
        if self.is_over:
            raise NoSession(TOO_LATE)
        if self.parts is None:
            self.parts = self.state.parts_for(self)
        return self.parts.setdefault(name, {})

    def peek(self, name: str) -> dict[str, Any]:
        """The same, to read alone.

        Raises:
            StoreUnavailable: what is on record cannot be read.
        """
        return (self.state.peek() if self.parts is None else self.parts).get(name, {})
