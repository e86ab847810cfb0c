from __future__ import annotations

import asyncio
import itertools
import json
import tracemalloc
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mooring.asgi import Message
from mooring.core.signing import BODY_MAC_BYTES, BodyMac
from mooring.node.requests.bodies import RememberedBody, SignedBody, WantedBody, changed_as_it_passes

PROPERTY = settings(deadline=None, max_examples=100)
KEY = b"k" * 32
NONCE = "n" * 22
DISCONNECT: Message = {"type": "http.disconnect"}
LIMIT = 64

bodies = st.binary(max_size=100)
cuts = st.lists(st.integers(0, 140), max_size=5)


class Client:
    """Sends its messages one by one; after the last it is gone, as an ASGI server says again and again."""

    def __init__(self, messages: Iterable[Message]) -> None:
        self._messages = iter(messages)
        self.asked = 0

    async def receive(self) -> Message:
        self.asked += 1
        return next(self._messages, DISCONNECT)


def in_pieces(body: bytes, places: list[int]) -> list[bytes]:
    bounds = [0, *sorted(min(place, len(body)) for place in places), len(body)]
    return [body[start:end] for start, end in itertools.pairwise(bounds)]


def messages(pieces: list[bytes], *, is_whole: bool = True) -> list[Message]:
    return [
        {"type": "http.request", "body": piece, "more_body": not is_whole or position < len(pieces) - 1}
        for position, piece in enumerate(pieces)
    ]


async def read(receive: Any) -> tuple[bytes, bool]:
    """What an app gets that reads to the end: the body, and whether it was whole."""
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return body, False
        body += message.get("body", b"")
        if not message.get("more_body", False):
            return body, True


# RememberedBody


@PROPERTY
@given(bodies, cuts)
async def test_a_body_passes_as_it_comes(body: bytes, places: list[int]) -> None:
    sent = messages(in_pieces(body, places))
    remembered = RememberedBody(Client(sent).receive, LIMIT)
    assert [await remembered.receive() for _ in sent] == sent
    assert remembered.is_whole
    assert await remembered.receive() == DISCONNECT


@PROPERTY
@given(bodies, cuts)
@example(b"x" * LIMIT, [])
@example(b"x" * (LIMIT + 1), [])
@example(b"x" * (LIMIT + 9), [LIMIT + 3, LIMIT + 6])
async def test_a_body_is_remembered_up_to_the_limit(body: bytes, places: list[int]) -> None:
    remembered = RememberedBody(Client(messages(in_pieces(body, places))).receive, LIMIT)
    assert await read(remembered.receive) == (body, True)
    assert remembered.is_lost == (len(body) > LIMIT)
    assert remembered.raw() == (b"" if remembered.is_lost else body)


@PROPERTY
@given(bodies, cuts)
async def test_a_body_that_breaks_off_is_not_whole(body: bytes, places: list[int]) -> None:
    remembered = RememberedBody(Client(messages(in_pieces(body, places), is_whole=False)).receive, LIMIT)
    assert await read(remembered.receive) == (body, False)
    assert not remembered.is_whole
    assert remembered.raw() == b""
    assert remembered.message() == {}


@PROPERTY
@given(bodies, cuts, st.integers(0, 6), st.booleans())
async def test_the_rest_is_read_to_the_end_or_the_limit(
    body: bytes, places: list[int], taken: int, is_whole: bool
) -> None:
    pieces = in_pieces(body, places)
    client = Client(messages(pieces, is_whole=is_whole))
    remembered = RememberedBody(client.receive, LIMIT)
    for _ in range(min(taken, len(pieces))):
        await remembered.receive()
    await remembered.read_rest()
    if len(body) <= LIMIT:
        assert remembered.is_whole == is_whole
        assert remembered.raw() == (body if is_whole else b"")
        assert client.asked <= len(pieces) + (not is_whole)
    else:
        assert remembered.is_lost


async def test_reading_the_rest_twice_asks_for_nothing_more() -> None:
    client = Client(messages([b"a", b"b"]))
    remembered = RememberedBody(client.receive, LIMIT)
    await remembered.read_rest()
    await remembered.read_rest()
    assert client.asked == 2


async def test_nothing_more_is_read_of_a_body_that_is_too_large() -> None:
    client = Client(messages([b"x" * LIMIT] * 10))
    remembered = RememberedBody(client.receive, LIMIT)
    await remembered.read_rest()
    assert client.asked == 2
    assert remembered.is_lost


@PROPERTY
@given(st.binary(min_size=1, max_size=LIMIT), cuts, st.integers(1, 6), st.booleans())
async def test_a_second_reader_gets_the_body_from_its_beginning(
    body: bytes, places: list[int], taken: int, is_whole: bool
) -> None:
    pieces = [piece for piece in in_pieces(body, places) if piece]
    remembered = RememberedBody(Client(messages(pieces, is_whole=is_whole)).receive, LIMIT)
    for _ in range(min(taken, len(pieces))):
        await remembered.receive()
    for _ in range(3):
        reader = remembered.from_start()
        assert await read(reader) == (body, is_whole)
        assert await reader() == DISCONNECT


@pytest.mark.parametrize("pieces", [[b"whole"], [b"in ", b"pieces"], [b"", b"late"]])
async def test_a_second_reader_after_a_first_that_read_nothing(pieces: list[bytes]) -> None:
    remembered = RememberedBody(Client(messages(pieces)).receive, LIMIT)
    reader = remembered.from_start()
    assert await read(reader) == (b"".join(pieces), True)
    assert await reader() == DISCONNECT


async def test_what_comes_after_the_body_is_passed_on_and_not_remembered() -> None:
    extra: Message = {"type": "http.request", "body": b"extra", "more_body": False}
    remembered = RememberedBody(Client([*messages([b"{}"]), extra]).receive, LIMIT)
    assert await read(remembered.receive) == (b"{}", True)
    assert await remembered.receive() == extra
    assert remembered.raw() == b"{}"


async def test_a_message_without_its_optional_keys_is_an_empty_whole_body() -> None:
    remembered = RememberedBody(Client([{"type": "http.request"}]).receive, LIMIT)
    assert await read(remembered.receive) == (b"", True)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"id": 1, "method": "initialize"}', {"id": 1, "method": "initialize"}),
        (b"", {}),
        (b"[1]", {}),
        (b'"text"', {}),
        (b"{", {}),
        (b"\xff\xfe\xfd", {}),
        (b'{"id": \xff}', {}),
        (b"9" * 10_000, {}),
        (b"[" * 50_000, {}),
    ],
    ids=["message", "nothing", "batch", "text", "broken", "bytes", "broken text", "long number", "deep"],
)
async def test_the_message_is_an_object_or_empty(body: bytes, expected: dict[str, Any]) -> None:
    remembered = RememberedBody(Client(messages([body])).receive, 64 * 1024)
    await remembered.read_rest()
    assert remembered.message() == expected


@PROPERTY
@given(bodies, cuts)
async def test_no_body_makes_reading_its_message_fail(body: bytes, places: list[int]) -> None:
    remembered = RememberedBody(Client(messages(in_pieces(body, places))).receive, LIMIT)
    await remembered.read_rest()
    assert isinstance(remembered.message(), dict)


async def test_there_is_no_message_before_the_body_is_whole() -> None:
    whole = json.dumps({"id": 1}).encode()
    remembered = RememberedBody(Client(messages([whole, b""])).receive, LIMIT)
    await remembered.receive()
    assert remembered.message() == {}
    await remembered.receive()
    assert remembered.message() == {"id": 1}


# SignedBody


def signed(body: bytes) -> bytes:
    mac = BodyMac(KEY, NONCE)
    mac.update(body)
    return body + mac.digest()


def checked(sent: list[Message]) -> SignedBody:
    return SignedBody(Client(sent).receive, BodyMac(KEY, NONCE))


@PROPERTY
@given(bodies, cuts)
async def test_a_signed_body_arrives_less_its_mac(body: bytes, places: list[int]) -> None:
    signed_body = checked(messages(in_pieces(signed(body), places)))
    assert await read(signed_body.receive) == (body, True)
    assert not signed_body.is_forged
    assert await signed_body.receive() == DISCONNECT
    assert not signed_body.is_forged


@PROPERTY
@given(bodies, cuts, st.integers(0, 200), st.integers(1, 255))
async def test_a_body_with_a_changed_byte_is_never_whole(
    body: bytes, places: list[int], position: int, difference: int
) -> None:
    changed = bytearray(signed(body))
    changed[position % len(changed)] ^= difference
    await assert_forged(bytes(changed), places)


@PROPERTY
@given(bodies, cuts)
async def test_an_unsigned_body_is_never_whole(body: bytes, places: list[int]) -> None:
    await assert_forged(body, places)


@PROPERTY
@given(bodies, cuts, st.binary(min_size=1, max_size=40))
async def test_a_body_with_something_added_or_lost_is_never_whole(body: bytes, places: list[int], more: bytes) -> None:
    await assert_forged(more + signed(body), places)
    await assert_forged(signed(body) + more, places)
    await assert_forged(signed(body)[: -len(more)], places)


async def assert_forged(sent: bytes, places: list[int]) -> None:
    signed_body = checked(messages(in_pieces(sent, places)))
    body, is_whole = await read(signed_body.receive)
    assert not is_whole
    assert signed_body.is_forged
    assert body == sent[: len(body)]
    assert len(body) <= max(0, len(sent) - BODY_MAC_BYTES)
    assert await signed_body.receive() == DISCONNECT


@pytest.mark.parametrize(("key", "nonce"), [(b"o" * 32, NONCE), (KEY, "m" * 22)], ids=["key", "nonce"])
async def test_a_body_signed_for_another_request_is_forged(key: bytes, nonce: str) -> None:
    signed_body = SignedBody(Client(messages([signed(b"{}")])).receive, BodyMac(key, nonce))
    assert await read(signed_body.receive) == (b"", False)
    assert signed_body.is_forged


@PROPERTY
@given(bodies, cuts)
async def test_a_peer_that_leaves_in_the_middle_has_forged_nothing(body: bytes, places: list[int]) -> None:
    signed_body = checked(messages(in_pieces(signed(body), places), is_whole=False))
    got, is_whole = await read(signed_body.receive)
    assert not is_whole
    assert got == body
    assert not signed_body.is_forged


@PROPERTY
@given(bodies, cuts)
async def test_nothing_is_held_back_but_what_may_be_the_mac(body: bytes, places: list[int]) -> None:
    pieces = in_pieces(signed(body), places)
    signed_body = checked(messages(pieces))
    sent = passed = 0
    for piece in pieces:
        sent += len(piece)
        passed += len((await signed_body.receive())["body"])
        assert passed == max(0, sent - BODY_MAC_BYTES)


async def remembered(body: bytes, limit: int = 1_000) -> RememberedBody:
    read = RememberedBody(Client([{"type": "http.request", "body": body, "more_body": False}]).receive, limit)
    await read.read_rest()
    return read


async def test_what_a_body_asks_and_by_what_it_is_known_again() -> None:
    call, other = (json.dumps({"id": 7, "method": method}).encode() for method in ("a", "b"))
    read = await remembered(call)
    assert (read.asked(), read.holds(b"x", b'"a"'), read.holds(b"x")) == (7, True, False)
    assert read.digest() == (await remembered(call)).digest() != (await remembered(other)).digest()
    assert (await remembered(b"[" + call + b"," + other + b"]")).asked() == (7, 7)
    assert (await remembered(b'{"id": 7, "result": {}}')).asked() is None


async def test_of_a_large_body_nothing_is_known_but_its_id() -> None:
    read = await remembered(json.dumps({"id": 7, "method": "a", "params": "x" * 99}).encode(), limit=64)
    assert (read.asked(), read.digest(), read.holds(b"x")) == (7, b"", False)


@PROPERTY
@given(st.lists(st.sampled_from([b"one", b"on", b"e", b"neon", b""]), max_size=12), cuts, st.booleans())
def test_what_is_changed_as_it_passes_is_what_the_whole_would_have_been(
    parts: list[bytes], places: list[int], is_whole: bool
) -> None:
    body = b"".join(parts)
    client = Client(messages(in_pieces(body, places), is_whole=is_whole))
    receive = changed_as_it_passes(client.receive, lambda data: data.replace(b"one", b"1"), 3)
    changed, was_whole = asyncio.run(read(receive))
    assert was_whole == is_whole
    assert changed == body.replace(b"one", b"1") if is_whole else body.replace(b"one", b"1").startswith(changed)


# What is waited for until it is whole.


def pieces_of(*pieces: bytes, ends: bool = True) -> list[Message]:
    last = len(pieces) - 1
    return [
        {"type": "http.request", "body": piece, "more_body": number < last or not ends}
        for number, piece in enumerate(pieces)
    ]


@PROPERTY
@given(st.lists(st.binary(max_size=40), min_size=1, max_size=6), st.booleans())
async def test_what_is_waited_for_comes_to_its_reader_as_if_nobody_had(pieces: list[bytes], ends: bool) -> None:
    client = Client(pieces_of(*pieces, ends=ends))
    body = WantedBody(client.receive, LIMIT)
    await body.read()
    whole = b"".join(pieces)
    assert body.is_too_large == any(size > LIMIT for size in itertools.accumulate(map(len, pieces)))
    assert body.whole == (whole if ends and not body.is_too_large else None)
    read, more = b"", True
    while more and (message := await body.receive()) != DISCONNECT:
        read, more = read + message["body"], message["more_body"]
    assert (read, more) == (whole, not ends)
    assert await body.receive() == DISCONNECT


async def test_a_reader_that_gives_up_before_it_has_waited_has_taken_nothing() -> None:
    body = WantedBody(Client(pieces_of(b"{}")).receive, LIMIT)
    await body.read()
    asked = asyncio.ensure_future(body.receive())
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert (await body.receive())["body"] == b"{}"


async def test_a_body_that_comes_byte_by_byte_takes_no_more_than_another() -> None:
    client = Client({"type": "http.request", "body": b"x", "more_body": True} for _ in range(50_000))
    body = WantedBody(client.receive, 49_000)
    tracemalloc.start()
    try:
        await body.read()
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert body.is_too_large
    assert held < 500_000
