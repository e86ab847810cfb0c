"""How a node that cannot renew its lease stands: is it the only one, or is the store away for everybody?

It asks its peers whether they can renew theirs, since where nobody can, nobody can take its shards either:

    its peers say                                         it is     and so, from the end of its lease on
    ----------------------------------------------------  --------  ------------------------------------------------
    one of them: I can                                    cut off   serves nothing, and passes on what arrives
    more than half, with itself: I cannot; nobody: I can  away      serves on: the store is away
    there are none                                        away      the same
    too few answer                                        isolated  stops, or goes on, as the operator chose
    unasked: I can, and your lease is over                cut off   serves nothing until it has renewed, at once

More than half, because a part of the cluster that lost the rest along with the store looks, from inside, as if the
store were away: it must not be the smaller part that goes on. Unasked, because nobody knows to ask a node that has
joined since, and of many peers only some are asked: whoever may not be asked says so before it takes anything over.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from mooring.core.ids import is_shard
from mooring.core.model import ShardOwner

QUESTION_PATH: Final = "/.mooring/renewal"
"""Where a peer is asked; the shards that the asker held are the query. For any other request it is the app's."""

PEERS_ASKED: Final = 8
"""As many answer for all: else 300 nodes would ask 300 each, all at once, when the store goes away."""

YOURS_IS_OVER: Final = "your-lease-is-over"
"""In the place of shards: whoever asks could renew its lease, and saw that the peer's is over. A release that does not
know it takes it for a shard that nobody owns."""


class Standing(enum.StrEnum):
    """See the table above."""

    AWAY = "away"
    CUT_OFF = "cut off"
    ISOLATED = "isolated"


@dataclass(frozen=True, slots=True)
class PeerWord:
    """What a peer answers.

    Attributes:
        can_renew: whether the renewal of its own lease that ended first after it was asked went well.
        owners: of the shards that the asker held, as the peer knew them then.
        time_ms: what the store's clock said then, milliseconds since the epoch: the asker's may be that of a store that
            another has taken the place of. None from a peer of an earlier release.
    """

    can_renew: bool
    owners: Mapping[str, ShardOwner]
    time_ms: int | None = field(default=None, compare=False)


def judge(peers: int, words: Collection[PeerWord]) -> Standing:
    """How a node stands that asked so many peers, and had these words from them."""
    if any(word.can_renew for word in words):
        return Standing.CUT_OFF
    if peers == 0 or 2 * (1 + len(words)) > 1 + peers:
        return Standing.AWAY
    return Standing.ISOLATED


def encode_word(word: PeerWord) -> bytes:
    owners = {shard: [owner.epoch, owner.node_id] for shard, owner in word.owners.items()}
    said = {"can_renew": word.can_renew, "owners": owners, "time_ms": word.time_ms}
    return json.dumps(said, separators=(",", ":")).encode()


def decode_word(text: bytes) -> PeerWord:
    """What a peer said. The caller has made sure that it was that peer.

    Raises:
        ValueError: it is of a form that this version does not know.
    """
    try:
        said = json.loads(text)
        owners = {str(shard): ShardOwner(str(owner), int(epoch)) for shard, (epoch, owner) in said["owners"].items()}
        time_ms = said.get("time_ms")
        return PeerWord(
            said["can_renew"] is True,
            {shard: owners[shard] for shard in owners if is_shard(shard)},
            None if time_ms is None else int(time_ms),
        )
    except (TypeError, KeyError, AttributeError, OverflowError) as error:
        raise ValueError("not a peer's word") from error
