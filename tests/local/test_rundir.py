from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from mooring.errors import ClusterError
from mooring.local.rundir import LOCK, LONGEST_SOCKET_PATH_BYTES, RunDir


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run"


def test_leaves_nothing_behind(path: Path) -> None:
    with RunDir(path) as run_dir:
        for name in ("a", "b"):
            run_dir.file(name).write_text("x")
        run_dir.file("never written")
    assert not path.exists()


def test_is_for_its_owner_alone(path: Path) -> None:
    with RunDir(path):
        assert path.stat().st_mode & 0o777 == 0o700


def test_keeps_a_folder_that_was_there_and_what_others_put_into_it(path: Path) -> None:
    path.mkdir()
    with RunDir(path):
        pass
    assert list(path.iterdir()) == []
    path.rmdir()
    with RunDir(path):
        (path / "foreign").write_text("x")
    assert [file.name for file in path.iterdir()] == ["foreign"]


def test_a_folder_that_somebody_removed_meanwhile_is_no_error(path: Path) -> None:
    with RunDir(path) as run_dir:
        run_dir.file("a").write_text("x")
        shutil.rmtree(path)
    assert not path.exists()


def test_a_second_one_is_told_who_has_it(path: Path) -> None:
    with RunDir(path):
        with pytest.raises(ClusterError, match=rf"already runs from {path} \(process {os.getpid()}\).*--run-dir"):
            RunDir(path).__enter__()
        assert (path / LOCK).exists()
    with RunDir(path):
        pass


@pytest.mark.real
def test_the_lock_ends_with_its_process_however_that_ends(path: Path) -> None:
    program = (
        f"from mooring.local.rundir import RunDir; RunDir(__import__('pathlib').Path({str(path)!r})).__enter__(); "
    )
    subprocess.run([sys.executable, "-c", program + "import os; os.kill(os.getpid(), 9)"], check=False)
    assert (path / LOCK).exists()
    with RunDir(path):
        pass
    assert not (path / LOCK).exists()


def test_a_lock_on_a_file_that_was_removed_meanwhile_is_none(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flock = fcntl.flock
    removals = iter([True])

    def racing(descriptor: int, operation: int) -> None:
        if next(removals, False):
            (path / LOCK).unlink()
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", racing)
    with RunDir(path):
        monkeypatch.undo()
        with pytest.raises(ClusterError, match="already"):
            RunDir(path).__enter__()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ClusterError, match="--run-dir"):
        RunDir(tmp_path / "file" / "run").__enter__()


def test_a_socket_lies_in_the_folder(path: Path) -> None:
    with RunDir(path) as run_dir:
        assert run_dir.socket("s") == path / "s"


def test_a_socket_whose_path_would_be_too_long_lies_in_a_private_folder(path: Path) -> None:
    with RunDir(path / ("d" * 100)) as run_dir:
        socket = run_dir.socket("redis.sock")
        assert socket.parent.parent == Path(tempfile.gettempdir())
        assert socket.parent.stat().st_mode & 0o777 == 0o700
        assert len(os.fsencode(socket)) <= LONGEST_SOCKET_PATH_BYTES
        socket.write_text("x")
    assert not socket.parent.exists()
