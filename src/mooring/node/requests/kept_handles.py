"""Handles whose process is gone, and of which something is kept: they go on where they are asked for."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import partial

from mooring.core.handles import Handle, brief
from mooring.core.kept_state import KeptState
from mooring.errors import StoreUnavailable
from mooring.node.membership.handles import kept_on_record
from mooring.node.membership.session import LocalSession
from mooring.node.node import Node
from mooring.node.requests.patience import patiently

logger = logging.getLogger("mooring.handles")


async def load_kept(node: Node, handle: Handle) -> LocalSession | None:
    """What is kept of a handle that is not here, for this node from now on; None where nothing is, or it has ended.

    Raises:
        StoreUnavailable: nobody knows; or another node has the handle by now.
    """
    if node.sessions.has_ended(handle.text):
        return None
    record, epoch = await node.keeper.adoption.take(handle.text, handle.shard, node.settings.session_ttl_seconds)
    if not epoch:
        raise StoreUnavailable(f"shard {handle.shard} is another node's by now")
    if record is None:
        return None
    kept, version = await node.store.journal.load_state(handle.text)
    if not version:  # it was asked for there, and nothing was left in it
        return None
    text = "handle %s goes on here, with what node %s kept of it"
    node.log_once.few(logger, logging.INFO, text, brief(handle.text), record.node_id)
    return kept_on_record(handle, record, epoch, KeptState(kept, node.settings.state_bytes, version))


def may_come(node: Node, handle: Handle, kept: LocalSession | None) -> bool:
    """Whether a handle that was not here, and what was read of it, still is for this node: that may be a while ago."""
    epoch = node.membership.shards.get(handle.shard)
    is_current = epoch is not None and (kept is None or kept.epoch == epoch)
    return is_current and (kept is None or not node.sessions.has_ended(handle.text))


async def bring_kept(node: Node, handles: Iterable[Handle]) -> dict[Handle, LocalSession]:
    """What is kept of those that are not here, though their shards are.

    Raises:
        StoreUnavailable: nobody knows, for as long as a request may be held.
    """
    found: dict[Handle, LocalSession] = {}
    for handle in handles:
        kept = await patiently(node, partial(_kept_of_ours, node, handle))
        if kept is not None:
            found[handle] = kept
    return found


async def _kept_of_ours(node: Node, handle: Handle) -> LocalSession | None:
    if handle.is_wrapped or handle.shard not in node.membership.shards or node.holds(handle):
        return None
    return await load_kept(node, handle)
