"""What failing requests have in common."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mooring.doctor.evidence.failure_pattern import Sample, Where, failure_pattern, turn_of

SESSIONS, WAYS, CALLS = 6, 4, 5


def samples(fails: Callable[[int, int, int, int], bool]) -> list[Sample]:
    """Calls of some sessions in each of four ways; `fails` is given number, session, way and node."""
    found: list[Sample] = []
    for way in range(WAYS):
        for call in range(CALLS):
            for session in range(SESSIONS):
                number = len(found)
                node = session % 3
                found.append(
                    Sample(
                        failed=fails(number, session, way, node),
                        at_seconds=number / 10 + call * 0,
                        session=session,
                        node=f"node-{node}",
                        cookies=way % 2 == 0,
                        same_connection=way < 2,
                    )
                )
    return found


@pytest.mark.parametrize(
    ("fails", "where"),
    [
        (lambda number, session, way, node: True, Where.ALWAYS),
        (lambda number, session, way, node: way >= 2, Where.OTHER_CONNECTION),
        (lambda number, session, way, node: way % 2 == 1, Where.NO_COOKIE),
        (lambda number, session, way, node: way % 2 == 0, Where.COOKIE),
        (lambda number, session, way, node: node == 1, Where.NODE),
        (lambda number, session, way, node: number >= 17, Where.SINCE),
        (lambda number, session, way, node: 20 <= number < 50, Where.SPELL),
        (lambda number, session, way, node: session == 4, Where.SESSION),
        (lambda number, session, way, node: number in (3, 40, 91, 100), Where.SOMETIMES),
    ],
)
def test_each_pattern(fails: Callable[[int, int, int, int], bool], where: Where) -> None:
    found = failure_pattern(samples(fails))
    assert found.where is where, found
    assert found.total == SESSIONS * WAYS * CALLS


def test_what_is_told_of_a_pattern() -> None:
    assert failure_pattern(samples(lambda number, session, way, node: node == 1)).node == "node-1"
    assert failure_pattern(samples(lambda number, session, way, node: number >= 17)).passed == 17
    spell = failure_pattern(samples(lambda number, session, way, node: 20 <= number < 50))
    assert round(spell.seconds, 1) == 2.9


@pytest.mark.parametrize("turn", [2, 3, 4])
@pytest.mark.parametrize("offset", [0, 1])
def test_every_so_many_th(turn: int, offset: int) -> None:
    in_turn = [number % turn == offset for number in range(12)]
    assert turn_of(in_turn) == turn
    chance = random.Random(1)
    mixed = samples(lambda number, session, way, node: chance.random() < 1 / turn)
    assert failure_pattern(mixed, in_turn).where is Where.TURN


@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_any_mixture_has_one_pattern(failed: list[bool]) -> None:
    if any(failed):
        found = failure_pattern([Sample(one, float(number)) for number, one in enumerate(failed)])
        assert (found.failed, found.total) == (sum(failed), len(failed))
        assert (found.where is Where.ALWAYS) == all(failed)


def test_what_is_irregular_is_no_turn() -> None:
    assert turn_of([]) == 0
    assert turn_of([True, False, False, True, True, False] * 2) == 0
    assert turn_of([False] * 12) == 0
