from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mooring.core.passed_on import PassedOn, decode, encode, parted, wire_method
from mooring.errors import SignatureError

KEY, NONCE = b"a key", "n" * 22

names = st.text("abcxyz-", min_size=1).map(str.encode)
headers = st.lists(st.tuples(names, st.binary(max_size=6)), max_size=8)
addresses = st.none() | st.tuples(st.text(), st.none() | st.integers(0, 65535))
anything = st.builds(
    PassedOn,
    method=st.text("abGET"),
    scheme=st.sampled_from(["http", "https"]),
    http_version=st.sampled_from(["1.0", "1.1", "2", "3"]),
    client=addresses,
    server=addresses,
    root_path=st.text(),
    target=st.none() | st.binary(),
    beside=headers.map(lambda headers: parted(headers, ())[1]),
)


@given(anything)
def test_what_is_said_is_read(passed_on: PassedOn) -> None:
    text = encode(KEY, NONCE, passed_on)
    assert text.isascii()
    assert text.isprintable()
    assert decode(KEY, NONCE, text) == passed_on


@given(headers, st.sets(names))
def test_headers_that_travel_beside_come_back_to_their_places(
    given_headers: list[tuple[bytes, bytes]], dropped: set[bytes]
) -> None:
    wire, beside = parted(given_headers, dropped)
    for name, value in wire:
        value.decode()
        assert not ({*range(0x20), 0x7F} - {0x09}) & {*value}
        assert name not in dropped
    of_the_hop = [(b"host", b"10.0.0.7"), *wire, (b"content-length", b"7"), (b"transfer-encoding", b"chunked")]
    assert PassedOn("GET", beside=beside).restored(of_the_hop) == given_headers


def test_very_many_headers_come_back_in_no_time() -> None:
    given_headers = [(b"x", b"\xff" if number % 2 else b"1") for number in range(200_000)]
    wire, beside = parted(given_headers, ())
    passed_on = PassedOn("POST", beside=beside)
    began = time.process_time()
    assert passed_on.restored(wire) == given_headers
    assert time.process_time() - began < 0.25


def test_what_each_hop_writes_for_itself_is_the_clients_own_again() -> None:
    given_headers = [(b"a", b"1"), (b"host", b"mcp.example.com"), (b"content-length", b"2"), (b"b", b"2")]
    wire, beside = parted(given_headers, {b"content-length"})
    assert wire == [(b"a", b"1"), (b"host", b"mcp.example.com"), (b"b", b"2")]
    assert PassedOn("GET", beside=beside).restored(wire) == given_headers


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "HEAD", "OPTIONS"])
def test_a_common_method_is_written_as_it_is(method: str) -> None:
    assert wire_method(method) == method


@pytest.mark.parametrize("method", ["delete", "Post", "x-Own", "CONNECT", ""])
def test_another_or_another_spelling_is_never_taken_for_a_common_one(method: str) -> None:
    assert wire_method(method) == "REPORT"


def test_what_nodes_send_to_each_other_travels_no_further() -> None:
    assert parted([(b"mooring-client", b"forged"), (b"mooring-peer", b"\xff")], ()) == ([], ())


@pytest.mark.parametrize("wrong", ["key", "nonce", "text", "mac", "no mac", "nothing", "foreign bytes"])
def test_what_no_peer_has_said_is_refused(wrong: str) -> None:
    text = encode(KEY, NONCE, PassedOn("GET", client=("192.0.2.1", 1)))
    said, _, mac = text.partition(";")
    forged = {
        "text": f"{encode(b'', NONCE, PassedOn('GET')).partition(';')[0]};{mac}",
        "mac": f"{said};{'0' * 64}",
        "no mac": said,
        "nothing": "",
        "foreign bytes": f"{said};\u00e9\udcff",
    }
    with pytest.raises(SignatureError, match="not signed by its peer"):
        decode(b"other" if wrong == "key" else KEY, "m" * 22 if wrong == "nonce" else NONCE, forged.get(wrong, text))


def test_what_cannot_be_read_is_refused_though_a_peer_has_signed_it(monkeypatch: pytest.MonkeyPatch) -> None:
    text = encode(KEY, NONCE, PassedOn("GET", scheme="gopher"))
    with pytest.raises(SignatureError, match="cannot be read"):
        decode(KEY, NONCE, text)
