"""What is sealed opens where it was sealed for, with a secret that was in use then, and nowhere else."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mooring.core.sealing import NONCE_BYTES, OVERHEAD_BYTES, Seals, is_sealed
from mooring.errors import SealBroken

OLD, NEW = "an old secret of the cluster", "a new secret of the cluster"
SEALS = Seals([OLD], "mcp")
NONCE = bytes(range(NONCE_BYTES))
SESSION = "abcde.AAAAAAAAAAAAAAAAAAAAAA.BBBBBBBBBBB"


@given(st.binary(max_size=100), st.text(st.characters(codec="utf-8"), max_size=20), st.binary(min_size=12, max_size=12))
def test_what_was_sealed_opens_and_shows_nothing(text: bytes, what: str, nonce: bytes) -> None:
    sealed = SEALS.seal(text, SESSION, what, nonce)
    assert SEALS.open(sealed, SESSION, what) == text
    assert is_sealed(sealed)
    assert len(sealed) == len(text) + OVERHEAD_BYTES
    if len(text) > 4:
        assert text not in sealed[-len(text) - 16 :]


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b' {"a": 1}', b"null", b"1"])
def test_nothing_in_plain_looks_sealed_or_opens(text: bytes) -> None:
    assert not is_sealed(text)
    with pytest.raises(SealBroken):
        SEALS.open(text, SESSION, "initialize")


SEALED = SEALS.seal(b"a text", SESSION, "initialize", NONCE)


@pytest.mark.parametrize("place", range(len(SEALED)))
def test_a_change_of_any_byte_is_noticed(place: int) -> None:
    changed = bytearray(SEALED)
    changed[place] ^= 1
    with pytest.raises(SealBroken):
        SEALS.open(bytes(changed), SESSION, "initialize")


@pytest.mark.parametrize("length", range(len(SEALED)))
def test_a_text_that_is_cut_does_not_open(length: int) -> None:
    with pytest.raises(SealBroken):
        SEALS.open(SEALED[:length], SESSION, "initialize")


@pytest.mark.parametrize(
    ("seals", "session_id", "what"),
    [
        (SEALS, "abcde.CAAAAAAAAAAAAAAAAAAAAA.BBBBBBBBBBB", "initialize"),
        (SEALS, SESSION, "subscriptions"),
        (SEALS, SESSION, ""),
        (Seals([OLD], "other"), SESSION, "initialize"),
        (Seals([NEW], "mcp"), SESSION, "initialize"),
    ],
)
def test_it_opens_nowhere_else(seals: Seals, session_id: str, what: str) -> None:
    with pytest.raises(SealBroken):
        seals.open(SEALED, session_id, what)


def test_a_secret_is_changed_step_by_step() -> None:
    steps = [Seals(secrets, "mcp") for secrets in ([OLD], [OLD, NEW], [NEW, OLD], [NEW])]
    for before, after in pairwise(steps):
        for sealing, opening in ((before, after), (after, before)):
            sealed = sealing.seal(b"a text", SESSION, "initialize", NONCE)
            assert opening.open(sealed, SESSION, "initialize") == b"a text"
    with pytest.raises(SealBroken, match="another secret"):
        steps[-1].open(SEALED, SESSION, "initialize")


def test_a_secret_that_is_given_twice_is_one() -> None:
    assert Seals([OLD, OLD], "mcp").open(SEALED, SESSION, "initialize") == b"a text"
