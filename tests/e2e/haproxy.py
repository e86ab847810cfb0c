"""A real HAProxy that spreads requests over nodes and knows nothing of sessions: the worst of load balancers."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

from tests.bare import free_port
from tests.real_redis import missing
from tests.waiting import until

_CONFIGURATION = """\
global
  maxconn 2000
defaults
  mode http
  timeout connect 2s
  timeout client 1h
  timeout server 1h
  option http-no-delay
  option http-server-close
frontend web
  bind 127.0.0.1:{port}
  default_backend nodes
backend nodes
  balance {balance}
{servers}
"""


@contextlib.asynccontextmanager
async def running_haproxy(urls: list[str], balance: str) -> AsyncIterator[str]:
    """HAProxy in front of these nodes: `balance` is roundrobin, or random(1). Gives its URL, without a path."""
    program = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
    if program is None:
        missing("haproxy is not installed")
    port = free_port()
    servers = "\n".join(f"  server node-{n} {urlsplit(url).netloc}" for n, url in enumerate(urls, 1))
    with tempfile.TemporaryDirectory(prefix="haproxy-") as folder:
        configuration = Path(folder) / "haproxy.cfg"
        configuration.write_text(_CONFIGURATION.format(port=port, balance=balance, servers=servers))
        process = await asyncio.create_subprocess_exec(program, "-db", "-f", str(configuration))

        async def listens() -> bool:
            assert process.returncode is None, "haproxy ended"
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                return False
            writer.close()
            return True

        try:
            await until(listens, what="haproxy to listen")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            await process.wait()
