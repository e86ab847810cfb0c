"""Every error that Mooring raises on purpose.

    MooringError
    ├── SettingsError        a setting is wrong: names it, its value, and what would be right
    ├── TargetError          the TARGET of `serve` or `up` cannot be imported, or is no MCP server
    ├── StoreUnavailable     Redis does not answer, or refuses
    ├── DeclaredDead         this node's end is on record: it holds nothing any more, and its id is used up
    ├── PeerError            a request could not be passed on to its owner
    │   ├── PeerGone         nobody is there: connection refused, or another node answered
    │   └── PeerSilent       the peer is there and does not take the request in time
    ├── SignatureError       a peer request (or its reply) that no node of this cluster has signed
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
    """Redis does not answer, or refuses what was asked."""


class DeclaredDead(MooringError):
    """This node's end is on record: it left, or its parent process saw it end. It cannot come back by this id."""


class PeerError(MooringError):
    """A request could not be passed on to its owner."""


class PeerGone(PeerError):
    """Nobody is there: the connection was refused, or a node other than the one asked for answered."""


class PeerSilent(PeerError):
    """The peer did not take the request in time, though its lease may be alive."""


class SignatureError(MooringError):
    """No node of this cluster has signed this for us, or not lately, or it was used before."""


class IllegalMove(MooringError):
    """A state was asked to change in a way that its table does not know."""


class ClusterError(MooringError):
    """A node or the local cluster cannot start or go on: a port in use, a program missing, a child that dies."""
