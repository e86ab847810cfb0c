"""A file that is put in place as a whole: readers see the old one or the new one, also where writing it fails."""

from __future__ import annotations

import errno
import os
import stat
import threading
from pathlib import Path

import pytest

from mooring.files import replace_file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "routes.yml"


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("before", [None, "", "a text that was longer than the new one"])
def test_the_text_is_there_and_nothing_else(path: Path, before: str | None) -> None:
    if before is not None:
        path.write_text(before)
    replace_file(path, "naïve: ✓\n")
    assert path.read_bytes() == "naïve: ✓\n".encode()
    assert names_in(path.parent) == ["routes.yml"]


def test_who_reads_meanwhile_never_sees_half(path: Path) -> None:
    texts = {letter * 100_000 for letter in "ab"}
    path.write_text(min(texts))
    seen: set[str] = set()
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.add(path.read_text())

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for text in sorted(texts) * 50:
            replace_file(path, text)
    finally:
        done.set()
        reader.join()
    assert seen <= texts


def test_who_has_it_open_reads_the_old_one_to_its_end(path: Path) -> None:
    path.write_text("old")
    with path.open() as reader:
        replace_file(path, "new")
        assert reader.read() == "old"


@pytest.mark.parametrize("private", [True, False])
def test_a_private_file_is_its_owners_alone_whatever_it_was(path: Path, private: bool) -> None:
    path.write_text("old")
    path.chmod(0o644)
    before = os.umask(0o022)
    try:
        replace_file(path, "secret", private=private)
    finally:
        os.umask(before)
    assert mode_of(path) == (0o600 if private else 0o644)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664])
def test_who_may_read_the_old_file_may_read_the_new_one(path: Path, mode: int) -> None:
    """The load balancer that reads it may run as somebody else; and what was kept from others stays so."""
    path.write_text("old")
    path.chmod(mode)
    replace_file(path, "new")
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("new", mode)


def test_what_is_left_of_a_process_that_was_killed_here_is_no_hindrance(path: Path) -> None:
    left = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    left.write_text("half of a te")
    left.chmod(0o644)
    replace_file(path, "whole", private=True)
    assert (path.read_text(), mode_of(path)) == ("whole", 0o600)
    assert names_in(path.parent) == ["routes.yml"]


def test_a_file_that_cannot_be_put_in_place_leaves_everything_as_it_was(path: Path) -> None:
    path.mkdir()
    (path / "kept").write_text("kept")
    with pytest.raises(OSError, match=path.name):
        replace_file(path, "new")
    assert names_in(path.parent) == ["routes.yml"]
    assert names_in(path) == ["kept"]


def test_a_file_that_is_mounted_by_itself_is_said_to_be(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container: the kernel replaces no file that something is mounted on."""

    def refuse(*_: object) -> None:
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OSError, match="mount its folder"):
        replace_file(path, "new")
    assert names_in(path.parent) == []


def test_a_text_that_cannot_be_written_leaves_the_old_one(path: Path) -> None:
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError):
        replace_file(path, "half, then \ud800")
    assert path.read_text() == "old"
    assert names_in(path.parent) == ["routes.yml"]


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        replace_file(tmp_path / "none" / "routes.yml", "new")


def test_a_link_stays_and_what_it_leads_to_is_replaced(path: Path, tmp_path: Path) -> None:
    """As where /etc/nginx/nginx.conf leads to a folder that is shared, or kept in Git."""
    (tmp_path / "shared").mkdir()
    target = tmp_path / "shared" / "real.yml"
    target.write_text("old")
    path.symlink_to(target)
    replace_file(path, "new")
    assert path.is_symlink()
    assert target.read_text() == "new"
    assert names_in(target.parent) == ["real.yml"]


def test_what_is_no_file_is_written_to_and_stays(path: Path) -> None:
    """A pipe, a terminal, /dev/null: root would put a file in the place of the last one, for the whole machine."""
    os.mkfifo(path)
    said: list[str] = []
    reader = threading.Thread(target=lambda: said.append(path.read_text()))
    reader.start()
    replace_file(path, "new")
    reader.join()
    assert said == ["new"]
    assert stat.S_ISFIFO(path.stat().st_mode)
