"""What a node opens for its peers, by `peer_link`."""

from __future__ import annotations

import time

import pytest

from mooring.core.ownership import ClusterView
from mooring.node.links.chosen import ChosenLink
from mooring.node.links.http import Forwarder
from mooring.node.links.ways import Ways
from mooring.settings import Settings
from tests.cluster_in_process import SECRET
from tests.node.apps import ScriptedApp
from tests.node.links.mailboxes import ANSWERS, PostOffice


def ways(mode: str, office: PostOffice | None) -> Ways:
    settings = Settings.load(peer_link=mode, secret=SECRET, redis_url="redis://127.0.0.1:1")
    mailbox = None if office is None else office.of(ANSWERS)
    return Ways(settings, ANSWERS, [SECRET], ClusterView, mailbox, ScriptedApp(), time.time)


@pytest.mark.parametrize("mode", ["redis", "auto"])
async def test_one_with_a_mailbox_reads_it_until_it_has_left(mode: str) -> None:
    office = PostOffice()
    these = ways(mode, office)
    assert isinstance(these.link, ChosenLink)
    assert these.questions.relay is these.link
    assert (these.mode, these.relayed_to) == (mode, ())
    await these.open({})
    assert ANSWERS in office.boxes
    await these.drain()
    assert ANSWERS in office.boxes
    await these.close()
    assert office.boxes == {}


async def test_one_without_meets_its_peers_at_their_addresses_alone() -> None:
    these = ways("redis", None)
    assert isinstance(these.link, Forwarder)
    assert these.questions.relay is None
    assert (these.mode, these.relayed_to) == ("direct", ())
    await these.open({})
    await these.drain()
    await these.close()
