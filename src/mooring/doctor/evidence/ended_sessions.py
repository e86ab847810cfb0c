"""Whether sessions were lost at some moment and for good, as with their node, and not by the choice of a node.

Where a load balancer goes astray, calls of one session arrive and miss in turn, and no session is spared. Where a node
ends, each of its sessions is reached until then and never again, and those of other nodes are not touched.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mooring.doctor.client.reply import Outcome
from mooring.doctor.examination import Call

_FEWEST: Final = 2
_LEAST: Final = 5
"""How many calls in a row have to be lost: fewer may be chance."""


def count_ended(calls: Sequence[Call]) -> int:
    """How many sessions ended meanwhile; 0 where any call was lost for another reason, as far as can be seen.

    Args:
        calls: in their order.
    """
    by_session: dict[int, list[Outcome]] = {}
    for call in calls:
        if call.reply.outcome in (Outcome.REACHED, Outcome.LOST):
            by_session.setdefault(id(call.session), []).append(call.reply.outcome)
    lost = [outcomes for outcomes in by_session.values() if Outcome.LOST in outcomes]
    if not lost or not all(_is_ending(outcomes) for outcomes in lost):
        return 0
    # A server of one node leaves no session untouched: then none is reached after the first was lost.
    in_order = [call.reply.outcome for call in calls]
    spared = len(lost) < len(by_session)
    return len(lost) if spared or Outcome.REACHED not in in_order[in_order.index(Outcome.LOST) :] else 0


def _is_ending(outcomes: Sequence[Outcome]) -> bool:
    first = outcomes.index(Outcome.LOST)
    return first > 0 and len(outcomes) - first >= _LEAST and Outcome.REACHED not in outcomes[first:]


def count_evicted(calls: Sequence[Call]) -> int:
    """How many sessions were lost for good, where some of them were reached right after they were opened, and those
    that are still there are all newer; 0 where any call was lost for another reason, as far as can be seen.

    A hash of the session id, or a node that loses its sessions, fails the first call as well.
    """
    sessions = {id(call.session): call.session for call in calls}
    reached = {id(call.session) for call in calls if call.reply.outcome is Outcome.REACHED}
    lost = {id(call.session) for call in calls if call.reply.outcome is Outcome.LOST}
    if len(lost) < _FEWEST or not reached or reached & lost or not any(sessions[one].was_reached for one in lost):
        return 0
    newest_lost = max(sessions[one].opened.at_seconds for one in lost)
    return len(lost) if newest_lost < min(sessions[one].opened.at_seconds for one in reached) else 0
