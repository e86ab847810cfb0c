"""The names of keys: told apart, found again, and together on one node of a Redis Cluster where a script needs that."""

from __future__ import annotations

import fnmatch
import string

from hypothesis import given, settings
from hypothesis import strategies as st

from mooring.core.ids import is_shard
from mooring.store.keys import VERSION_FIELD, Keys

PROPERTY = settings(deadline=None, max_examples=100)

PREFIXES = st.from_regex(r"[A-Za-z0-9_.-]{1,8}(:[A-Za-z0-9_.-]{1,8}){0,2}", fullmatch=True)
"""What the setting `key_prefix` takes."""
SESSION_IDS = st.text(string.ascii_letters + string.digits + "-_.", min_size=1, max_size=40)


def hash_tag(key: str) -> str:
    """What a Redis Cluster places a key by (Redis Cluster specification, Hash tags)."""
    _, opened, rest = key.partition("{")
    tag, closed, _ = rest.partition("}")
    return tag if opened and closed and tag else key


@PROPERTY
@given(PREFIXES, SESSION_IDS)
def test_a_records_key_says_which_session_it_is_of(prefix: str, session_id: str) -> None:
    keys = Keys(prefix)
    assert keys.session_id(keys.session(session_id)) == session_id


@PROPERTY
@given(PREFIXES, PREFIXES, SESSION_IDS, SESSION_IDS)
def test_no_two_things_share_a_key(prefix: str, other_prefix: str, session_id: str, other_id: str) -> None:
    keys, others = Keys(prefix), Keys(other_prefix)
    named = [keys.nodes, keys.shards, keys.session(session_id)]
    assert len(set(named)) == len(named)
    if session_id != other_id:
        assert keys.session(session_id) != keys.session(other_id)
    if prefix != other_prefix:
        assert not set(named) & {others.nodes, others.shards, others.session(session_id), others.session(other_id)}


@PROPERTY
@given(PREFIXES)
def test_what_one_script_touches_lies_together(prefix: str) -> None:
    assert hash_tag(Keys(prefix).nodes) == hash_tag(Keys(prefix).shards) == "cluster"


@PROPERTY
@given(PREFIXES, SESSION_IDS)
def test_a_session_lies_together_with_what_will_hang_on_it_and_apart_from_others(prefix: str, session_id: str) -> None:
    key = Keys(prefix).session(session_id)
    assert hash_tag(key) == hash_tag(f"{key}:log") == session_id


@PROPERTY
@given(PREFIXES, SESSION_IDS)
def test_listing_finds_the_records_and_none_of_what_hangs_on_them(prefix: str, session_id: str) -> None:
    keys = Keys(prefix)
    assert fnmatch.fnmatchcase(keys.session(session_id), keys.sessions())
    for other in (f"{keys.session(session_id)}:log", keys.nodes, keys.shards, f"x{keys.session(session_id)}"):
        assert not fnmatch.fnmatchcase(other, keys.sessions())


def test_the_version_is_no_shard() -> None:
    assert not is_shard(VERSION_FIELD)


def test_what_is_kept_of_a_handle_is_no_session() -> None:
    handle = "mh~abcde.m.counter.aaaa.bbbb"
    assert Keys("mooring").session(handle) == f"mooring:handle:{{{handle}}}"
    assert Keys("mooring").state(handle) == f"mooring:handle:{{{handle}}}:state"
