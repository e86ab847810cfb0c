from __future__ import annotations

import string
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mooring.core.handles import WRAPPED_LENGTH, Handles, Origin, brief, found_in, is_kind, is_meant
from mooring.core.ids import SessionIds

SECRET = "sixteen letters and more"
HANDLES = Handles(SECRET)
PROPERTY = settings(deadline=None, max_examples=200)

shards = st.text("abcdefghijklmnopqrstuvwxyz234567", min_size=5, max_size=5)
kinds = st.from_regex(r"[a-z][a-z0-9_]{0,31}", fullmatch=True)
entropies = st.binary(min_size=16, max_size=16)
principals = st.text(max_size=30)
own_ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=80)
url_safe = st.text(string.ascii_letters + string.digits + "_-", min_size=1, max_size=80)


@PROPERTY
@given(shards, kinds, entropies, principals, st.booleans())
def test_what_was_minted_reads_as_that(shard: str, kind: str, entropy: bytes, principal: str, survives: bool) -> None:
    text = HANDLES.mint(shard, kind, entropy, principal, survives=survives)
    handle = HANDLES.read(text)
    assert handle is not None
    assert (handle.shard, handle.kind, handle.survives, handle.own_id) == (shard, kind, survives, "")
    assert not handle.is_wrapped
    assert HANDLES.may_use(handle, principal)
    assert HANDLES.may_use(handle, principal + "x") is (principal == "")
    assert HANDLES.may_use(handle, "") is (principal == "")
    assert text.isascii()
    assert set(text) <= set(string.ascii_letters + string.digits + "~._-")


@PROPERTY
@given(shards, st.one_of(own_ids, url_safe), principals)
def test_a_wrapped_id_comes_back_letter_by_letter(shard: str, own_id: str, principal: str) -> None:
    text = HANDLES.wrap(shard, own_id, principal)
    assert text is not None
    handle = HANDLES.read(text)
    assert handle is not None
    assert (handle.shard, handle.own_id, handle.is_wrapped) == (shard, own_id, True)
    assert HANDLES.may_use(handle, principal)


@PROPERTY
@given(own_ids, principals, st.integers(0, 200), st.characters(max_codepoint=126, min_codepoint=33))
def test_a_changed_letter_makes_it_nobodys(own_id: str, principal: str, place: int, letter: str) -> None:
    text = HANDLES.wrap("abcde", own_id, principal) or ""
    place %= len(text)
    changed = text[:place] + letter + text[place + 1 :]
    assert (HANDLES.read(changed) is None) is (changed != text)


@PROPERTY
@given(st.text(max_size=200))
def test_any_text_may_be_read(text: str) -> None:
    assert HANDLES.read(text) is None
    assert HANDLES.read("mh~abcde." + text) is None


@PROPERTY
@given(st.text(" .,:;()'\"{}\n", max_size=5), st.text(" .,:;()'\"{}\n", max_size=5), own_ids)
def test_it_is_found_in_longer_text(before: str, after: str, own_id: str) -> None:
    one, other = HANDLES.mint("abcde", "browser", bytes(16)), HANDLES.wrap("fghij", own_id) or ""
    assert found_in(f"see{before} {one}{after} {other}{after}") == [one, other]


def test_no_other_cluster_and_no_session_id_passes_for_one() -> None:
    text = HANDLES.mint("abcde", "browser", bytes(16))
    assert Handles("another secret altogether").read(text) is None
    assert SessionIds(SECRET).shard_of(text) is None
    session = SessionIds(SECRET).mint("abcde", bytes(16))
    assert HANDLES.read(session) is None
    assert HANDLES.read(f"mh~{session}") is None


def test_while_the_secret_is_changed_both_make_handles() -> None:
    older = Handles("the secret of yesterday").mint("abcde", "browser", bytes(16), "alice")
    both = Handles("the secret of today, here", "the secret of yesterday")
    handle = both.read(older)
    assert handle is not None
    assert both.may_use(handle, "alice")
    assert not both.may_use(handle, "mallory")
    assert Handles("the secret of today, here").read(both.mint("abcde", "browser", bytes(16))) is not None


def test_two_handles_of_one_principal_do_not_look_alike() -> None:
    seals = {HANDLES.mint("abcde", "k", bytes([n] * 16), "alice")[-20:-12] for n in range(20)}
    assert len(seals) == 20


def test_what_cannot_be_one_is_refused() -> None:
    for shard, kind, entropy in (("abc", "k", bytes(16)), ("abcde", "K", bytes(16)), ("abcde", "k", bytes(15))):
        with pytest.raises(ValueError, match="takes"):
            HANDLES.mint(shard, kind, entropy)
    with pytest.raises(ValueError, match="shard"):
        HANDLES.wrap("a", "x")
    assert HANDLES.wrap("abcde", "") is None
    assert HANDLES.wrap("abcde", "\ud800") is None
    assert HANDLES.wrap("abcde", "x" * (WRAPPED_LENGTH + 1)) is None
    assert not is_kind("9lives")


def test_a_log_line_shows_only_the_shard() -> None:
    text = HANDLES.mint("abcde", "browser", bytes(16))
    assert brief(text) == "mh~abcde..."
    assert brief("secret text") == "(no handle)"
    assert is_meant(text)
    assert not is_meant("mh~abcd1.")
    assert Origin(text[9]) is Origin.MINTED


def test_texts_as_long_as_a_body_are_not_held() -> None:
    handles = Handles(SECRET)
    tracemalloc.start()
    try:
        for number in range(100):
            assert handles.read(f"mh~abcde.w.{number}{'A' * 100_000}") is None
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 1_000_000


def test_a_long_handle_reads_as_any_other() -> None:
    wrapped = HANDLES.wrap("abcde", "a" * 60_000)
    assert wrapped is not None
    handle = HANDLES.read(wrapped)
    assert handle is not None
    assert handle.own_id == "a" * 60_000


def test_what_is_longer_than_any_handle_is_not_remembered() -> None:
    handles = Handles(SECRET)
    for letter in "abcdefgh":
        assert handles.read(f"mh~abcde.{letter * 1_000_000}") is None
    assert handles._read_lately.cache_info().currsize == 0
    longest = handles.wrap("abcde", "a" * WRAPPED_LENGTH)
    assert longest is not None
    assert handles.read(longest) is not None
