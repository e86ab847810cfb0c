"""Who may ask a node whether it can renew its lease, and what everybody else gets."""

from __future__ import annotations

import json
import secrets
import time

import pytest

from mooring import Mooring
from mooring.core.model import ShardOwner
from mooring.core.signing import NO_BODY, PeerClaim, sign_request
from mooring.core.standing import QUESTION_PATH, YOURS_IS_OVER, PeerWord, decode_word
from mooring.store import MemoryStore
from tests.fakes import FlakyStore
from tests.node.apps import ScriptedApp
from tests.node.clusters import Cluster
from tests.node.direct import Request, joined
from tests.node.rpc import RawClient


def question(
    mooring: Mooring, shards: str = "", *, key: bytes | None = None, recipient: str = "", seconds_ago: float = 0.0
) -> Request:
    node, time_ms = mooring._node, int((time.time() - seconds_ago) * 1000)
    claim = PeerClaim("node-2-aaaaa", recipient or node.id, time_ms, secrets.token_urlsafe(16), "", NO_BODY)
    target = "?".join(filter(None, (QUESTION_PATH, shards))).encode()
    signed = sign_request(key or node.peer_keys[0], claim, "GET", target, None)
    request = Request("GET", QUESTION_PATH, headers=[(b"mooring-peer", signed.encode())])
    request.scope["query_string"] = shards.encode()
    return request


def word(request: Request) -> PeerWord:
    return decode_word(request.body[:-32])


async def test_a_node_that_can_renew_says_so_and_whose_the_shards_are(app: ScriptedApp) -> None:
    async with joined(app) as mooring:
        shard, epoch = next(iter(mooring._node.membership.shards.items()))
        asked = await question(mooring, f"{shard}+zzzzz+../x").to(mooring)
        assert word(asked) == PeerWord(True, {shard: ShardOwner(mooring.node_id, epoch)})
        assert word(asked).time_ms == pytest.approx(1000 * mooring._node.cluster_time(), abs=60_000)
        assert app.scopes == []


async def test_a_node_that_cannot_says_that_and_asks_nobody_in_turn(app: ScriptedApp) -> None:
    store = FlakyStore(MemoryStore())
    async with joined(app, store) as mooring:
        shard, epoch = next(iter(mooring._node.membership.shards.items()))
        store.away = True
        mine = {shard: ShardOwner(mooring.node_id, epoch)}  # which it may have taken from the asker just before
        assert word(await question(mooring, shard).to(mooring)) == PeerWord(False, mine)
        assert mooring._node.membership.standing is None
        store.away = False
        assert word(await question(mooring, "").to(mooring)).can_renew


@pytest.mark.parametrize("is_away", [True, False])
async def test_whoever_cannot_renew_and_is_told_that_its_lease_is_over_believes_it(
    app: ScriptedApp, is_away: bool
) -> None:
    store = FlakyStore(MemoryStore())
    async with joined(app, store) as mooring:
        store.away = is_away
        assert word(await question(mooring, YOURS_IS_OVER).to(mooring)) == PeerWord(not is_away, {})
        assert mooring._node.keeper.has_lapsed is is_away
        store.away = False
        assert await mooring._node.keeper.regain()


async def test_nobody_else_can_tell_it(app: ScriptedApp) -> None:
    store = FlakyStore(MemoryStore())
    async with joined(app, store) as mooring:
        store.away = True
        await question(mooring, YOURS_IS_OVER, key=b"of another cluster").to(mooring)
        assert not mooring._node.keeper.has_lapsed


@pytest.mark.parametrize("seconds_ago", [-120.0, 120.0])
async def test_whoever_has_the_time_of_another_store_is_answered_and_cannot_tell_anything(
    app: ScriptedApp, seconds_ago: float
) -> None:
    """As where Redis fails over to a machine whose clock is off, and whoever asks does not reach it there."""
    store = FlakyStore(MemoryStore())
    async with joined(app, store) as mooring:
        asked = await question(mooring, seconds_ago=seconds_ago).to(mooring)
        assert word(asked) == PeerWord(True, {})
        assert app.scopes == []
        store.away = True
        await question(mooring, YOURS_IS_OVER, seconds_ago=seconds_ago).to(mooring)
        assert not mooring._node.keeper.has_lapsed, "whoever heard it may say it again later"


async def test_the_answer_is_from_after_the_question(app: ScriptedApp) -> None:
    """A renewal that worked a moment ago says nothing of now."""
    store = FlakyStore(MemoryStore())
    async with joined(app, store) as mooring:
        store.calls.clear()
        await question(mooring).to(mooring)
        assert store.calls == ["heartbeat"]


@pytest.mark.parametrize("wrong", ["unsigned", "key", "recipient", "twice"])
async def test_for_all_others_the_path_is_the_apps(app: ScriptedApp, wrong: str) -> None:
    async with joined(app) as mooring:
        match wrong:
            case "unsigned":
                request = Request("GET", QUESTION_PATH)
            case "key":
                request = question(mooring, key=b"another")
            case "recipient":
                request = question(mooring, recipient="node-3-aaaaa")
            case "twice":
                request = await question(mooring).to(mooring)
                request.sent.clear()
                request._pieces = [{"type": "http.request", "body": b"", "more_body": False}]
        await request.to(mooring)
        assert json.loads(request.body) == {"other": True}
        assert b"mooring-reply" not in request.headers


async def test_what_a_client_asks_and_a_peer_passes_on_is_no_peers_question(cluster: Cluster, raw: RawClient) -> None:
    session = await raw.open(cluster.nodes[0].url)
    url = f"{cluster.nodes[1].url}{QUESTION_PATH}?{session[:5]}"
    reply = await raw.send("GET", url, session=session)
    assert cluster.tally(1).forwarded_out == 1
    assert reply.json == {"other": True}
