"""The release before this working tree, as its history has it."""

from __future__ import annotations

import io
import re
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.bare import ROOT

_RELEASE = re.compile(r"^## \[\d+\.\d+\.\d+\].*$", re.MULTILINE)


def last_release(folder: Path) -> Path:
    """The `src` of the newest release, unpacked; skips the test in a clone whose history does not reach back so far."""
    commit = _git("describe", "--tags", "--abbrev=0", "HEAD^") or _commit_of_newest_heading()
    if not commit:
        if _git("rev-parse", "--is-shallow-repository") != "false":
            pytest.skip("the last release is not in this clone's history: `git fetch --unshallow --tags`")
        pytest.fail("no release in the history: neither a tag nor a heading of CHANGELOG.md")
    packed = subprocess.run(["git", "archive", commit, "src"], cwd=ROOT, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")
    return folder / "src"


def _commit_of_newest_heading() -> str:
    """The commit that gave the changelog its newest release, where no tag says it."""
    heading = _RELEASE.search((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    if heading is None:
        return ""
    commit = _git("log", "--format=%H", "--max-count=1", f"-S{heading[0]}", "HEAD", "--", "CHANGELOG.md")
    # Where the history was cut off, the first commit that is left seems to have written everything.
    return commit if commit and _git("rev-parse", "--verify", f"{commit}^") else ""


def _git(*command: str) -> str:
    """What it prints; nothing where it fails, as outside a repository."""
    done = subprocess.run(["git", *command], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""
