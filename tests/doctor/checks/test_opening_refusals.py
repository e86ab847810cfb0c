from __future__ import annotations

from mooring.doctor.checks.opening_refusals import OPENING_CHANGES, OPENING_MEANS
from mooring.doctor.evidence.opening_kinds import OpeningRefusal


def test_every_kind_has_its_meaning_and_its_change() -> None:
    assert set(OPENING_MEANS) == set(OPENING_CHANGES) == set(OpeningRefusal)
    assert all(text.endswith(".") for text in (*OPENING_MEANS.values(), *OPENING_CHANGES.values()))
