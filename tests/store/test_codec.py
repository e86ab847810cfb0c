from __future__ import annotations

import json
import logging
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mooring.core.changes import Changes
from mooring.core.ids import SHARD_ALPHABET, is_shard
from mooring.core.model import Counters, Lease, NodeInfo, NodeState, SessionRecord, ShardOwner, unknown_node
from mooring.store import codec
from mooring.store.codec import (
    decode_changes,
    decode_lease,
    decode_owner,
    decode_session,
    encode_node,
    encode_owner,
    encode_session,
)

PROPERTY = settings(deadline=None, max_examples=100)
NOW_MS = 5_000
SESSION_ID = "abcde.AAAAAAAAAAAAAAAAAAAAAA.BBBBBBBBBBB"

texts = st.text(max_size=20)
counts = st.integers(0, 2**53)
times = st.floats(0, 1e12, allow_nan=False)
counters = st.builds(Counters, counts, counts, counts, st.dictionaries(texts, counts, max_size=3))
nodes = st.builds(
    NodeInfo,
    id=texts,
    name=texts,
    url=texts,
    pid=counts,
    state=st.sampled_from(NodeState),
    sessions=counts,
    capacity=counts.map(lambda count: count + 1),
    version=texts,
    secret_id=texts,
    started=times,
    counters=counters,
)
shards = st.text(SHARD_ALPHABET, min_size=5, max_size=5)
records = st.builds(
    SessionRecord,
    id=st.just(SESSION_ID),
    node_id=texts,
    created=times,
    last_seen=times,
    principal=texts,
    protocol=texts,
    client=texts,
    initialize=st.binary(max_size=40),
    epoch=counts,
)

A_NODE = NodeInfo(
    id="node-1-aaaaa",
    name="node-1",
    url="http://127.0.0.1:8000",
    pid=1,
    state=NodeState.READY,
    sessions=1,
    capacity=10,
    version="0.1.0",
    secret_id="0123abcd",
    started=1.5,
    counters=Counters(1, 2, 3, {"forged": 4}),
)
A_RECORD = SessionRecord(SESSION_ID, "node-1-aaaaa", 1.5, 2.5, "p", "2025-11-25", "c", b"{}", 7)


def lease_text(node: NodeInfo, until_ms: int = 6_000, renewed_ms: int = 1_000, **changed: Any) -> str:
    """A lease as the scripts write it, with some of what the node says changed or, where None is given, left out."""
    said: dict[str, Any] = json.loads(encode_node(node)) | changed
    said = {name: value for name, value in said.items() if value is not None}
    return f"{until_ms} {renewed_ms} {json.dumps(said)}"


def as_redis_returns_it(entry: dict[str, Any]) -> dict[bytes, bytes]:
    """Text and bytes as they are, numbers as their shortest text."""
    return {name.encode(): value if isinstance(value, bytes) else str(value).encode() for name, value in entry.items()}


@pytest.fixture(autouse=True)
def nothing_was_told_of() -> None:
    """What does not read is told of once in a process; here, once in each test."""
    codec.complain.forget()


# What was written reads the same.


@PROPERTY
@given(nodes, st.integers(0, 10**15), st.integers(0, 10**15))
def test_a_lease_reads_as_it_was_written(node: NodeInfo, until_ms: int, renewed_ms: int) -> None:
    text = f"{until_ms} {renewed_ms} {encode_node(node)}"
    assert decode_lease(node.id, text, NOW_MS) == Lease(node, until_ms, renewed_ms, is_over=until_ms <= NOW_MS)


@PROPERTY
@given(shards, st.builds(ShardOwner, texts.filter(bool), st.integers(0, 2**53)))
def test_an_owner_reads_as_it_was_written(shard: str, owner: ShardOwner) -> None:
    assert decode_owner(shard, encode_owner(owner)) == owner


@PROPERTY
@given(records)
def test_a_session_reads_as_it_was_written(record: SessionRecord) -> None:
    assert decode_session(SESSION_ID, as_redis_returns_it(encode_session(record))) == record


def test_a_node_is_written_in_one_line_of_ascii() -> None:
    text = encode_node(NodeInfo(**{**_fields(A_NODE), "name": "n\u00f6de\n"}))
    assert text.isascii()
    assert text.isprintable()


def _fields(node: NodeInfo) -> dict[str, Any]:
    return {name: getattr(node, name) for name in NodeInfo.__dataclass_fields__}


# What comes from another version of Mooring.


def test_what_a_newer_node_says_besides_is_passed_over() -> None:
    assert decode_lease(A_NODE.id, lease_text(A_NODE, zone="eu-1", labels={"a": 1}), NOW_MS) == Lease(
        A_NODE, 6_000, 1_000
    )


def test_what_a_newer_node_counts_besides_is_passed_over() -> None:
    said = {"served": 1, "forwarded_in": 2, "forwarded_out": 3, "refused": {"forged": 4}, "dozed": 5}
    assert decode_lease(A_NODE.id, lease_text(A_NODE, counters=said), NOW_MS) == Lease(A_NODE, 6_000, 1_000)


def test_what_a_newer_record_has_besides_is_passed_over() -> None:
    entry = as_redis_returns_it(encode_session(A_RECORD)) | {b"mood": b"calm"}
    assert decode_session(SESSION_ID, entry) == A_RECORD


def test_a_record_of_an_older_version_may_lack_what_has_a_default() -> None:
    entry = {b"node": b"n", b"created": b"1.5", b"last_seen": b"2.5"}
    assert decode_session(SESSION_ID, entry) == SessionRecord(SESSION_ID, "n", 1.5, 2.5)


def test_the_key_says_which_node_it_is() -> None:
    lease = decode_lease("node-1-aaaaa", lease_text(A_NODE, id="another"), NOW_MS)
    assert lease is not None
    assert lease.node.id == "node-1-aaaaa"


# What comes from a person with redis-cli.

DOES_NOT_FIT: list[tuple[str, Any]] = [
    ("state", "dozing"),
    ("state", [1]),
    ("state", 3),
    ("counters", 3),
    ("counters", []),
    ("counters", {"served": "many"}),
    ("sessions", "3"),
    ("sessions", -1),
    ("sessions", [1]),
    ("capacity", "many"),
    ("capacity", 0),
    ("started", "now"),
    ("name", 3),
    ("name", ["node-1"]),
    ("url", 8000),
    ("pid", "one"),
]


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "1 2",
        "x 2 " + encode_node(A_NODE),
        "1 x " + encode_node(A_NODE),
        "1.5 2 " + encode_node(A_NODE),
        "-1 2 " + encode_node(A_NODE),
        "\u0661 2 " + encode_node(A_NODE),
        "9" * 5_000 + " 1 " + encode_node(A_NODE),
    ],
)
def test_a_lease_that_does_not_read_is_left_out_and_logged(text: str, caplog: pytest.LogCaptureFixture) -> None:
    assert decode_lease("node-1-aaaaa", text, NOW_MS) is None
    assert [(record.name, record.levelno) for record in caplog.records] == [("mooring.store", logging.WARNING)]
    assert "'node-1-aaaaa'" in caplog.text


@pytest.mark.parametrize("said", ["", "{", "[]", "null", "3", '"text"', "[" * 100_000, '{"a": 1}', "\x00"])
def test_a_node_of_which_nothing_reads_lives_by_its_lease(said: str, caplog: pytest.LogCaptureFixture) -> None:
    assert decode_lease("node-1-aaaaa", f"6000 1000 {said}", NOW_MS) == Lease(
        unknown_node("node-1-aaaaa"), 6_000, 1_000
    )
    assert [(record.name, record.levelno) for record in caplog.records] == [("mooring.store", logging.WARNING)]
    assert "'node-1-aaaaa'" in caplog.text


def test_the_lease_of_a_node_that_was_lost_is_nothing_tocomplain_of(caplog: pytest.LogCaptureFixture) -> None:
    assert decode_lease("node-1-aaaaa", "6000 1000 {}", NOW_MS) == Lease(unknown_node("node-1-aaaaa"), 6_000, 1_000)
    assert caplog.records == []


@pytest.mark.parametrize(("name", "value"), DOES_NOT_FIT)
def test_a_node_that_reads_in_part_takes_no_new_sessions(name: str, value: Any) -> None:
    """What does not read is as if nothing were known of it; its peers reach it where its URL reads."""
    lease = decode_lease(A_NODE.id, lease_text(A_NODE, **{name: value}), NOW_MS)
    nothing = {name: getattr(unknown_node(A_NODE.id), name), "state": NodeState.UNKNOWN}
    assert lease == Lease(replace(A_NODE, **nothing), 6_000, 1_000)


@pytest.mark.parametrize("name", ["name", "url", "pid", "state", "sessions", "capacity", "version", "started"])
def test_a_node_that_lacks_something_takes_no_new_sessions(name: str) -> None:
    nothing: dict[str, Any] = {name: None}
    lease = decode_lease(A_NODE.id, lease_text(A_NODE, **nothing), NOW_MS)
    assert lease is not None
    assert lease.node == replace(A_NODE, **{name: getattr(unknown_node(A_NODE.id), name), "state": NodeState.UNKNOWN})


@pytest.mark.parametrize("said", ['{"state":"gone"}', encode_node(replace(A_NODE, state=NodeState.GONE, sessions=-1))])
def test_a_goodbye_is_believed_whatever_else_does_not_read(said: str) -> None:
    lease = decode_lease(A_NODE.id, f"0 1000 {said}", NOW_MS)
    assert lease is not None
    assert lease.node.state is NodeState.GONE


def test_what_does_not_read_is_told_of_once_and_not_with_each_heartbeat(caplog: pytest.LogCaptureFixture) -> None:
    for beat in range(5):
        decode_lease("node-1-aaaaa", lease_text(A_NODE, until_ms=6_000 + beat, state="dozing", sessions=beat), NOW_MS)
        decode_lease("node-2-aaaaa", "junk", NOW_MS)
        decode_owner("abcde", "junk")
        decode_session(SESSION_ID, {b"created": b"soon"})
    assert len(caplog.records) == 4


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)


@PROPERTY
@given(texts, texts | st.builds(lambda value: f"1 2 {json.dumps(value)}", json_values))
@example("node", "1 2 " + json.dumps({"counters": {"served": 1}}))
def test_no_text_makes_reading_a_lease_fail(node_id: str, text: str) -> None:
    lease = decode_lease(node_id, text, NOW_MS)
    assert lease is None or isinstance(lease, Lease)


@PROPERTY
@given(
    texts | shards,
    texts | st.builds("{} {}".format, st.integers() | texts, texts),
)
@example("abcde", "\u0661 node")
@example("abcde", "\u00b2 node")
@example("abcde", "-1 node")
@example("abcde", "1")
@example("abcde", "1 ")
@example("#version", "7")
def test_no_text_makes_reading_an_owner_fail(shard: str, text: str) -> None:
    owner = decode_owner(shard, text)
    if owner is not None:
        assert is_shard(shard)
        assert owner.epoch >= 0
        assert owner.node_id


@pytest.mark.parametrize(
    ("shard", "text"),
    [("abcd", "1 node"), ("abcde\n", "1 node"), ("abcde", ""), ("abcde", "node"), ("abcde", "x node"), ("abcde", "1 ")],
)
def test_an_owner_that_does_not_read_is_left_out_and_logged(
    shard: str, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert decode_owner(shard, text) is None
    assert [(record.name, record.levelno) for record in caplog.records] == [("mooring.store", logging.WARNING)]
    assert repr(shard) in caplog.text


def test_an_owner_with_an_endless_epoch_is_left_out() -> None:
    assert decode_owner("abcde", "9" * 5_000 + " node") is None


@PROPERTY
@given(st.dictionaries(st.sampled_from([b"created", b"last_seen", b"node"]) | st.binary(max_size=9), st.binary()))
@example({b"created": b"1", b"last_seen": b"\xff"})
@example({b"created": b"1"})
def test_no_entry_makes_reading_a_session_fail(entry: dict[bytes, bytes]) -> None:
    record = decode_session(SESSION_ID, entry)
    assert record is None or record.id == SESSION_ID


def test_no_entry_is_no_record_and_no_reason_tocomplain(caplog: pytest.LogCaptureFixture) -> None:
    assert decode_session(SESSION_ID, {}) is None
    assert caplog.records == []


@pytest.mark.parametrize("name", [b"created", b"last_seen"])
@pytest.mark.parametrize("value", [None, b"", b"soon", b"\xff"])
def test_a_session_that_does_not_read_is_left_out_and_logged(
    name: bytes, value: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    entry = as_redis_returns_it(encode_session(A_RECORD))
    if value is None:
        del entry[name]
    else:
        entry[name] = value
    assert decode_session(SESSION_ID, entry) is None
    assert [(record.name, record.levelno) for record in caplog.records] == [("mooring.store", logging.WARNING)]


def test_a_record_that_was_removed_is_none_and_no_reason_tocomplain(caplog: pytest.LogCaptureFixture) -> None:
    assert decode_session(SESSION_ID, {b"epoch": b"3", b"removed": b"1"}) is None
    assert caplog.records == []


@pytest.mark.parametrize("epoch", [b"", b"-1", b"many", b"\xff", b"9" * 40, "\u0661".encode()])
def test_an_epoch_that_does_not_read_is_none(epoch: bytes) -> None:
    """Anyone may write over such a record."""
    entry = as_redis_returns_it(encode_session(A_RECORD)) | {b"epoch": epoch}
    assert decode_session(SESSION_ID, entry) == replace(A_RECORD, epoch=0)


def test_a_log_line_does_not_show_a_whole_session_id(caplog: pytest.LogCaptureFixture) -> None:
    decode_session(SESSION_ID, {b"created": b"soon"})
    assert SESSION_ID[:5] in caplog.text
    assert SESSION_ID not in caplog.text


@PROPERTY
@given(st.binary(max_size=20))
def test_foreign_bytes_in_a_record_become_text(data: bytes) -> None:
    entry = as_redis_returns_it(encode_session(A_RECORD)) | {b"client": data, b"principal": data, b"initialize": data}
    record = decode_session(SESSION_ID, entry)
    assert record is not None
    assert record.client == data.decode(errors="replace")
    assert record.initialize == data


# What a script says.


@PROPERTY
@given(
    st.dictionaries(st.sampled_from(["node-1-aaaaa", "node-2-aaaaa", "\xff"]), st.sampled_from(["lease", "junk", ""]))
)
def test_a_hash_reads_the_same_as_a_list_and_as_a_map(nodes: dict[str, str]) -> None:
    """RESP2 has no maps; a client that speaks RESP3 may give one. What is '' is not there any more."""
    texts = {"lease": lease_text(A_NODE).encode(), "junk": b"\xff", "": b""}
    fields = {node_id.encode("latin-1"): texts[kind] for node_id, kind in nodes.items()}
    shards = {b"abcde": b"3 node-1-abcde", b"#version": b"7", b"fghij": b""}
    flat = [[part for pair in hash_.items() for part in pair] for hash_ in (fields, shards)]
    as_list, as_map = (
        decode_changes([b"5000", b"7", b"1:2", 0, first, 1, second]) for first, second in (flat, (fields, shards))
    )
    read = {node_id.encode("latin-1").decode(errors="replace"): kind == "lease" for node_id, kind in nodes.items()}
    leases = {name: Lease(replace(A_NODE, id=name), 6_000, 1_000) if reads else None for name, reads in read.items()}
    owners = {"abcde": ShardOwner("node-1-abcde", 3), "fghij": None}
    assert as_list == as_map
    assert as_list == Changes(5000, 7, "1:2", leases, owners, has_all_leases=False, has_all_shards=True)


@pytest.mark.parametrize("field", [b"created", b"last_seen"])
@pytest.mark.parametrize("said", [b"nan", b"inf", b"-Infinity"])
def test_a_record_of_no_moment_is_left_out(field: bytes, said: bytes) -> None:
    entry = {b"node": b"n", b"created": b"1", b"last_seen": b"1"}
    assert decode_session(SESSION_ID, entry) is not None
    assert decode_session(SESSION_ID, entry | {field: said}) is None


def test_of_many_that_cannot_be_read_for_one_reason_few_are_told(caplog: pytest.LogCaptureFixture) -> None:
    """As of every session, for an operator who has another secret."""
    codec.complain.forget()
    for _ in range(2):
        for number in range(2_000):
            codec.complain("initialize", f"s{number}", "another secret")
    told = [record.message for record in caplog.records if "initialize" in record.message]
    assert len(told) == codec.TOLD_OF + 1
    assert (
        told[-1] == "more than 20 entries of the kind initialize cannot be read; no more is said (key_prefix, secret)"
    )
