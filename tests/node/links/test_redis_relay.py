"""Nodes that meet in Redis alone: requests and answers of any size and speed, and all that may happen to them there."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
import time
from collections.abc import Sequence

import aiohttp
import pytest

from mooring.node.links.peer_link import PassedRequest
from tests.node.links.relayed import PIECE, Relayed, die, relay_of, relayed, until_equal
from tests.node.rpc import RawClient
from tests.real_redis import RealRedis, real_redis
from tests.redis_groups import real_sentinel
from tests.waiting import until

pytestmark = pytest.mark.real

MIB = 1024 * 1024


async def biggest(redis: RealRedis) -> int:
    """The most memory that Redis has used."""
    async with redis.client() as client:
        return int((await client.info("memory"))["used_memory_peak"])


async def test_big_bodies_pass_both_ways_in_bounded_memory(raw: RawClient) -> None:
    async with real_redis() as redis, relayed(redis.url, raw) as nodes:
        before = await biggest(redis)
        body = secrets.token_bytes(16 * MIB)
        reply = await nodes.ask(body=body)
        assert (reply.status, reply.body.decode()) == (200, hashlib.sha256(body).hexdigest())
        flood = await nodes.ask("flood", headers={"x-pieces": "256"}, method="GET")
        assert flood.body == PIECE * 256
        assert await biggest(redis) - before < 4 * MIB
        assert nodes.app.carried_out == ["", ""]


async def test_a_client_that_does_not_read_holds_back_its_own_answer_alone(raw: RawClient) -> None:
    async with (
        real_redis() as redis,
        relayed(redis.url, raw) as nodes,
        aiohttp.ClientSession(read_bufsize=1024) as http,
    ):
        before = await biggest(redis)
        pieces = 1024
        headers = {"x-do": "flood", "x-pieces": str(pieces)}
        async with http.get(nodes.url, headers=headers) as slow:
            last = -1

            async def stands_still() -> bool:
                nonlocal last
                was, last = last, nodes.app.sent
                await asyncio.sleep(0.2)
                return was == last > 0

            await until(stands_still, what="the sender to wait")
            # What the sockets of this machine hold, and the window.
            assert nodes.app.sent < 24 * MIB
            begun = time.monotonic()
            for _ in range(20):
                assert (await nodes.ask(body=b"quick")).status == 200
            assert time.monotonic() - begun < 2
            assert await biggest(redis) - before < 4 * MIB
            assert hashlib.sha256(await slow.read()).digest() == hashlib.sha256(PIECE * pieces).digest()


async def test_an_app_that_does_not_read_holds_back_the_client(raw: RawClient) -> None:
    async with real_redis() as redis, relayed(redis.url, raw) as nodes:
        given = 0

        async def body() -> object:
            nonlocal given
            for _ in range(512):
                given += len(PIECE)
                yield PIECE

        asking = asyncio.ensure_future(nodes.ask("unread", body=body()))
        await until_equal(lambda: nodes.app.carried_out, [""], "what the app was asked")
        last = -1

        async def stands_still() -> bool:
            nonlocal last
            was, last = last, given
            await asyncio.sleep(0.2)
            return was == last

        await until(stands_still, what="the client to wait")
        assert given < 24 * MIB
        nodes.app.go_on.set()
        assert (await asking).body.decode() == hashlib.sha256(PIECE * 512).hexdigest()
        assert nodes.app.read == 512 * len(PIECE)


async def test_an_event_is_there_before_the_next_one_is_said(raw: RawClient) -> None:
    async with (
        real_redis() as redis,
        relayed(redis.url, raw) as nodes,
        aiohttp.ClientSession() as http,
        http.get(nodes.url, headers={"x-do": "say"}) as stream,
    ):
        async with asyncio.timeout(5):
            assert await stream.content.readline() == b"data: 1\n"
        nodes.app.go_on.set()
        assert await stream.content.read() == b"\ndata: 2\n\n"


async def test_an_app_hears_that_the_client_of_another_node_has_left(raw: RawClient) -> None:
    async with real_redis() as redis, relayed(redis.url, raw) as nodes, aiohttp.ClientSession() as http:
        asking = asyncio.ensure_future(http.post(nodes.url, headers={"x-do": "wait"}, data=b"x"))
        await until_equal(lambda: nodes.app.carried_out, [""], "what the app was asked")
        asking.cancel()
        await until_equal(lambda: nodes.app.left, 1, "the clients that left")
        for node in (nodes.asked, nodes.owner):
            await until_equal(lambda node=node: len(relay_of(node)._exchanges), 0, "what is under way")


async def test_an_answer_that_breaks_off_is_not_taken_for_whole(raw: RawClient) -> None:
    async with real_redis() as redis, relayed(redis.url, raw) as nodes:
        with pytest.raises(aiohttp.ClientError):
            await nodes.ask("fail")
        assert (await nodes.ask(body=b"x")).status == 200


async def test_a_request_that_lay_unread_when_the_owner_died_is_carried_out_once_elsewhere(raw: RawClient) -> None:
    async with real_redis() as redis, relayed(redis.url, raw) as nodes:
        node = nodes.asked.mooring._node
        await die(nodes.owner)
        peer = next(peer for peer in node.membership.view.alive() if peer.id == nodes.owner.id)
        exchange = relay_of(nodes.asked).begin(peer.id)
        exchange.withdraw()
        errors: list[object] = []
        asking = asyncio.ensure_future(_forwarded(nodes, peer, errors))
        await asking
        [error] = errors
        assert getattr(error, "may_have_run", None) is False, error
        assert nodes.app.carried_out == []


async def test_of_a_request_that_was_under_way_when_the_owner_died_nobody_knows(raw: RawClient) -> None:
    async with real_redis() as redis, relayed(redis.url, raw) as nodes:
        node = nodes.asked.mooring._node
        peer = next(peer for peer in node.membership.view.alive() if peer.id == nodes.owner.id)
        errors: list[object] = []
        asking = asyncio.ensure_future(_forwarded(nodes, peer, errors))
        await until_equal(lambda: nodes.app.carried_out, [""], "what the app was asked")
        await die(nodes.owner)
        await asking
        [error] = errors
        assert getattr(error, "may_have_run", None) is True, error


async def _forwarded(nodes: Relayed, peer: object, errors: list[object]) -> None:
    """As a request that waits for its answer is passed on."""

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"x", "more_body": False}

    async def send(message: object) -> None:
        errors.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/one",
        "raw_path": b"/one",
        "query_string": b"",
        "headers": [(b"content-length", b"1"), (b"x-do", b"wait")],
    }
    try:
        link = nodes.asked.mooring._node.ways.link
        request = PassedRequest(secrets.token_urlsafe(16), None, scope, receive, send, lambda: b"")
        await link.forward(peer, request)  # type: ignore[arg-type]
    except Exception as error:
        errors.append(error)


async def test_a_redis_that_is_silent_for_a_while_delays_and_loses_nothing(raw: RawClient) -> None:
    async with real_redis() as redis, relayed(redis.url, raw, lease_seconds=8.0) as nodes:
        async with aiohttp.ClientSession() as http, http.get(nodes.url, headers={"x-do": "say"}) as stream:
            assert await stream.content.readline() == b"data: 1\n"
            redis.freeze()
            asking = asyncio.ensure_future(nodes.ask("wait", body=b"x", headers={"x-entry": "late"}))
            await asyncio.sleep(1.5)
            redis.thaw()
            await until_equal(lambda: "late" in nodes.app.carried_out, True, "whether the late one was carried out")
            nodes.app.go_on.set()
            assert await stream.content.read() == b"\ndata: 2\n\n"
            assert (await asking).body == b"waited"
        assert nodes.app.carried_out == ["", "late"]


async def test_a_redis_that_was_emptied_breaks_nothing_that_waits(raw: RawClient) -> None:
    async with real_redis() as redis, relayed(redis.url, raw) as nodes:
        asking = asyncio.ensure_future(nodes.ask("wait", body=b"x"))
        await until_equal(lambda: nodes.app.carried_out, [""], "what the app was asked")
        await redis.empty()
        nodes.app.go_on.set()
        assert (await asking).body == b"waited"
        assert (await nodes.ask(body=b"next")).status == 200
        assert nodes.app.carried_out == ["", ""]


async def test_a_frame_that_redis_lost_is_noticed(raw: RawClient, monkeypatch: pytest.MonkeyPatch) -> None:
    async with real_redis() as redis, relayed(redis.url, raw) as nodes:
        mailbox = relay_of(nodes.owner)._mailbox
        post, taken = mailbox.post, 0

        async def lose_the_third(node_id: str, frames: Sequence[bytes]) -> list[bytes] | None:
            nonlocal taken
            taken += 1
            return [b"0-1", *(await post(node_id, frames[1:]) or [])] if taken == 3 else await post(node_id, frames)

        monkeypatch.setattr(mailbox, "post", lose_the_third)
        with pytest.raises(aiohttp.ClientError):
            await nodes.ask("flood", headers={"x-pieces": "256"}, method="GET")
        assert taken >= 3
        assert (await nodes.ask(body=b"next")).status == 200


async def test_a_call_outlives_a_failover_of_redis(raw: RawClient) -> None:
    with real_sentinel() as group:
        async with relayed(group.url, raw, lease_seconds=8.0) as nodes:
            asking = asyncio.ensure_future(nodes.ask("wait", body=b"x"))
            await until_equal(lambda: nodes.app.carried_out, [""], "what the app was asked")
            await asyncio.to_thread(group.wait_until_whole)
            replica = group.replica_of(next(port for port in group._running() if group.is_primary(port)))
            await asyncio.to_thread(group.hand_over, replica)
            await asyncio.to_thread(group.wait_until_primary, replica)
            assert (await nodes.ask(body=b"next")).status == 200
            nodes.app.go_on.set()
            assert (await asking).body == b"waited"
            assert nodes.app.carried_out == ["", ""]


async def test_a_full_redis_is_told_of_and_outlived(raw: RawClient, caplog: pytest.LogCaptureFixture) -> None:
    full = ("--maxmemory-policy", "noeviction")
    async with real_redis("redis", *full) as redis, relayed(redis.url, raw) as nodes, redis.client() as client:
        await client.config_set("maxmemory", "1mb")
        asking = asyncio.ensure_future(nodes.ask(body=b"x"))
        await until_equal(lambda: "waits (peer_link)" in caplog.text, True, "whether it was told")
        await client.config_set("maxmemory", "0")
        assert (await asking).status == 200
        assert nodes.app.carried_out == [""]
        assert caplog.text.count("waits (peer_link)") <= 2  # either way


async def test_what_others_write_into_a_mailbox_changes_nothing(
    raw: RawClient, caplog: pytest.LogCaptureFixture
) -> None:
    async with real_redis() as redis, relayed(redis.url, raw) as nodes, redis.client(decode_responses=False) as client:
        caplog.set_level(logging.WARNING, "mooring.forwarding")
        key = f"mcp:mailbox:{{{nodes.owner.id}}}".encode()
        seen: list[bytes] = []
        relay = relay_of(nodes.owner)
        take = relay._take
        relay._take = lambda data: (seen.append(data), take(data))[1]  # type: ignore[method-assign, func-returns-value]
        assert (await nodes.ask(body=b"mine")).status == 200
        junk = [b"", b"\x01", b"\x01Q" + bytes(40), secrets.token_bytes(300), b"\xff" * 70_000]
        bent = [frame[:-1] + bytes([frame[-1] ^ 1]) for frame in seen]
        turned = [frame[:1] + b"A" + frame[2:] for frame in seen]
        for frame in [*junk, *seen, *bent, *turned]:
            await client.xadd(key, {"f": frame})
        await client.xadd(key, {"other": b"x"})
        assert (await nodes.ask(body=b"mine")).status == 200
        assert nodes.app.carried_out == ["", ""]
        assert caplog.text.count("was dropped") == 1
        assert "redis_url" in caplog.text
        for node in (nodes.asked, nodes.owner):
            await until_equal(lambda node=node: len(relay_of(node)._exchanges), 0, "what is under way")


async def test_a_mailbox_full_of_junk_delays_and_stops_nothing(raw: RawClient) -> None:
    async with real_redis() as redis, relayed(redis.url, raw) as nodes, redis.client(decode_responses=False) as client:
        key = f"mcp:mailbox:{{{nodes.owner.id}}}".encode()

        for _ in range(5):
            pipeline = client.pipeline(transaction=False)
            for _ in range(4000):
                pipeline.xadd(key, {"f": b"x" * 100})
            await pipeline.execute()
            assert (await nodes.ask(body=b"x")).status == 200


async def test_nothing_of_a_request_is_in_redis_as_it_was_said(raw: RawClient) -> None:
    async with real_redis() as redis, relayed(redis.url, raw) as nodes, redis.client(decode_responses=False) as client:
        written: list[bytes] = []

        async def watch() -> None:
            async with client.monitor() as monitor:
                while True:
                    written.append(str(await monitor.next_command()).encode())

        watching = asyncio.ensure_future(watch())
        await until_equal(lambda: len(written) > 0, True, "whether anything is seen")
        said = {"authorization": "Bearer hidden-token", "x-entry": "hidden-entry"}
        assert (await nodes.ask(body=b"hidden-body", headers=said)).status == 200
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        text = b"".join(written)
        assert b"mcp:mailbox" in text
        assert b"hidden" not in text


async def test_a_node_that_leaves_answers_what_it_was_asked_and_keys_go(raw: RawClient) -> None:
    async with real_redis() as redis:
        async with relayed(redis.url, raw) as nodes:
            asking = asyncio.ensure_future(nodes.ask("wait", body=b"x"))
            await until_equal(lambda: nodes.app.carried_out, [""], "what the app was asked")
            nodes.owner.server.stop()
            nodes.app.go_on.set()
            assert (await asking).body == b"waited"

        async with redis.client() as client:
            left = [key for key in await redis.keys() if "mailbox" in key]
            assert len(left) == 2
            assert all([0 < await client.pttl(key) <= 5000 for key in left])


async def test_a_peer_is_asked_about_its_lease_where_it_is_met(raw: RawClient) -> None:
    async with real_redis() as redis, relayed(redis.url, raw) as nodes:
        node, peer = nodes.asked.mooring._node, nodes.owner.mooring._node
        shards = list(peer.membership.shards)
        [(told_by, word)] = await node.ways.questions.ask([peer.describe()], shards)
        assert (told_by.id, word.can_renew, sorted(word.owners)) == (peer.id, True, sorted(shards))
        await die(nodes.owner)
        begun = time.monotonic()
        assert await node.ways.questions.ask([peer.describe()], shards) == []
        assert time.monotonic() - begun < 4
