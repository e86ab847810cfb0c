"""What is under way in a shard, for as long as it is."""

from __future__ import annotations

from mooring.node.arrivals import Arrivals


def test_each_counts_in_its_shard_until_it_is_over() -> None:
    arrivals = Arrivals()
    assert not arrivals.are_in("abcde")
    with arrivals.one_in("abcde"):
        with arrivals.one_in("abcde"), arrivals.one_in(None):
            assert arrivals.are_in("abcde")
            assert arrivals.are_in("")
            assert not arrivals.are_in("fghij")
        assert arrivals.are_in("abcde")
        assert not arrivals.are_in("")
    assert not arrivals.are_in("abcde")


def test_one_may_be_in_several_shards() -> None:
    arrivals = Arrivals()
    with arrivals.one_in("abcde", "fghij"):
        assert arrivals.are_in("abcde")
        assert arrivals.are_in("fghij")
    with arrivals.one_in():
        pass
    assert not arrivals.are_in("abcde")
    assert not arrivals.are_in("fghij")


def test_one_that_fails_is_over_too() -> None:
    arrivals = Arrivals()
    try:
        with arrivals.one_in("abcde"):
            raise OSError
    except OSError:
        pass
    assert not arrivals.are_in("abcde")


def test_how_long_one_has_been_going_on() -> None:
    arrivals = Arrivals()
    with arrivals.one_in("abcde"):
        assert not arrivals.are_in("abcde", longer_than=3600)
        assert arrivals.are_in("abcde", longer_than=0.0)
