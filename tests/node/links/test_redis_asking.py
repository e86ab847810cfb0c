"""A request that goes out through Redis, and what its sender is told where it is not answered."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

import pytest

from mooring.asgi import Message, Scope
from mooring.core.frames import Kind, Part, decode_open, encode_start
from mooring.core.signing import ACCEPTED, REFUSED, SEEN, sign_reply
from mooring.errors import PeerMoved, PeerSilent
from mooring.node.links.hop import Lives
from mooring.node.links.peer_link import PassedRequest
from mooring.node.links.redis_asking import RedisForwarder
from mooring.node.links.redis_exchange import Exchange
from tests.node.links.mailboxes import ANSWERS, ASKS, Ends, two_ends
from tests.node.links.odd_peer import KEY, PEER
from tests.waiting import until

TO = replace(PEER, id=ANSWERS)


@dataclass
class Asked:
    """One request that is passed on, as its client and its owner see it."""

    ends: Ends
    link: RedisForwarder
    nonce: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    sent: list[Message] = field(default_factory=list)
    body: bytes = b"{}"

    async def ask(self) -> None:
        scope: Scope = {
            "type": "http",
            "method": "POST",
            "path": "/mcp",
            "raw_path": b"/mcp",
            "query_string": b"",
            "headers": [(b"content-length", b"%d" % len(self.body))],
        }

        async def receive() -> Message:
            return {"type": "http.request", "body": self.body, "more_body": False}

        async def send(message: Message) -> None:
            self.sent.append(dict(message))

        request = PassedRequest(self.nonce, None, scope, receive, send, lambda: b"last words")
        await self.link.forward(TO, request)

    def reply(self, verdict: str = ACCEPTED, status: int = 200, as_node: str = ANSWERS) -> Part:
        said = sign_reply(KEY, self.nonce, as_node, verdict, status)
        return encode_start(status, [(b"mooring-reply", said.encode()), (b"content-type", b"text/event-stream")])

    async def arrived(self) -> Exchange:
        await self.ends.turns(100)
        return self.ends.came[-1]


@contextlib.asynccontextmanager
async def asked() -> AsyncIterator[Asked]:
    async with two_ends() as ends:
        lives = Lives(lambda node_id: node_id not in ends.dead, 0.01)
        yield Asked(ends, RedisForwarder(ends.asking, KEY, ASKS, 0.2, 0.6, lives, time.time))


async def test_a_request_arrives_signed_and_its_answer_comes_back_as_it_is_said() -> None:
    async with asked() as one:
        asking = asyncio.ensure_future(one.ask())
        exchange = await one.arrived()
        method, target, headers = decode_open(await exchange.hear())
        assert (method, target) == ("POST", b"/mcp")
        assert {b"mooring-peer", b"mooring-client"} <= dict(headers).keys()
        body = (await exchange.hear()).data
        assert body[:2] == b"{}"
        assert len(body) > 2  # and its MAC
        assert (await exchange.hear()).kind is Kind.END
        exchange.say(one.reply())
        await exchange.say_body(b"data: 1\n\n")
        await one.ends.turns(100)
        assert [message.get("body") for message in one.sent] == [None, b"data: 1\n\n"]
        exchange.close(Part(Kind.END))
        await asking
        assert one.sent[-1]["more_body"] is False
        assert not any(name.startswith(b"mooring-") for name, _ in one.sent[0]["headers"])


async def test_whoever_stops_it_in_the_middle_of_an_answer_is_told_that_alone() -> None:
    async with asked() as one:
        asking = asyncio.ensure_future(one.ask())
        exchange = await one.arrived()
        exchange.say(one.reply())
        await exchange.say_body(b"data: 1\n\n")
        await one.ends.turns(100)
        assert one.sent[-1]["body"] == b"data: 1\n\n"
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking


@pytest.mark.parametrize(
    ("part", "may_have_run", "is_final"),
    [
        (lambda one: Part(Kind.REFUSE), False, False),
        (lambda one: Part(Kind.LEAVE), True, False),
        (lambda one: encode_start(200, []), True, False),
        (lambda one: Part(Kind.START, b"?"), True, False),
        (lambda one: one.reply(as_node="node-3-aaaaa"), True, False),
        (lambda one: one.reply(REFUSED, 421), False, False),
        (lambda one: one.reply(SEEN, 421), True, True),
    ],
)
async def test_what_is_no_answer_is_told_and_sends_nothing(part: object, may_have_run: bool, is_final: bool) -> None:
    async with asked() as one:
        asking = asyncio.ensure_future(one.ask())
        (await one.arrived()).close(part(one))  # type: ignore[operator]
        with pytest.raises(PeerSilent) as caught:
            await asking
        assert (caught.value.may_have_run, caught.value.is_final) == (may_have_run, is_final)
        assert one.sent == []


async def test_a_peer_that_does_not_own_the_shard_is_believed() -> None:
    async with asked() as one:
        asking = asyncio.ensure_future(one.ask())
        (await one.arrived()).close(one.reply("moved:node-3-aaaaa:7", 421))
        with pytest.raises((PeerMoved, PeerSilent)):
            await asking


async def test_what_did_not_get_into_the_mailbox_was_not_carried_out() -> None:
    async with asked() as one:
        del one.ends.office.boxes[ANSWERS]
        with pytest.raises(PeerSilent) as caught:
            await one.ask()
        assert not caught.value.may_have_run
        one.ends.office.boxes[ANSWERS] = []
        await asyncio.sleep(0.1)
        assert one.ends.came == []  # nor is it later


async def test_a_redis_that_is_just_slow_is_waited_for() -> None:
    async with asked() as one:
        one.ends.office.is_away = one.ends.office.takes_though_away = True
        asking = asyncio.ensure_future(one.ask())
        await asyncio.sleep(0.3)
        one.ends.office.is_away = False

        async def came() -> list[Exchange]:
            return one.ends.came

        [exchange] = await until(came, what="the request")
        exchange.say(one.reply())
        exchange.close(Part(Kind.END))
        await asking
        assert len(one.ends.came) == 1


@pytest.mark.parametrize("is_taken", [True, False])
async def test_what_redis_is_about_to_take_goes_nowhere_else_before_that_is_known(is_taken: bool) -> None:
    """It went out to the peer once more, as a new request, and was carried out twice."""
    async with asked() as one:
        one.ends.office.takes.clear()
        asking = asyncio.ensure_future(one.ask())
        await asyncio.wait({asking}, timeout=0.3)  # for longer than it may take to get there
        assert not asking.done()
        if not is_taken:
            del one.ends.office.boxes[ANSWERS]
        one.ends.office.takes.set()
        if not is_taken:
            with pytest.raises(PeerSilent) as caught:
                await asking
            assert not caught.value.may_have_run
            return
        exchange = await one.arrived()
        exchange.say(one.reply())
        exchange.close(Part(Kind.END))
        await asking
        assert len(one.ends.came) == 1


async def test_of_what_redis_does_not_say_nobody_knows() -> None:
    async with asked() as one:
        one.ends.office.is_away = one.ends.office.takes_though_away = True
        with pytest.raises(PeerSilent) as caught:
            await one.ask()
        assert caught.value.may_have_run


async def test_a_request_that_a_dead_peer_has_not_read_was_not_carried_out() -> None:
    async with asked() as one:
        for task in one.ends.answering._tasks:
            task.cancel()
        await one.ends.turns()
        asking = asyncio.ensure_future(one.ask())
        await one.ends.turns(100)
        assert one.ends.office.boxes[ANSWERS]
        one.ends.dead.add(ANSWERS)
        with pytest.raises(PeerSilent) as caught:
            await asking
        assert not caught.value.may_have_run


async def test_of_one_that_it_has_read_nobody_knows() -> None:
    async with asked() as one:
        asking = asyncio.ensure_future(one.ask())
        await one.arrived()
        one.ends.dead.add(ANSWERS)
        with pytest.raises(PeerSilent) as caught:
            await asking
        assert caught.value.may_have_run


async def test_a_stream_whose_owner_dies_ends_with_last_words() -> None:
    async with asked() as one:
        asking = asyncio.ensure_future(one.ask())
        exchange = await one.arrived()
        exchange.say(one.reply())
        await exchange.say_body(b"data: 1\n\n")
        await one.ends.turns(100)
        one.ends.dead.add(ANSWERS)
        await asking
        assert b"last words" in b"".join(message.get("body", b"") for message in one.sent)


async def test_a_client_that_leaves_is_told_to_the_owner() -> None:
    async with asked() as one:
        asking = asyncio.ensure_future(one.ask())
        exchange = await one.arrived()
        asking.cancel()
        await exchange.breaks()
        await one.ends.turns()
        assert one.ends.asking._exchanges == {}


async def test_a_page_of_a_peer_is_read_whole() -> None:
    async with asked() as one:
        getting = asyncio.ensure_future(one.link.get(TO, "/page", [(b"a", b"b")]))
        exchange = await one.arrived()
        assert decode_open(await exchange.hear()) == ("GET", b"/page", [(b"a", b"b")])
        exchange.say(encode_start(200, [(b"x", b"y")]))
        await exchange.say_body(b"a")
        await exchange.say_body(b"b")
        exchange.close(Part(Kind.END))
        assert await getting == (200, [(b"x", b"y")], b"ab")
