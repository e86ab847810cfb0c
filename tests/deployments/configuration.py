"""What the proxies have in common: a program, its configuration from a template, and where a deployment is found."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from string import Template
from typing import Final, TypeAlias

from tests.real_redis import missing

HERE: Final = Path(__file__).parent

Deployment: TypeAlias = contextlib.AbstractAsyncContextManager[str]
"""A running one, as the URL of its MCP endpoint."""


class _AtTemplate(Template):
    """The dollar signs are nginx's, and the braces."""

    delimiter = "@"


def find(name: str) -> str:
    """The program, also where only the administrator's PATH has it; where it is missing, so is the test."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if found is None:
        missing(f"{name} is not installed")
    return found


def find_caddy() -> str:
    """The one of the PyPI package, beside Python.

    Debian 12 has one that ends an answer, as if it were whole, wherever it loses the node that gives it; under load it
    loses nodes that live.
    """
    beside = Path(sys.executable).parent / "caddy"
    return str(beside) if beside.exists() else find("caddy")


def fill(template: str, folder: Path, **values: object) -> Path:
    """The configuration that the template of that name becomes, written into `folder`."""
    text = _AtTemplate((HERE / template).read_text()).substitute(values)
    written = folder / template
    written.write_text(text)
    return written


async def check(*command: str | Path) -> None:
    """Lets a program read its configuration, and fails with what it has to say against it."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    text = output.decode()
    assert process.returncode == 0, text
    assert "[warn]" not in text, text


@contextlib.asynccontextmanager
async def mcp_endpoint(running: contextlib.AbstractAsyncContextManager[str]) -> AsyncIterator[str]:
    """The deployment that a running proxy is, found at the usual path."""
    async with running as base:
        yield f"{base}/mcp"
