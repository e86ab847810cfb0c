"""All that leads to a node's peers, and brings theirs here, as `peer_link` says: opened, drained and stopped as one.

peer_link  the node
---------  --------------------------------------------------------------------------------
direct     has no mailbox; its peers are asked at their addresses
redis      reads a mailbox, and needs no address
auto       reads a mailbox, and finds out which peers it reaches at their addresses
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from mooring.asgi import App
from mooring.core.frames import FrameSeals
from mooring.core.ids import derive_key
from mooring.core.ownership import ClusterView
from mooring.core.sealing import Seals
from mooring.node.links.asking import PeerQuestions
from mooring.node.links.chosen import ChosenLink
from mooring.node.links.hop import Lives
from mooring.node.links.http import Forwarder
from mooring.node.links.peer_link import PeerLink
from mooring.node.links.redis_answering import Answering
from mooring.node.links.redis_asking import RedisForwarder
from mooring.node.links.redis_relay import Relay
from mooring.settings import Settings
from mooring.store.mailbox import Mailbox

DIRECT: Final = "direct"


class Ways:
    """
    Args:
        secrets: the cluster's.
        view: of the cluster as it is known now.
        mailbox: of this node; None for one that meets its peers at their addresses alone.
        answer_peer: the app for what peers pass on through Redis.
        now: seconds since the epoch, by the one clock of all nodes.

    Attributes:
        link: brings a request to a peer.
        questions: asks peers whether they can renew their leases.
        mode: what the node says of itself: `peer_link`, where there is a mailbox to read.
    """

    def __init__(
        self,
        settings: Settings,
        node_id: str,
        secrets: Sequence[str],
        view: Callable[[], ClusterView],
        mailbox: Mailbox | None,
        answer_peer: App,
        now: Callable[[], float],
    ) -> None:
        key = derive_key(secrets[0], "peer request")

        def is_alive(node_id: str) -> bool:
            return view().is_alive(node_id)

        def is_dead(node_id: str) -> bool:
            return node_id in view().nodes and not is_alive(node_id)

        direct = Forwarder(key, node_id, settings.connect_seconds, is_alive, settings.heartbeat_seconds, now)
        self.link: PeerLink = direct
        self.mode: str = DIRECT
        # A peer answers when the renewal is over that it is in the middle of, or begins then.
        within_seconds = settings.connect_seconds + 2 * settings.redis_timeout_seconds
        self.questions = PeerQuestions(key, node_id, within_seconds, now)
        self._answer_peer = answer_peer
        self._relay: Relay | None = None
        self._chosen: ChosenLink | None = None
        if mailbox is not None:
            self._relay = Relay(mailbox, FrameSeals(Seals(secrets, settings.key_prefix), node_id), is_dead)
            post_seconds = settings.connect_seconds + settings.redis_timeout_seconds
            lives = Lives(is_alive, settings.heartbeat_seconds)
            relayed = RedisForwarder(self._relay, key, node_id, post_seconds, settings.hold_seconds, lives, now)
            self.mode = settings.peer_link
            self._chosen = ChosenLink(self.mode, direct, relayed, self.questions.call, is_alive)
            self.link = self.questions.relay = self._chosen

    @property
    def relayed_to(self) -> tuple[str, ...]:
        """The living peers that were found out to be reached through Redis alone."""
        return () if self._chosen is None else self._chosen.relayed_to

    async def open(self, app_state: dict[str, Any]) -> None:
        """When the node has joined: from now on peers' requests arrive. Those who come sooner wait for the mailbox.

        Args:
            app_state: of the app's lifespan.
        """
        if self._relay is not None:
            await self._relay.start(Answering(self._answer_peer, app_state).answer)

    async def drain(self) -> None:
        """Before the node leaves its cluster: take nothing new, and wait for what peers have asked for."""
        if self._relay is not None:
            await self._relay.drain()

    async def close(self) -> None:
        """When it has."""
        if self._relay is not None:
            await self._relay.stop()
        await self.link.aclose()
