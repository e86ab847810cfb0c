"""The folder that a running cluster has for itself: one cluster at a time, and nothing left when it is over."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from mooring.errors import ClusterError

LOCK: Final = "lock"

LONGEST_SOCKET_PATH_BYTES: Final = 100
"""Below the limit of a Unix socket's address: 108 bytes on Linux, 104 on macOS, one of them the end."""


class RunDir:
    """Use it as a context manager. Its lock is the kernel's (flock), so it ends with the process, however that ends."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._lock: int | None = None
        self._is_ours = False
        self._files: list[Path] = []
        self._folders: list[Path] = []

    def __enter__(self) -> Self:
        try:
            self._is_ours = not self.path.exists()
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = self._take_lock()
        except OSError as error:
            raise ClusterError(f"cannot use {self.path} to run in: {error}; choose another --run-dir") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for file in self._files:
            file.unlink(missing_ok=True)
        for folder in self._folders:
            shutil.rmtree(folder, ignore_errors=True)
        (self.path / LOCK).unlink(missing_ok=True)
        if self._lock is not None:
            os.close(self._lock)
        with suppress(FileNotFoundError):  # somebody removed the folder while the cluster ran
            if self._is_ours and not any(self.path.iterdir()):
                self.path.rmdir()

    def file(self, name: str) -> Path:
        """A file in here, which is removed at the end."""
        path = self.path / name
        self._files.append(path)
        return path

    def socket(self, name: str) -> Path:
        """A place for a Unix socket: in here, or in a private temporary folder where the path would be too long."""
        path = self.file(name)
        if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH_BYTES:
            return path
        folder = Path(tempfile.mkdtemp(prefix="mooring-"))
        self._folders.append(folder)
        return folder / name

    def _take_lock(self) -> int:
        """The lock file may be removed between our open and our lock: then we hold a lock that nobody can see."""
        path = self.path / LOCK
        while True:
            descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_the_same(descriptor, path):
                    os.truncate(descriptor, 0)
                    os.write(descriptor, f"{os.getpid()}\n".encode())
                    return descriptor
                os.close(descriptor)
            except BlockingIOError as error:
                holder = os.read(descriptor, 20).decode().strip() or "unknown"
                os.close(descriptor)
                raise ClusterError(
                    f"a cluster already runs from {self.path} (process {holder}): stop it, or choose another --run-dir"
                ) from error


def _is_the_same(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
