from __future__ import annotations

import random
import string

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from mooring.core.ids import (
    ENTROPY_BYTES,
    SHARD_ALPHABET,
    SHARD_LENGTH,
    SessionIds,
    brief,
    derive_key,
    has_session_form,
    is_brief,
    is_shard,
    shard_from_entropy,
    with_brief_ids,
)

PROPERTY = settings(deadline=None, max_examples=100)
SECRET = "a secret for tests, nowhere else"
IDS = SessionIds(SECRET)
SESSION_ID = IDS.mint("abcde", bytes(range(ENTROPY_BYTES)))

shards = st.text(SHARD_ALPHABET, min_size=SHARD_LENGTH, max_size=SHARD_LENGTH)
entropies = st.binary(min_size=ENTROPY_BYTES, max_size=ENTROPY_BYTES)
minted = st.builds(IDS.mint, shards, entropies)
# HMAC fills a short key up with NULs: secrets that differ in those alone are one.
secrets = st.text(st.characters(codec="utf-8", exclude_characters="\0"))


@PROPERTY
@given(secrets, shards, entropies)
def test_a_minted_id_verifies_and_names_its_shard(secret: str, shard: str, entropy: bytes) -> None:
    ids = SessionIds(secret)
    session_id = ids.mint(shard, entropy)
    assert ids.shard_of(session_id) == shard
    assert session_id[:SHARD_LENGTH] == shard


@PROPERTY
@given(minted)
def test_an_id_is_visible_ascii_as_the_specification_asks(session_id: str) -> None:
    assert all("!" <= letter <= "~" for letter in session_id)
    assert len(session_id) == 5 + 1 + 22 + 1 + 11


@PROPERTY
@given(shards, st.lists(entropies, min_size=2, max_size=2, unique=True))
def test_ids_from_different_entropy_differ(shard: str, two: list[bytes]) -> None:
    assert IDS.mint(shard, two[0]) != IDS.mint(shard, two[1])


@settings(deadline=None, max_examples=500)
@given(minted, st.integers(0, len(SESSION_ID) - 1), st.characters() | st.sampled_from(string.printable))
def test_changing_any_one_character_never_verifies(session_id: str, position: int, letter: str) -> None:
    assume(session_id[position] != letter)
    assert IDS.shard_of(session_id[:position] + letter + session_id[position + 1 :]) is None


@pytest.mark.parametrize("position", range(len(SESSION_ID)))
def test_every_position_counts(position: int) -> None:
    """All letters that the form allows, so that nothing but the MAC can find the change."""
    for letter in string.ascii_letters + string.digits + "-_.":
        if letter != SESSION_ID[position]:
            assert IDS.shard_of(SESSION_ID[:position] + letter + SESSION_ID[position + 1 :]) is None


@PROPERTY
@given(minted, st.integers(0, len(SESSION_ID)), st.text(min_size=1))
@example(SESSION_ID, len(SESSION_ID), "\n")
@example(SESSION_ID, 0, "\0")
@example(SESSION_ID, 0, "\ufeff")
@example(SESSION_ID, len(SESSION_ID), "=")
def test_inserting_anything_never_verifies(session_id: str, position: int, more: str) -> None:
    assert IDS.shard_of(session_id[:position] + more + session_id[position:]) is None


@PROPERTY
@given(minted, st.integers(0, len(SESSION_ID) - 1), st.integers(1, len(SESSION_ID)))
def test_leaving_anything_out_never_verifies(session_id: str, position: int, length: int) -> None:
    assert IDS.shard_of(session_id[:position] + session_id[position + length :]) is None


@PROPERTY
@given(st.text() | st.from_regex(r"\A[a-z2-7]{5}\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{11}\Z"))
def test_text_that_was_not_minted_never_verifies(text: str) -> None:
    assert IDS.shard_of(text) is None


def test_ten_thousand_hostile_texts_never_verify() -> None:
    chance = random.Random(20261121)
    hostile = [
        "",
        "\0",
        "\n",
        SESSION_ID + "\n",
        SESSION_ID + "\r\nmcp-session-id: x",
        SESSION_ID.upper(),
        SESSION_ID * 2,
        SESSION_ID * 10_000,
        "a" * 1_000_000,
        "." * 41,
        SESSION_ID.replace(".", "\uff0e"),
        "\u0661\u0662\u0663\u0664\u0665" + SESSION_ID[5:],
        "\u24d0bcde" + SESSION_ID[5:],
        "\udcff" + SESSION_ID[1:],
        "{" + SESSION_ID + "}",
        f"mcp:session:{{{SESSION_ID}}}",
        "%00" + SESSION_ID,
        SESSION_ID.encode("utf-16").decode("latin-1"),
    ]
    alphabets = [string.printable, SHARD_ALPHABET, "\0\n\r\t ;:{}*?", "\u0660\u0669\u00b2\u2164\u0410\udfff\U0001f600"]
    while len(hostile) < 10_000:
        wild = "".join(chance.choice(chance.choice(alphabets)) for _ in range(chance.choice([1, 5, 41, 41, 200])))
        at = chance.randrange(len(SESSION_ID))
        hostile += [wild, SESSION_ID[:at] + wild, wild + SESSION_ID[at:], SESSION_ID[:at] + wild + SESSION_ID[at + 1 :]]
    assert [text for text in hostile if text != SESSION_ID and IDS.shard_of(text) is not None] == []


@PROPERTY
@given(st.lists(secrets, min_size=2, max_size=2, unique=True), shards, entropies)
def test_another_secret_never_verifies(two: list[str], shard: str, entropy: bytes) -> None:
    ours, theirs = map(SessionIds, two)
    assert theirs.shard_of(ours.mint(shard, entropy)) is None


@PROPERTY
@given(
    st.lists(st.tuples(secrets, st.sampled_from(["session id", "peer request", "x"])), min_size=2, unique=True),
)
def test_derived_keys_differ_by_secret_and_by_purpose(uses: list[tuple[str, str]]) -> None:
    keys = {derive_key(secret, purpose) for secret, purpose in uses}
    assert len(keys) == len(uses)
    assert all(len(key) == 32 for key in keys)


def test_of_several_secrets_the_first_mints_and_all_verify() -> None:
    old, new = SessionIds("the old one"), SessionIds("the new one")
    both, swapped = SessionIds("the old one", "the new one"), SessionIds("the new one", "the old one")
    from_old, from_new = old.mint("abcde", bytes(16)), new.mint("abcde", bytes(16))
    assert (both.mint("abcde", bytes(16)), swapped.mint("abcde", bytes(16))) == (from_old, from_new)
    for session_id, number in ((from_old, 0), (from_new, 1)):
        assert both.shard_of(session_id) == swapped.shard_of(session_id) == "abcde"
        assert (both.secret_of(session_id), swapped.secret_of(session_id)) == (number, 1 - number)
    assert new.shard_of(from_old) is None
    assert new.secret_of(from_old) is None


def test_a_key_is_never_the_secret_itself() -> None:
    assert SECRET.encode() not in derive_key(SECRET, "session id")
    assert SECRET not in repr(IDS)


@pytest.mark.parametrize("shard", ["", "abcd", "abcdef", "abcd1", "ABCDE", "abc.e", "abcd\n", "abcd\u0661"])
def test_only_a_shard_is_minted_on(shard: str) -> None:
    with pytest.raises(ValueError, match="shard of 5 letters"):
        IDS.mint(shard, bytes(ENTROPY_BYTES))


@pytest.mark.parametrize("length", [0, ENTROPY_BYTES - 1, ENTROPY_BYTES + 1])
def test_only_the_right_entropy_is_minted_from(length: int) -> None:
    with pytest.raises(ValueError, match="16 random bytes"):
        IDS.mint("abcde", bytes(length))


@PROPERTY
@given(st.text(max_size=7) | st.text(SHARD_ALPHABET + "01\n", min_size=4, max_size=6))
@example("abcde\n")
@example("\u0661\u0662\u0663\u0664\u0665")
def test_a_shard_is_five_letters_of_its_alphabet(text: str) -> None:
    assert is_shard(text) == (len(text) == SHARD_LENGTH and set(text) <= set(SHARD_ALPHABET))


@PROPERTY
@given(secrets, shards, entropies, st.text(min_size=1, max_size=3))
def test_the_form_of_a_session_id_says_nothing_of_who_minted_it(
    secret: str, shard: str, entropy: bytes, more: str
) -> None:
    session_id = SessionIds(secret).mint(shard, entropy)
    assert has_session_form(session_id)
    assert has_session_form(session_id[:-1] + "A")
    assert not has_session_form(session_id + more)
    assert not has_session_form(more + session_id)


@pytest.mark.parametrize(
    "text", ["", "\n", SESSION_ID + "\n", SESSION_ID[:-1], SESSION_ID.upper(), SESSION_ID[:6] + "*" * 35]
)
def test_what_has_not_the_form_of_a_session_id(text: str) -> None:
    assert not has_session_form(text)


def test_every_shard_is_as_likely() -> None:
    letters = "".join(shard_from_entropy(bytes([byte]) * SHARD_LENGTH)[0] for byte in range(256))
    assert {letters.count(letter) for letter in SHARD_ALPHABET} == {8}
    assert len(letters) == 256


@PROPERTY
@given(st.binary(min_size=SHARD_LENGTH, max_size=32))
def test_a_shard_comes_from_the_first_bytes_of_entropy(entropy: bytes) -> None:
    shard = shard_from_entropy(entropy)
    assert is_shard(shard)
    assert shard == shard_from_entropy(entropy[:SHARD_LENGTH])


@PROPERTY
@given(minted)
def test_a_log_line_shows_the_shard_and_not_what_opens_the_session(session_id: str) -> None:
    shown = brief(session_id)
    assert shown.startswith(session_id[:SHARD_LENGTH])
    assert session_id not in shown
    assert len(shown.rstrip(".")) <= SHARD_LENGTH + 5


@PROPERTY
@given(minted)
def test_a_short_id_is_known_as_one_and_a_whole_one_is_not(session_id: str) -> None:
    assert is_brief(brief(session_id))
    assert is_brief(brief(session_id).removesuffix("..."))
    assert not is_brief(session_id)
    assert not is_brief(brief(session_id) + "\n")


@PROPERTY
@given(st.lists(minted, max_size=3), st.lists(st.text(max_size=5), min_size=4, max_size=4))
@example([SESSION_ID], ["", "", "", ""])
@example([SESSION_ID, SESSION_ID], ["mcp:session:{", "}' '{", "", ""])
def test_no_session_id_in_a_text_stays_whole(ids: list[str], between: list[str]) -> None:
    text = between[0] + "".join(one + other for one, other in zip(ids, between[1:], strict=False))
    short = with_brief_ids(text)
    for session_id in ids:
        assert session_id not in short
        assert session_id[-11:] not in short
        assert session_id[SHARD_LENGTH + 5 : -12] not in short


def test_a_text_without_session_ids_is_left_as_it_is() -> None:
    for text in ("", "mcp.server.streamable_http_manager", SESSION_ID[:-1], "a.b.c", brief(SESSION_ID)):
        assert with_brief_ids(text) == text
