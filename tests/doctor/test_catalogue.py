"""The list of checks, and what they declare of themselves."""

from __future__ import annotations

import re
from pathlib import Path

import mooring.doctor
from mooring.doctor.catalogue import CHECKS, WATCH
from mooring.doctor.evidence.silent_streams import COMPRESSED, PLAIN

ROOT = Path(mooring.doctor.__file__).parent
NAMES = [check.name for check in (*CHECKS, WATCH)]


def test_each_name_is_there_once() -> None:
    assert len(set(NAMES)) == len(NAMES)
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", name) for name in NAMES)


def test_one_check_goes_first_and_one_guards_the_watch() -> None:
    assert sum(check.goes_first for check in CHECKS) == 1
    assert sum(check.guards_watch for check in CHECKS) == 1
    assert sum(check.speaks is not None for check in CHECKS) == 1


def test_no_stream_is_held_but_what_can_be() -> None:
    assert {encoding for check in CHECKS for encoding in check.silent_streams} == {PLAIN, COMPRESSED}


def test_every_check_that_is_referred_to_is_there() -> None:
    texts = [path.read_text(encoding="utf-8") for path in (*ROOT.rglob("*.py"), *ROOT.rglob("*.toml"))]
    named = {name for text in texts for name in re.findall(r"the check `([\w-]+)`", text)}
    assert named
    assert named <= set(NAMES)
