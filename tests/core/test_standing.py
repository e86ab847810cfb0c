from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mooring.core.ids import SHARD_ALPHABET
from mooring.core.model import ShardOwner
from mooring.core.standing import PeerWord, Standing, decode_word, encode_word, judge

CAN, CANNOT = PeerWord(True, {}), PeerWord(False, {})


@pytest.mark.parametrize(
    ("peers", "words", "standing"),
    [
        (0, [], Standing.AWAY),
        (1, [CANNOT], Standing.AWAY),
        (1, [CAN], Standing.CUT_OFF),
        (1, [], Standing.ISOLATED),
        (2, [CANNOT], Standing.AWAY),
        (2, [CANNOT, CANNOT], Standing.AWAY),
        (2, [CANNOT, CAN], Standing.CUT_OFF),
        (2, [], Standing.ISOLATED),
        (3, [CANNOT], Standing.ISOLATED),
        (3, [CANNOT, CANNOT], Standing.AWAY),
        (4, [CANNOT], Standing.ISOLATED),
    ],
)
def test_how_a_node_stands(peers: int, words: list[PeerWord], standing: Standing) -> None:
    assert judge(peers, words) is standing


@given(nodes=st.integers(2, 40), data=st.data())
def test_of_two_parts_that_lost_each_other_and_the_store_at_most_one_goes_on(nodes: int, data: st.DataObject) -> None:
    here = data.draw(st.integers(1, nodes - 1))
    parts = (here, nodes - here)
    assert [judge(nodes - 1, [CANNOT] * (part - 1)) for part in parts].count(Standing.AWAY) <= 1


@given(
    st.booleans(),
    st.dictionaries(
        st.text(SHARD_ALPHABET, min_size=5, max_size=5),
        st.builds(ShardOwner, st.text("abc-123", min_size=1), st.integers(1, 10**12)),
    ),
    st.none() | st.integers(0, 10**13),
)
def test_a_word_is_read_as_it_was_said(can_renew: bool, owners: dict[str, ShardOwner], time_ms: int | None) -> None:
    word = PeerWord(can_renew, owners, time_ms)
    read = decode_word(encode_word(word))
    assert (read, read.time_ms) == (word, time_ms)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff",
        b"[]",
        b"null",
        b"{}",
        b'{"can_renew": true}',
        b'{"can_renew": true, "owners": []}',
        b'{"can_renew": true, "owners": {"aaaaa": [1]}}',
        b'{"can_renew": true, "owners": {"aaaaa": ["x", "y"]}}',
        b'{"can_renew": true, "owners": {"aaaaa": null}}',
        b'{"can_renew": true, "owners": {}, "time_ms": "now"}',
        b'{"can_renew": true, "owners": {}, "time_ms": 1e999}',
    ],
)
def test_what_is_no_word_is_refused(text: bytes) -> None:
    try:
        decode_word(text)
    except ValueError:
        return
    pytest.fail("it was taken for a word")


def test_only_a_clear_yes_is_one_and_no_foreign_shard_is_taken_in() -> None:
    word = decode_word(b'{"can_renew": "yes", "owners": {"../..": [1, "node-2-aaaaa"]}, "more": 1}')
    assert word == PeerWord(False, {})
