from __future__ import annotations

import re
import tracemalloc
from datetime import date

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mooring.core.request import (
    BEGIN_HEADER,
    CLIENT_HEADER,
    END_HEADER,
    INTERNAL_HEADERS,
    PEER_HEADER,
    REPLY_HEADER,
    SESSION_HEADER,
    VERSION_HEADER,
    is_modern,
    read_facts,
    tidied,
)

PROPERTY = settings(deadline=None, max_examples=100)
MODERN_SINCE = date(2026, 7, 28)

names = st.sampled_from([SESSION_HEADER, VERSION_HEADER, PEER_HEADER, REPLY_HEADER]) | st.binary(max_size=20)
dates = st.dates().map(lambda day: day.isoformat().encode())
values = st.binary(max_size=40) | dates
header_lists = st.lists(st.tuples(names, values), max_size=8)


def said(headers: list[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    return [value for given_name, value in headers if given_name == name]


def names_a_modern_revision(value: bytes) -> bool:
    """Written with a calendar in place of a comparison of text."""
    if re.fullmatch(rb"[0-9]{4}-[0-9]{2}-[0-9]{2}", value) is None:
        return False
    try:
        return date.fromisoformat(value.decode()) >= MODERN_SINCE
    except ValueError:
        return False


@PROPERTY
@given(st.text(), header_lists)
def test_the_facts_of_arbitrary_headers(method: str, headers: list[tuple[bytes, bytes]]) -> None:
    facts = read_facts(method, headers)
    sessions = said(headers, SESSION_HEADER)
    versions = said(headers, VERSION_HEADER)
    assert facts.method == method
    assert facts.doubled == (len(sessions) > 1)
    assert (facts.session_id is None) == (not sessions)
    tidy = [value.strip(b" \t") for value in sessions]
    assert facts.session_id is None or facts.session_id.encode("latin-1") in tidy
    assert facts.modern == (bool(versions) and all(map(names_a_modern_revision, versions)))
    assert (facts.peer is None) == (not said(headers, PEER_HEADER))
    assert facts.forwarded is False


@PROPERTY
@given(header_lists)
def test_headers_are_read_once_from_any_iterable(headers: list[tuple[bytes, bytes]]) -> None:
    assert read_facts("POST", iter(headers)) == read_facts("POST", headers)


@PROPERTY
@given(header_lists)
def test_other_headers_change_nothing(headers: list[tuple[bytes, bytes]]) -> None:
    known = {SESSION_HEADER, VERSION_HEADER, *INTERNAL_HEADERS}
    ours = [(name, value) for name, value in headers if name in known]
    assert read_facts("POST", headers) == read_facts("POST", ours)


@PROPERTY
@given(st.lists(st.binary(max_size=10), max_size=5))
def test_a_session_id_is_doubled_from_the_second_one_on(ids: list[bytes]) -> None:
    facts = read_facts("POST", [(SESSION_HEADER, value) for value in ids])
    assert facts.doubled == (len(ids) > 1)
    if len(ids) == 1:
        assert facts.session_id == ids[0].strip(b" \t").decode("latin-1")
        assert facts.is_untidy == (ids[0].strip(b" \t") != ids[0])


@PROPERTY
@given(header_lists)
def test_what_is_tidy_is_seen_by_the_app_as_it_came(headers: list[tuple[bytes, bytes]]) -> None:
    facts = read_facts("POST", headers)
    assert facts.is_untidy == (tidied(headers) != headers)
    assert not read_facts("POST", tidied(headers)).is_untidy
    assert not INTERNAL_HEADERS & {name for name, _ in tidied(headers)}


def test_an_empty_session_id_is_one_all_the_same() -> None:
    assert read_facts("POST", [(SESSION_HEADER, b"")]).session_id == ""
    assert read_facts("POST", [(SESSION_HEADER, b""), (SESSION_HEADER, b"")]).doubled


@PROPERTY
@given(values)
@example(b"2026-07-28")
@example(b"2026-07-27")
@example(b"2026-07-28\n")
@example(b"2026-07-32")
@example(b"2026-13-01")
@example(b"9999-99-99")
@example(b"2027-02-29")
@example(b"2028-02-29")
@example(b"DRAFT-2026-v1")
@example(b"2026-07-28, 2026-07-28")
@example("\u0662\u0660\u0662\u0667-\u0660\u0661-\u0660\u0661".encode())
@example(b"")
def test_modern_is_a_real_date_from_the_first_modern_revision_on(version: bytes) -> None:
    assert is_modern(version) == names_a_modern_revision(version)


@pytest.mark.parametrize("revision", ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"])
def test_the_revisions_with_sessions_are_not_modern(revision: str) -> None:
    assert not read_facts("POST", [(VERSION_HEADER, revision.encode())]).modern


@pytest.mark.parametrize("versions", [(b"2025-11-25", b"2026-07-28"), (b"2026-07-28", b"2025-11-25")])
def test_a_request_of_two_minds_about_its_era_is_not_modern(versions: tuple[bytes, bytes]) -> None:
    """An app that goes by the other header would serve it in its session, without a look at who asks."""
    assert not read_facts("POST", [(VERSION_HEADER, version) for version in versions]).modern


def test_a_request_without_headers_is_legacy_and_has_no_session() -> None:
    facts = read_facts("POST", [])
    assert (facts.session_id, facts.doubled, facts.modern, facts.peer) == (None, False, False, None)


def test_what_nodes_say_to_each_other_is_named_as_internal() -> None:
    assert {PEER_HEADER, REPLY_HEADER, CLIENT_HEADER, BEGIN_HEADER, END_HEADER} == INTERNAL_HEADERS
    assert all(name == name.lower() for name in INTERNAL_HEADERS | {SESSION_HEADER, VERSION_HEADER})


def test_what_is_no_revision_is_not_held_however_long_it_is() -> None:
    tracemalloc.start()
    try:
        for number in range(50):
            assert not is_modern(b"2026-07-28%d" % number + b"0" * 100_000)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 1_000_000
