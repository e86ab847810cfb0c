"""A Redis or Valkey for one benchmark."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from redis import Redis
from redis.exceptions import RedisError

from mooring.local.programs import find_redis

_START_SECONDS: Final = 30.0


@contextlib.contextmanager
def redis_server() -> Iterator[str]:
    """A Valkey or Redis of our own on a socket; its URL."""
    with tempfile.TemporaryDirectory(prefix="mooring-bench-") as folder:
        socket = Path(folder) / "redis.sock"
        options = [
            "--port",
            "0",
            "--unixsocket",
            str(socket),
            "--save",
            "",
            "--appendonly",
            "no",
            "--loglevel",
            "warning",
        ]
        process = subprocess.Popen([find_redis(), *options], stdout=subprocess.DEVNULL, cwd=folder)
        try:
            _until_it_answers(Redis.from_url(f"unix://{socket}"))
            yield f"unix://{socket}"
        finally:
            process.kill()
            process.wait()


def _until_it_answers(client: Redis) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            client.ping()
            return
        except (RedisError, OSError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
