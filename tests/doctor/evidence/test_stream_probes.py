"""How a silent stream ended, and which more of them are held because of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mooring.doctor.client.held_stream import End
from mooring.doctor.evidence.heard import Heard
from mooring.doctor.evidence.stream_probes import Probes, is_by_age, is_cut, is_unendable, probe
from tests.doctor.examined import examined
from tests.doctor.heard import cut, held, pings, refused
from tests.doctor.streams import stream_server


@pytest.mark.parametrize(
    ("heard", "cut_by_itself", "unendable"),
    [
        (held(), False, False),
        (cut(5.0), True, False),
        (cut(5.0, end=End.CLEAN), False, False),
        (held(end=End.CUT), False, True),
        (held(end=End.CUT, ended=False), False, False),
        (refused(502, seconds=3.0), False, False),
        (replace(refused(502, seconds=0.2), end=End.CUT), False, False),
    ],
)
def test_how_it_ended(heard: Heard, cut_by_itself: bool, unendable: bool) -> None:
    assert (is_cut(heard), is_unendable(heard)) == (cut_by_itself, unendable)


def test_no_stream_is_unendable_where_none_was_held() -> None:
    assert not is_unendable(None)


@pytest.mark.parametrize(
    ("heard", "probes", "by_age"),
    [
        (cut(20.0), Probes(), False),
        (cut(20.0, *pings(10.0)), Probes(), True),
        (cut(20.0, *pings(5.0)), Probes(), False),
        (cut(20.0), Probes(sooner=held(15.0, end=End.CUT)), True),
    ],
)
def test_what_outlived_as_long_a_silence_was_cut_for_its_age(heard: Heard, probes: Probes, by_age: bool) -> None:
    assert is_by_age(heard, probes) is by_age


async def test_more_streams_are_held_only_where_the_first_one_leaves_a_doubt() -> None:
    async with stream_server(cut_seconds=0.4) as server, examined(server.url, sessions=6) as exam:
        assert await probe(exam, held(0.5)) == Probes()
        assert await probe(exam, cut(50.0)) == Probes()
        assert server.streams == 0
        probes = await probe(exam, cut(0.4))
        assert probes.repeat is not None
        assert is_cut(probes.repeat)
        assert probes.sooner is not None
        assert not probes.sooner.ended_early
        assert probes.fresh is None
