"""What a node counts is told as it is at that moment."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from mooring.core.model import Counters
from mooring.core.routing import Reason
from mooring.node.counters import Tally

PROPERTY = settings(deadline=None, max_examples=100)

requests = st.lists(st.sampled_from(["served", "forwarded_in", "forwarded_out", *Reason]), max_size=30)


def count(tally: Tally, request: str) -> None:
    if isinstance(request, Reason):
        tally.refused[request] += 1
    else:
        setattr(tally, request, getattr(tally, request) + 1)


@PROPERTY
@given(requests)
def test_each_request_is_counted_where_it_went(done: list[str]) -> None:
    tally = Tally()
    for request in done:
        count(tally, request)
    counters = tally.counters()
    for name in ("served", "forwarded_in", "forwarded_out"):
        assert getattr(counters, name) == done.count(name)
    assert counters.refused == {str(reason): done.count(reason) for reason in Reason if reason in done}


@PROPERTY
@given(requests, requests)
def test_what_was_told_does_not_change_any_more(before: list[str], after: list[str]) -> None:
    tally = Tally()
    for request in before:
        count(tally, request)
    told = tally.counters()
    as_told = json.dumps(dict(told.refused)), told.served, told.forwarded_in, told.forwarded_out
    for request in after:
        count(tally, request)
    assert (json.dumps(dict(told.refused)), told.served, told.forwarded_in, told.forwarded_out) == as_told


def test_at_first_nothing_was_done() -> None:
    assert Tally().counters() == Counters()
    assert Tally().counters(1, 2) == Counters(streams_open=1, streams_kept=2)
