"""Files that other programs read while we write them."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path


def replace_file(path: Path, text: str, *, private: bool = False) -> None:
    """Put `text` into `path` as a whole, by rename: a reader sees the old file or the new one, and never half of it.

    The text is written beside it first, so both are on one disk, under a name that begins with a dot, which no program
    that watches the folder loads. A link stays, and what it leads to is replaced. What is there and is no file, such as
    a pipe or a terminal, is written to. Whoever could read and write the old file may do so with the new one: whatever
    reads it may run as somebody else.

    Args:
        private: only its owner may read it.

    Raises:
        OSError: it cannot be written; the file is as it was.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        path.write_text(text, encoding="utf-8")
        return
    path = Path(os.path.realpath(path))
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    beside.unlink(missing_ok=True)  # of a process of the same number that was killed here
    try:
        descriptor = os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600 if private else 0o666)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            if path.exists() and not private:
                _give_rights_of(path, descriptor)
            file.write(text)
        beside.replace(path)
    except BaseException as error:
        beside.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno == errno.EBUSY:
            raise OSError(
                errno.EBUSY, "it is mounted by itself, so it cannot be replaced: mount its folder", str(path)
            ) from error
        raise


def _give_rights_of(path: Path, descriptor: int) -> None:
    known = path.stat()
    with suppress(PermissionError):  # to give files away is for root, and to a group for its members
        os.fchown(descriptor, known.st_uid, known.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(known.st_mode))
