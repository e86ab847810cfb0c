"""The version stands in `pyproject.toml`; all else agrees with it."""

from __future__ import annotations

import re
import tomllib
from datetime import date
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
DECLARED = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]

HEADINGS = re.findall(r"^## (.+)$", CHANGELOG, re.MULTILINE)
RELEASES = re.findall(r"^## \[(\d+\.\d+\.\d+)\] - (\S+)$", CHANGELOG, re.MULTILINE)


def test_the_installed_package_has_that_version() -> None:
    assert version("mooring") == DECLARED, "install the checkout again"


def test_the_newest_release_in_the_changelog_is_this_version_or_one_before_it() -> None:
    """A version that is on its way to its release has its changes under `Unreleased`."""
    newest, _ = RELEASES[0]
    assert newest == DECLARED or (HEADINGS[0] == "[Unreleased]" and numbers(DECLARED) > numbers(newest))


def test_the_changelog_lists_releases_with_their_days_newest_first() -> None:
    released = [(numbers(release), date.fromisoformat(day)) for release, day in RELEASES]
    assert len(released) == len([heading for heading in HEADINGS if heading != "[Unreleased]"])
    assert released == sorted(released, reverse=True)
    assert len({release for release, _ in released}) == len(released)


def test_every_heading_of_the_changelog_leads_to_its_changes() -> None:
    linked = re.findall(r"^\[(.+)\]: https://", CHANGELOG, re.MULTILINE)
    assert linked == [heading.removeprefix("[").partition("]")[0] for heading in HEADINGS]


def numbers(release: str) -> tuple[int, ...]:
    """To compare releases; what marks one as not final yet counts for nothing."""
    return tuple(int(number) for number in re.findall(r"\d+", release)[:3])
