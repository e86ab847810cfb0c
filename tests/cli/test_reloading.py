from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import typer

from mooring.cli.ingress import reloading
from mooring.cli.ingress.reloading import reload_by
from mooring.errors import MooringError

PYTHON = shlex.quote(sys.executable)


@pytest.mark.real
async def test_runs_the_command_with_the_file_in_its_place(tmp_path: Path) -> None:
    file = tmp_path / "a file"
    await reload_by(f'{PYTHON} -c \'import sys; open(sys.argv[1], "w").write("was here")\' {{file}}', file)()
    assert file.read_text() == "was here"


@pytest.mark.real
async def test_the_file_is_named_so_that_it_is_found_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """nginx reads a relative path from a folder of its own."""
    monkeypatch.chdir(tmp_path)
    await reload_by(f'{PYTHON} -c \'import os, sys; os.chdir("/"); open(sys.argv[1], "w")\' {{file}}', Path("f"))()
    assert (tmp_path / "f").exists()


@pytest.mark.real
async def test_a_command_that_fails_says_its_last_line(tmp_path: Path) -> None:
    reload = reload_by(f"{PYTHON} -c 'print(1); print(\"it does not run\"); exit(3)'", tmp_path)
    with pytest.raises(MooringError, match=r"ended with 3: it does not run$"):
        await reload()


@pytest.mark.real
async def test_a_command_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(MooringError, match="No such file"):
        await reload_by("/no/such/program", tmp_path)()


@pytest.mark.real
async def test_a_command_that_takes_too_long_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reloading, "SECONDS", 0.3)
    with pytest.raises(MooringError, match=r"took more than 0\.3 s"):
        await reload_by("sleep 60", tmp_path)()


@pytest.mark.real
async def test_what_a_command_leaves_running_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A load balancer that the command starts may keep the command's output open for as long as it lives."""
    monkeypatch.setattr(reloading, "SECONDS", 3.0)
    program = 'import subprocess; print(subprocess.Popen(["sleep", "20"]).pid, file=open("pid", "w"))'
    monkeypatch.chdir(tmp_path)
    try:
        await reload_by(f"{PYTHON} -c '{program}'", tmp_path)()
    finally:
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


@pytest.mark.parametrize("command", ["'half a quote", " "])
def test_what_is_no_command(command: str, tmp_path: Path) -> None:
    with pytest.raises(typer.BadParameter):
        reload_by(command, tmp_path)


@contextlib.asynccontextmanager
async def master(path: Path, answer: str, heard: list[str]) -> AsyncIterator[None]:
    """HAProxy's, which hears one line and closes."""

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append((await reader.readline()).decode())
        writer.write(answer.encode())
        writer.close()

    async with await asyncio.start_unix_server(hear, path):
        yield


@pytest.mark.parametrize("answer", ["", "Success=1\n--\nloaded\n"])
async def test_says_it_to_a_socket(tmp_path: Path, answer: str) -> None:
    heard: list[str] = []
    async with master(tmp_path / "cfg.sock", answer, heard):
        await reload_by("unix:{file}.sock reload", tmp_path / "cfg")()
    assert heard == ["reload\n"]


async def test_the_socket_says_that_it_failed(tmp_path: Path) -> None:
    async with master(tmp_path / "cfg.sock", "Success=0\n--\nunknown keyword", []):
        with pytest.raises(MooringError, match="unknown keyword"):
            await reload_by("unix:{file}.sock reload", tmp_path / "cfg")()


async def test_waits_while_the_socket_refuses(tmp_path: Path) -> None:
    path, heard = tmp_path / "cfg.sock", list[str]()
    async with master(path, "", []):
        pass  # what it leaves behind refuses
    reloading_now = asyncio.create_task(reload_by(f"unix:{path} reload", tmp_path)())
    await asyncio.sleep(0.2)
    path.unlink(missing_ok=True)
    async with master(path, "", heard):
        await reloading_now
    assert heard == ["reload\n"]


async def test_says_it_again_where_the_socket_was_reset(tmp_path: Path) -> None:
    heard: list[str] = []

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if heard:
            heard.append((await reader.readline()).decode())
            writer.close()
        else:  # what is not read when it closes is a reset to whoever wrote it
            heard.append("")
            reader._transport.pause_reading()  # type: ignore[attr-defined]
            writer.transport.abort()

    async with await asyncio.start_unix_server(hear, tmp_path / "cfg.sock"):
        await reload_by("unix:{file}.sock reload", tmp_path / "cfg")()
    assert heard == ["", "reload\n"]


async def test_nobody_is_at_the_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reloading, "_REFUSED_SECONDS", 0.0)
    with pytest.raises(MooringError, match=r"No such file.* haproxy -W -S unix@.*/none"):
        await reload_by(f"unix:{tmp_path}/none reload", tmp_path)()
