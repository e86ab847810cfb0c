from __future__ import annotations

import importlib

import pytest

from tests.cli.doctor.fake_diagnosis import Diagnosis


@pytest.fixture
def diagnosis(monkeypatch: pytest.MonkeyPatch) -> Diagnosis:
    diagnosis = Diagnosis()
    monkeypatch.setattr(importlib.import_module("mooring.cli.doctor.command"), "diagnose", diagnosis)
    return diagnosis
