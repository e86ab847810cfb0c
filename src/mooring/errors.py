"""Every error that Mooring raises on purpose.

    MooringError
    ├── SettingsError        a setting is wrong: names it, its value, and what would be right
    ├── TargetError          the TARGET of `serve` or `up` cannot be imported, or is no MCP server
    ├── StoreUnavailable     Redis does not answer, or refuses
    ├── DeclaredDead         this node's end is on record: it holds nothing any more, and its id is used up
    ├── Fenced               a session's later owner writes, or the session is gone: nothing was written
    ├── NoSession            a session's state was asked for where there is no session
    ├── NoHandle             a handle's state was asked for where there is no such handle
    ├── StateRefused         what a call left in its session's state cannot be kept
    ├── PeerError            a request could not be passed on to its owner
    │   ├── PeerSilent       no answer that is surely the peer's: refused, reset, a stranger; it may live all the same
    │   └── PeerMoved        the peer does not own the shard, and says who does
    ├── SignatureError       a peer request (or its reply) that no node of this cluster has signed
    │   └── RequestSeen      one that was signed, and came before
    ├── SealBroken           something kept of a session that this cluster did not write, as far as is known
    ├── IllegalMove          a state was asked to change in a way that its table does not know
    └── ClusterError         a node or the local cluster cannot start or go on

Each leaf is named for what the caller can do about it. The command line prints their text in one line;
so a message says what is wrong, with which value, and what to do next.
"""

from __future__ import annotations


class MooringError(Exception):
    """The root of all errors that Mooring raises on purpose."""


class SettingsError(MooringError):
    """A setting is wrong.

    Args:
        name: the setting, as in `Settings` (`lease_seconds`).
        value: what it was set to; a secret's value is never passed here.
        expected: what would be right, in words.
    """

    def __init__(self, name: str, value: object, expected: str) -> None:
        self.name = name
        self.value = value
        self.expected = expected
        super().__init__(f"setting {name}: {value!r} is wrong: {expected}")


class TargetError(MooringError):
    """TARGET cannot be imported, or does not serve MCP."""


class StoreUnavailable(MooringError):
    """Redis does not answer, or refuses what was asked.

    Args:
        for_anyone: the same without where Redis is, for pages that answer anyone; "" where the text does not say that.
    """

    def __init__(self, text: str, for_anyone: str = "") -> None:
        self.for_anyone = for_anyone or text
        super().__init__(text)


class DeclaredDead(MooringError):
    """This node's end is on record: it left, or its parent process saw it end. It cannot come back by this id."""


class Fenced(MooringError):
    """A session has a later owner, or is no longer there. Nothing was written, and nothing decided.

    Args:
        doing: what was tried, as in "while …".
        is_missing: there is no record of it, as where the store was emptied; nobody else is known to own it.
    """

    def __init__(self, doing: str, *, is_missing: bool) -> None:
        self.is_missing = is_missing
        super().__init__(
            f"{'no record of the session' if is_missing else 'the session has a later owner'} while {doing}"
        )


class NoSession(MooringError):
    """The state of a session was asked for where there is none: outside of a call, or in a request that is on none."""


class NoHandle(MooringError):
    """The state of a handle was asked for where there is none: outside of a call, or of a handle that is not here."""


class StateRefused(MooringError):
    """What a call left in its session's state cannot be kept: it is no JSON, or too much, or has no place to go."""


class PeerError(MooringError):
    """A request could not be passed on to its owner."""


class PeerSilent(PeerError):
    """No answer came that is surely the peer's. That says nothing of whether the peer lives: its lease does.

    Args:
        may_have_run: the request may have reached the peer, so it is not sent again but under the same nonce, by which
            the peer knows it.
        is_final: it has reached the peer once before, or must not: to send it again would be of no use.
    """

    def __init__(self, text: str, *, may_have_run: bool, is_final: bool = False) -> None:
        self.may_have_run = may_have_run
        self.is_final = is_final
        super().__init__(text)


class PeerMoved(PeerError):
    """The peer does not own the shard. Nothing was carried out.

    Args:
        owner_id: whose it is, and at which epoch, as far as the peer knows; "" where it does not.
    """

    def __init__(self, text: str, owner_id: str = "", epoch: int = 0) -> None:
        self.owner_id = owner_id
        self.epoch = epoch
        super().__init__(text)


class SignatureError(MooringError):
    """No node of this cluster has signed this for us, or not lately, or it was used before."""


class RequestSeen(SignatureError):
    """This very request came before, and was accepted then."""


class SealBroken(MooringError):
    """No node of this cluster sealed this for its place, or the secret that it was sealed with is not known here."""


class IllegalMove(MooringError):
    """A state was asked to change in a way that its table does not know."""


class ClusterError(MooringError):
    """A node or the local cluster cannot start or go on: a port in use, a program missing, a child that dies."""
