"""What went wrong with Redis, in words of ours: what was tried, what Redis said, and what to do.

The texts of redis-py and of Redis quote commands, and so keys and session ids. None of that is passed on, only the
first word of Redis's answer, which is a code. "Does not answer" is said only of one that does not.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Final

from redis import exceptions
from redis.asyncio.sentinel import MasterNotFoundError

from mooring.errors import StoreUnavailable

RIGHTS: Final = "+@hash +@sortedset +@stream +@keyspace +@scripting +@connection +@pubsub +time +get +set"
"""What a Redis user needs, on the keys and channels that begin with the prefix; a test has these alone."""
CLUSTER_RIGHTS: Final = "+cluster|slots +info"
"""What it needs beside those in a Redis Cluster; without the last it asks less well what was lost."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """
    Attributes:
        code: the first word of Redis's answer.
        says: what is the matter, after "Redis at …".
        hint: what to do.
        kinds: redis-py's classes for it, which take the code off the text.
        words: what stands at the beginning of the text.
    """

    code: str
    says: str
    hint: str
    kinds: tuple[type[Exception], ...] = ()
    words: tuple[str, ...] = ()

    def is_in(self, error: BaseException) -> bool:
        text = str(error).removeprefix("ERR ")
        return isinstance(error, self.kinds) or text.startswith((f"{self.code} ", *self.words))


# From the particular to the general: redis-py's AuthenticationError, say, is one of its ConnectionErrors.
_TROUBLES: Final = (
    Trouble(
        "OOM",
        "has no memory left",
        "raise its maxmemory; maxmemory-policy noeviction is right",
        (exceptions.OutOfMemoryError,),
    ),
    Trouble(
        "READONLY",
        "is a read-only replica",
        "redis_url has to name the primary, or its sentinels (redis+sentinel://)",
        (exceptions.ReadOnlyError,),
        # What a sentinel's client says of a connection that led to a primary before.
        ("The previous master is now a slave",),
    ),
    Trouble(
        "NOPERM",
        "denies its user that",
        f"the user in redis_url needs {RIGHTS}, and the keys and channels that begin with key_prefix (~…:* &…:*)",
        (exceptions.NoPermissionError,),
        ("ACL failure in script", "The user executing the script can't"),
    ),
    Trouble(
        "WRONGPASS",
        "does not accept the user or the password",
        "redis_url has to have those that Redis asks for",
        (exceptions.AuthenticationError, exceptions.AuthorizationError),
        # As the class is lost where it comes while the connection is made.
        ("NOAUTH", "Authentication required", "invalid username-password", "HELLO must be called with"),
    ),
    Trouble(
        "CLUSTERDOWN",
        "is a node of a Redis Cluster that is down",
        "`redis-cli cluster info` says which part of it is missing",
        (exceptions.ClusterDownError, exceptions.MasterDownError),
        ("MASTERDOWN",),
    ),
    Trouble(
        "TRYAGAIN",
        "is moving these keys from one of its servers to another",
        "wait until it is done; `redis-cli --cluster check` says whether it is stuck",
        (exceptions.TryAgainError,),
        # What a cluster's client says that was told so again and again.
        ("TTL exhausted",),
    ),
    Trouble(
        "MOVED",
        "is a node of a Redis Cluster",
        "redis_url has to say so (redis+cluster://)",
        (exceptions.AskError, exceptions.MovedError, exceptions.ClusterCrossSlotError),
        ("CROSSSLOT", "ASK ", "SELECT is not allowed in cluster mode"),
    ),
    Trouble(
        "NOCLUSTER",
        "is no cluster",
        "redis+cluster:// is for a Redis Cluster, redis:// for one server",
        words=("Cluster mode is not enabled", "This instance has cluster support disabled"),
    ),
    Trouble(
        "NOPRIMARY",
        "has no sentinel that names its primary",
        "do those in redis_url answer (over TLS: rediss+sentinel://), and is the name there one that "
        "`redis-cli -p 26379 sentinel masters` shows?",
        (MasterNotFoundError,),
    ),
    Trouble(
        "LOADING",
        "is still reading its data",
        "it has just been started: wait",
        (exceptions.BusyLoadingError,),
        ("Redis is loading",),
    ),
    Trouble(
        "MISCONF",
        "cannot save its data and refuses every write",
        "its own log says why: a full disk, most likely",
    ),
    Trouble(
        "NOREPLICAS",
        "has too few replicas and refuses every write",
        "its min-replicas-to-write says how many it wants",
    ),
    Trouble(
        "MAXCLIENTS",
        "takes no more clients",
        "raise its maxclients, or find out who keeps so many connections (`redis-cli client list`)",
        (exceptions.MaxConnectionsError,),
        ("max number of clients reached",),
    ),
    Trouble(
        "BUSY",
        "is held up by a script",
        "somebody's script has been running for long (`redis-cli script kill`)",
    ),
    Trouble(
        "WRONGTYPE",
        "has something else under one of Mooring's keys",
        "another program uses the same key_prefix",
    ),
    Trouble(
        "DENIED",
        "takes connections from its own machine alone",
        "it is in protected mode: give it a password (requirepass), or switch that off where only the nodes reach it",
    ),
    Trouble(
        "NODATABASE",
        "has no such database",
        "the number at the end of redis_url is below its `databases`, 16 most often",
        words=("DB index is out of range", "invalid DB index"),
    ),
    Trouble(
        "NOSENTINEL",
        "is no sentinel",
        "redis+sentinel:// names sentinels and their ports, 26379 most often; redis:// is for a Redis itself",
        words=("unknown command 'SENTINEL'", "unknown command `SENTINEL`"),
    ),
    Trouble(
        "NOSCRIPTS",
        "runs no scripts",
        "is it a sentinel, which redis+sentinel:// is for? Redis 7 or Valkey is needed",
        words=("unknown command 'EVAL", "unknown command `EVAL"),
    ),
    Trouble(
        "NOREDIS",
        "answers, and not as Redis does",
        "something else listens where redis_url leads",
        (exceptions.InvalidResponse,),
    ),
    Trouble(
        "UNKNOWN",
        "does not know a command",
        "Redis 7 or Valkey is needed",
        words=("unknown command", "Unknown subcommand", "unknown subcommand"),
    ),
)

RAISED: Final = (exceptions.RedisError, exceptions.RedisClusterException, OSError)
"""All that redis-py raises for what goes wrong with Redis."""
SILENCE: Final = (exceptions.ConnectionError, exceptions.TimeoutError, exceptions.ClusterError, OSError)
"""Those of them that mean that there is no server, or another one."""

_CONNECTING: Final = re.compile(r"Error (-?\d+) connecting to ")
_TLS: Final = re.compile(r"\[SSL: ?([A-Z_0-9]+)")
_CODE: Final = re.compile(r"([A-Z]{2,20}) ")
_BROKEN: Final = re.compile(
    "closed by server|lost|while (reading from|writing to)|reset by peer|broken pipe", re.IGNORECASE
)


def explain(error: Exception, where: str, doing: str) -> StoreUnavailable:
    """The error to raise for one of redis-py's.

    Args:
        where: Redis's URL, without a password.
        doing: what was tried, as in "while …".
    """
    says, said, hint = _describe(error)
    what = f"{says} while {doing} ({said}): {hint}"
    return StoreUnavailable(f"Redis at {where} {what}", for_anyone=f"Redis {what}")


def _describe(error: Exception) -> tuple[str, str, str]:
    """What is the matter, what Redis or the system said, what to do."""
    for trouble in _TROUBLES:
        if trouble.is_in(error) or (error.__cause__ is not None and trouble.is_in(error.__cause__)):
            return trouble.says, trouble.code, trouble.hint
    text = str(error)
    tls = _TLS.search(text)
    if tls is not None:
        return (
            "cannot be spoken to over TLS",
            tls[1],
            "rediss:// is for a Redis with TLS whose certificate is trusted here",
        )
    if isinstance(error, exceptions.ResponseError):
        code = _CODE.match(text)
        return "refuses", code[1] if code else type(error).__name__, "its own log may say more"
    if _BROKEN.search(text):
        # One that has too many clients does the same, and what it says of that is lost on the way; so does one that
        # speaks TLS alone.
        hint = (
            "was it started again just now, does it have as many clients as its maxclients allows, or does it want TLS "
            "(rediss://)?"
        )
        return "broke the connection", "closed", hint
    return "does not answer", _silence(error), "is it running, and does redis_url lead there?"


def _silence(error: Exception) -> str:
    """Why nothing came, as the system has it."""
    number = error.errno if isinstance(error, OSError) else None
    connecting = _CONNECTING.match(str(error))
    if connecting is not None:
        number = int(connecting[1])
    if number is not None and number > 0:
        return os.strerror(number).lower()
    if number is not None:
        return "no such host"
    is_late = isinstance(error, TimeoutError | exceptions.TimeoutError) or "imeout" in str(error)
    return "timeout" if is_late else "no connection"
