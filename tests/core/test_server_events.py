"""Messages between nodes on a channel that others may write to: what was said arrives, and nothing else does."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mooring.core.server_events import LISTS, MESSAGE_BYTES, UPDATED, Announcement, ServerEvent, seal, unseal
from mooring.errors import SignatureError

KEY = b"k" * 32

texts = st.text(max_size=200)
events = st.one_of(
    st.builds(ServerEvent, texts, st.sampled_from(LISTS)),
    st.builds(ServerEvent, texts, st.just(UPDATED), st.text(min_size=1, max_size=200)),
)
announcements = st.builds(Announcement, texts, texts, st.integers(), events)


def signed(text: bytes, key: bytes = KEY) -> bytes:
    return hmac.digest(key, text, hashlib.sha256) + text


@given(announcements)
def test_what_is_said_arrives(announcement: Announcement) -> None:
    assert unseal(KEY, seal(KEY, announcement)) == announcement


@given(announcements, st.data())
def test_a_message_that_was_changed_anywhere_is_refused(announcement: Announcement, data: st.DataObject) -> None:
    message = bytearray(seal(KEY, announcement))
    place = data.draw(st.integers(0, len(message) - 1))
    message[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(SignatureError):
        unseal(KEY, bytes(message))


@given(st.binary(max_size=200))
def test_bytes_that_nobody_signed_are_refused(message: bytes) -> None:
    with pytest.raises(SignatureError):
        unseal(KEY, message)


@given(announcements)
def test_another_clusters_message_is_refused(announcement: Announcement) -> None:
    with pytest.raises(SignatureError, match="secret"):
        unseal(KEY, seal(b"another key", announcement))


def test_a_long_message_is_neither_sent_nor_read() -> None:
    long = Announcement("node-1", "nonce", 0, ServerEvent("a", UPDATED, "x" * MESSAGE_BYTES))
    with pytest.raises(ValueError, match="at most"):
        seal(KEY, long)
    with pytest.raises(SignatureError, match="longer"):
        unseal(KEY, signed(b"x" * MESSAGE_BYTES))


SAID = {"sender": "node-1", "nonce": "n", "time_ms": 1, "server": "a", "kind": LISTS[0], "uri": ""}

WRONG: list[Any] = [None, 1.5, [], {}]


def test_a_newer_version_may_say_more() -> None:
    read = unseal(KEY, signed(json.dumps({**SAID, "more": 1}).encode()))
    assert read == Announcement("node-1", "n", 1, ServerEvent("a", LISTS[0]))


@pytest.mark.parametrize(
    "said",
    [
        *({**SAID, name: wrong} for name in SAID for wrong in WRONG),
        *({name: value for name, value in SAID.items() if name != missing} for missing in SAID),
        {**SAID, "time_ms": True},
        {**SAID, "kind": "notifications/message"},
        {**SAID, "uri": "test://a"},
        {**SAID, "kind": UPDATED},
        [],
        None,
    ],
)
def test_what_this_version_does_not_know_is_refused(said: Any) -> None:
    with pytest.raises(SignatureError, match="this version"):
        unseal(KEY, signed(json.dumps(said).encode()))


def test_text_that_is_no_json_is_refused() -> None:
    with pytest.raises(SignatureError, match="this version"):
        unseal(KEY, signed(b"\xff{"))
