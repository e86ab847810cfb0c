"""The operator's command that makes a load balancer read its configuration again."""

from __future__ import annotations

import asyncio
import os
import shlex
import tempfile
import time
from pathlib import Path
from typing import Final

import typer

from mooring.core.text import plain
from mooring.errors import MooringError
from mooring.ingress.follow import Reload

SECONDS: Final = 30.0
"""How long the command may take: Caddy's waits until the new configuration serves."""

_REFUSED_SECONDS: Final = 5.0

_SOCKET: Final = "unix:"
_FAILED: Final = "Success=0"
"""How HAProxy's master says that it kept the former configuration."""

_LONGEST_LINE: Final = 500
_READ_BYTES: Final = 4 * _LONGEST_LINE
"""Of what a command wrote: enough for its last line."""


def reload_by(command: str, file: Path) -> Reload:
    """Runs that command, without a shell; or says its words to a socket, where it begins with `unix:PATH`.

    Raises:
        typer.BadParameter: it cannot be read as words.
    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise typer.BadParameter(f"{error} in {command!r}", param_hint="--reload") from error
    if not words:
        raise typer.BadParameter("it is empty but for white space", param_hint="--reload")
    # nginx does not read a relative path from where we are. A socket's is left short, as it may be no longer than 107.
    named = str(file) if words[0].startswith(_SOCKET) else str(file.absolute())
    words = [word.replace("{file}", named) for word in words]
    shown = shlex.join(words)
    folder = file.absolute().parent

    async def reload() -> None:
        try:
            async with asyncio.timeout(SECONDS):
                if words[0].startswith(_SOCKET):
                    code, said = await _tell(words[0].removeprefix(_SOCKET), " ".join(words[1:]))
                else:
                    code, said = await _run(words, folder)
        except TimeoutError as error:
            raise MooringError(f"`{shown}` took more than {SECONDS:g} s") from error
        except OSError as error:
            hint = (
                f": start it as haproxy -W -S unix@{words[0].removeprefix(_SOCKET)} …"
                if words[0].startswith(_SOCKET)
                else ""
            )
            raise MooringError(f"`{shown}`: {error.strerror or error}{hint}") from error
        if code:
            last = plain(said.strip().rpartition("\n")[2], _LONGEST_LINE)
            raise MooringError(f"`{shown}` ended with {code}: {last}")

    return reload


async def _run(words: list[str], folder: Path) -> tuple[int, str]:
    """Its exit code, and the end of what it wrote.

    It writes to a file without a name, and not to a pipe: a load balancer that it starts keeps that open for as long as
    it lives. `folder` is where we write anyway.
    """
    with tempfile.TemporaryFile(dir=folder) as output:
        process = await asyncio.create_subprocess_exec(
            *words, stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=asyncio.subprocess.STDOUT
        )
        try:
            code = await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
        output.seek(max(0, output.seek(0, os.SEEK_END) - _READ_BYTES))
        return code, output.read().decode(errors="replace")


async def _tell(path: str, line: str) -> tuple[int, str]:
    """Whether the answer says that it failed, and the answer.

    HAProxy's master refuses connections while an earlier reload is under way, and resets those that it does not take
    over. A reload may be asked for twice.
    """
    deadline = time.monotonic() + _REFUSED_SECONDS
    while True:
        try:
            said = await _ask(path, line)
            return int(_FAILED in said), said
        except (ConnectionRefusedError, ConnectionResetError, BrokenPipeError):
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.1)


async def _ask(path: str, line: str) -> str:
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        writer.write(f"{line}\n".encode())
        return (await reader.read()).decode(errors="replace")
    finally:
        writer.close()
