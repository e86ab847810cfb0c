"""A node that cannot renew asks its peers: over a real wire, and of peers that are not what they should be."""

from __future__ import annotations

import asyncio
import itertools
import time
from dataclasses import replace

import pytest

from mooring.core.model import ShardOwner
from mooring.core.signing import MOVED, REFUSED
from mooring.core.standing import QUESTION_PATH, PeerWord, encode_word
from mooring.node.links.asking import PeerQuestions, word_mac
from tests.fakes import store_that_is_away
from tests.node.clusters import Cluster, three_nodes
from tests.node.links.odd_peer import KEY, ME, PEER, Head, odd_peer

SHARDS = ["".join(letters) for letters in itertools.islice(itertools.product("abcdefg", repeat=5), 3000)]
WORD = PeerWord(True, {"aaaaa": ShardOwner(PEER.id, 3)})


def questions(within_seconds: float = 5.0) -> PeerQuestions:
    return PeerQuestions(KEY, ME, within_seconds, time.time)


def said(head: Head, word: PeerWord = WORD, key: bytes = KEY) -> bytes:
    """A whole answer, as a peer with this key would give it."""
    nonce = next(value.decode() for name, value in head.headers if name == b"mooring-peer").split(";")[4]
    text = encode_word(word)
    mac = word_mac(key, nonce)
    mac.update(text)
    return b"content-length: %d\r\n\r\n" % (len(text) + 32) + text + mac.digest()


async def test_peers_say_whether_they_can_renew_and_whose_the_shards_are(cluster: Cluster) -> None:
    first, second, third = (node.mooring._node for node in cluster.nodes)
    shards = [*first.membership.shards, "zzzzz"]
    third.keeper._store = store_that_is_away()
    answers = await first.keeper._peers._ask([second.describe(), third.describe()], shards)
    owned = {shard: ShardOwner(first.id, epoch) for shard, epoch in first.membership.shards.items()}
    assert [word for _, word in answers] == [PeerWord(True, owned), PeerWord(False, owned)]
    assert [peer.id for peer, _ in answers] == [second.id, third.id]


async def test_servers_with_a_root_path_are_asked_as_well() -> None:
    async with three_nodes(uvicorn_options={"root_path": "/api"}) as cluster:
        first, second, _ = (node.mooring._node for node in cluster.nodes)
        answers = await first.keeper._peers._ask([second.describe()], [])
        assert [word for _, word in answers] == [PeerWord(True, {})]


async def test_two_that_ask_each_other_do_not_wait_for_each_other(cluster: Cluster) -> None:
    nodes = [node.mooring._node for node in cluster.nodes]
    for node in nodes:
        node.keeper._store = store_that_is_away()
    async with asyncio.timeout(5):
        await asyncio.gather(*(node.keeper.beat() for node in nodes))
    assert [str(node.membership.standing) for node in nodes] == ["away"] * 3


async def test_the_shards_are_in_the_question_and_nothing_else_of_the_node() -> None:
    async with odd_peer() as peer:

        async def answer(head: Head, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(head.signed() + said(head))

        peer.answer = answer
        assert await questions().ask([peer.info], ["bbbbb", "aaaaa"]) == [(peer.info, WORD)]
        assert (peer.heads[0].method, peer.heads[0].target) == ("GET", f"{QUESTION_PATH}?aaaaa+bbbbb".encode())


async def test_a_word_that_comes_in_pieces_is_heard_whole() -> None:
    """Of a node that has many shards it does, over any network; and then it was nobody's word."""
    async with odd_peer() as peer:
        word = PeerWord(True, {shard: ShardOwner(PEER.id, 3) for shard in SHARDS})

        async def answer(head: Head, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            whole = head.signed() + said(head, word)
            for start in range(0, len(whole), 20_000):
                writer.write(whole[start : start + 20_000])
                await writer.drain()
                await asyncio.sleep(0)

        peer.answer = answer
        assert await questions().ask([peer.info], []) == [(peer.info, word)]


@pytest.mark.parametrize(
    "kind",
    [
        "unsigned",
        "another key",
        "as another node",
        "refused",
        "moved",
        "word of another",
        "no word",
        "half",
        "redirect",
    ],
)
async def test_an_answer_that_is_not_surely_the_peers_word_is_none(kind: str) -> None:
    async def answer(head: Head, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        match kind:
            case "unsigned":
                writer.write(b"HTTP/1.1 200 OK\r\n" + said(head))
            case "another key":
                writer.write(head.signed(key=b"another") + said(head))
            case "as another node":
                writer.write(head.signed(as_node="node-9-aaaaa") + said(head))
            case "refused":
                writer.write(head.signed(verdict=REFUSED) + said(head))
            case "moved":
                writer.write(head.signed(verdict=MOVED) + said(head))
            case "word of another":
                writer.write(head.signed() + said(head, key=b"another"))
            case "no word":
                writer.write(head.signed() + b"content-length: 0\r\n\r\n")
            case "half":
                writer.write(head.signed() + said(head)[:-1])
            case "redirect":
                writer.write(b"HTTP/1.1 307 Elsewhere\r\nlocation: /healthz\r\ncontent-length: 0\r\n\r\n")

    async with odd_peer() as peer:
        peer.answer = answer
        assert await questions().ask([peer.info], []) == []


async def test_one_that_does_not_answer_in_time_does_not_keep_the_others_words() -> None:
    async def never(head: Head, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async def answer(head: Head, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head.signed() + said(head))

    async with odd_peer() as silent, odd_peer() as peer:
        silent.answer, peer.answer = never, answer
        gone = replace(PEER, url="http://127.0.0.1:1")
        assert await questions(0.5).ask([silent.info, gone, peer.info], []) == [(peer.info, WORD)]


async def test_nobody_is_asked_where_there_is_nobody() -> None:
    assert await questions().ask([], ["aaaaa"]) == []
