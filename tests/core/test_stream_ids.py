"""A stream's id says what its nodes have to know, and nothing to anybody else; also while a secret is changed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mooring.core.ids import SessionIds
from mooring.core.stream_ids import (
    BEGINNING,
    Place,
    StreamFacts,
    StreamIds,
    StreamKind,
    event_id,
    kind_of,
    read_event_id,
)

OLD, NEW = b"o" * 32, b"n" * 32
IDS = StreamIds(OLD)
SESSION = "abcde.AAAAAAAAAAAAAAAAAAAAAA.BBBBBBBBBBB"
OTHER = "abcde.CAAAAAAAAAAAAAAAAAAAAA.BBBBBBBBBBB"
RANDOM = bytes(range(6))

# No text of which JSON makes more than fits.
plain = st.characters(codec="ascii", min_codepoint=ord(" "), exclude_characters='"\\\\')
ids = st.one_of(st.integers(-(2**53), 2**53), st.text(plain, max_size=20))
requests = st.one_of(st.none(), ids, st.tuples(st.integers(-99, 99), st.text("abc", max_size=9)))
facts = st.builds(StreamFacts, st.sampled_from(StreamKind), st.integers(0, 2**32 - 1), requests)


@given(facts, st.binary(min_size=6, max_size=6))
def test_an_id_says_what_it_was_made_of_in_its_session_alone(said: StreamFacts, random: bytes) -> None:
    stream_id = IDS.mint(SESSION, said, random)
    assert IDS.read(SESSION, stream_id) == said
    assert IDS.read(OTHER, stream_id) is None
    assert StreamIds(NEW).read(SESSION, stream_id) is None


@given(st.text(max_size=80))
def test_what_nobody_minted_says_nothing(text: str) -> None:
    assert IDS.read(SESSION, text) is None


@pytest.mark.parametrize(("length", "is_named"), [(118, True), (119, False)])
def test_a_long_request_id_is_left_out(length: int, is_named: bool) -> None:
    request_id = "x" * length  # and two quotes
    stream_id = IDS.mint(SESSION, StreamFacts(StreamKind.CALL, 1, request_id), RANDOM)
    assert IDS.read(SESSION, stream_id) == StreamFacts(StreamKind.CALL, 1, request_id if is_named else None)
    assert read_event_id(event_id(stream_id, BEGINNING)) == (stream_id, BEGINNING)


@given(facts, st.builds(Place, st.integers(0, 10**15), st.integers(0, 10**15)))
def test_an_events_id_names_its_stream_and_place(said: StreamFacts, place: Place) -> None:
    stream_id = IDS.mint(SESSION, said, RANDOM)
    assert read_event_id(event_id(stream_id, place)) == (stream_id, place)


@pytest.mark.parametrize("text", ["", "a", "a.1.2", "x" * 30 + ".1", "x" * 30 + ".1.x", "x" * 30 + ".1.2\n"])
def test_other_ids_name_none(text: str) -> None:
    assert read_event_id(text) is None


def test_what_may_be_carried_out_again() -> None:
    assert kind_of("tools/list") is StreamKind.SAFE
    assert kind_of("tools/call") is StreamKind.CALL


def test_while_a_secret_is_changed_all_nodes_name_a_sessions_streams_the_same() -> None:
    minted = SessionIds("the old one"), SessionIds("the new one")
    sessions = [ids.mint("abcde", bytes(16)) for ids in minted]
    ids_of_nodes = SessionIds("the old one", "the new one"), SessionIds("the new one", "the old one")
    before = StreamIds(OLD, NEW, which=ids_of_nodes[0].secret_of)
    after = StreamIds(NEW, OLD, which=ids_of_nodes[1].secret_of)
    for session, only in zip(sessions, (StreamIds(OLD), StreamIds(NEW)), strict=True):
        assert before.standing(session) == after.standing(session) == only.standing(session)
        for reader in (before, after, only):
            assert reader.read(session, before.standing(session)) == StreamFacts(StreamKind.STANDING, 0)


@given(facts, st.data())
def test_one_text_alone_names_a_stream(said: StreamFacts, data: st.DataObject) -> None:
    minted = IDS.mint(SESSION, said, RANDOM)
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    place = data.draw(st.integers(0, len(minted) - 1) | st.just(len(minted) - 1))
    letter = data.draw(st.sampled_from(letters.replace(minted[place], "")))
    assert IDS.read(SESSION, minted[:place] + letter + minted[place + 1 :]) is None
    assert IDS.read(SESSION, minted + "=") is None


@pytest.mark.parametrize("request_id", [1.5, -1, 2**53, "x" * 62, "ä" * 10, '"\\', "\ud83d", "", 10**70])
def test_ids_of_all_kinds_are_told_or_left_out(request_id: str | float) -> None:
    minted = IDS.mint(SESSION, StreamFacts(StreamKind.CALL, 1, request_id), RANDOM)
    read = IDS.read(SESSION, minted)
    assert read is not None
    assert read.request_id in (request_id, None)
    assert read_event_id(event_id(minted, Place(10**15, 10**15))) == (minted, Place(10**15, 10**15))
