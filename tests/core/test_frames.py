"""Frames open for the one they are for, in their own place; their order and their credit hold whatever comes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mooring.core.frames import (
    PIECE_BYTES,
    WINDOW_BYTES,
    Credit,
    FrameSeals,
    Kind,
    Numbers,
    Order,
    Part,
    Role,
    begins,
    decode_credit,
    decode_open,
    decode_start,
    encode_credit,
    encode_open,
    encode_start,
)
from mooring.core.sealing import NONCE_BYTES, Seals
from mooring.errors import SealBroken

SECRET = "a secret for tests, nowhere else"
ME, PEER, OTHER = "node-1-aaaaa", "node-2-aaaaa", "node-3-aaaaa"
EXCHANGE = bytes(range(16))
NONCE = bytes(NONCE_BYTES)


def seals(node_id: str, *secrets: str, prefix: str = "mcp") -> FrameSeals:
    return FrameSeals(Seals(secrets or [SECRET], prefix), node_id)


def sealed(role: Role = Role.ASKS, number: int = 0, receiver: str = PEER, *parts: Part) -> bytes:
    return seals(ME).seal(role, EXCHANGE, number, receiver, parts or [Part(Kind.BODY, b"text")], NONCE)


kinds = st.builds(Part, st.sampled_from(Kind), st.binary(max_size=40))


@given(st.sampled_from(Role), st.integers(0, 2**64 - 1), st.lists(kinds, max_size=5))
def test_a_frame_opens_for_its_receiver_as_it_was_sealed(role: Role, number: int, parts: list[Part]) -> None:
    data = seals(ME).seal(role, EXCHANGE, number, PEER, parts, NONCE)
    frame = seals(PEER).open(data)
    assert (frame.role, frame.exchange, frame.number, frame.sender) == (role, EXCHANGE, number, ME)
    assert frame.parts == tuple(parts)
    assert begins(data) is (role is Role.ASKS and number == 0)


FRAME = sealed()


@pytest.mark.parametrize("place", range(len(FRAME)))
def test_no_bit_of_it_can_be_changed(place: int) -> None:
    bent = bytearray(FRAME)
    bent[place] ^= 1
    with pytest.raises(SealBroken):
        seals(PEER).open(bytes(bent))


@given(st.binary(max_size=120))
def test_junk_opens_for_nobody(data: bytes) -> None:
    begins(data)
    with pytest.raises(SealBroken):
        seals(PEER).open(data)


@pytest.mark.parametrize(
    "opener", [seals(OTHER), seals(ME), seals(PEER, "another secret of another one"), seals(PEER, prefix="other")]
)
def test_it_opens_for_nobody_else(opener: FrameSeals) -> None:
    with pytest.raises(SealBroken):
        opener.open(FRAME)


def test_while_the_secret_is_changed_both_open() -> None:
    new = "a new secret of this cluster"
    assert seals(PEER, new, SECRET).open(FRAME).sender == ME


@pytest.mark.parametrize("end", range(len(FRAME)))
def test_a_part_of_a_frame_is_none(end: int) -> None:
    with pytest.raises(SealBroken):
        seals(PEER).open(FRAME[:end])


headers = st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=20)), max_size=4)


@given(st.binary(max_size=40), headers)
def test_requests_and_answers_come_as_they_went(target: bytes, given_headers: list[tuple[bytes, bytes]]) -> None:
    assert decode_open(encode_open("POST", target, given_headers)) == ("POST", target, given_headers)
    assert decode_start(encode_start(204, given_headers)) == (204, given_headers)


@given(
    st.binary(max_size=60) | st.sampled_from([b"null", b"[]", b"[1,2]", b'["POST",1,[]]', b'["a","b",[["\\u0100"]]]'])
)
def test_what_a_later_version_may_say_is_not_half_understood(data: bytes) -> None:
    for decode in (decode_open, decode_start, decode_credit):
        try:
            decode(Part(Kind.OPEN, data))
        except SealBroken:
            continue


@given(st.integers(0, 2**32 - 1))
def test_credit_comes_as_it_went(count: int) -> None:
    assert decode_credit(encode_credit(count)) == count


@given(st.lists(st.integers(0, 6)))
def test_numbers_are_taken_once_and_in_their_order(numbers: list[int]) -> None:
    order, due = Numbers(), 0
    for number in numbers:
        took = order.take(number)
        assert took is (Order.DUE if number == due else Order.SEEN if number < due else Order.LOST)
        due += took is Order.DUE


@given(st.lists(st.tuples(st.booleans(), st.integers(1, PIECE_BYTES))))
def test_who_keeps_to_the_credit_never_sends_too_much_and_never_stands_still(steps: list[tuple[bool, int]]) -> None:
    sender, reader, under_way = Credit(), Credit(), []
    for sends, size in steps:
        if sends and sender.left > 0:
            size = min(size, sender.left)
            sender.spend(size)
            assert reader.comes(size)
            under_way.append(size)
        elif under_way and (given := reader.reads(under_way.pop(0))):
            sender.earn(given)
        assert sum(under_way) <= WINDOW_BYTES
    for size in under_way:
        sender.earn(reader.reads(size))
    assert sender.left > 0


def test_who_sends_more_than_that_is_found_out() -> None:
    reader = Credit()
    assert reader.comes(WINDOW_BYTES)
    assert not reader.comes(1)
