"""How long a default run of `mooring doctor` takes: against one healthy node, and where every call hangs.

Most of it is the silent stream, which is held for as long with either: a healthy run without it is measured too.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

from benchmarks.processes import serving
from benchmarks.result import Figure, Result, Spread

_HEALTHY_SECONDS = 60.0
_HANGING_SECONDS = 120.0


def run(*, quick: bool = False) -> Result:
    rounds = 1 if quick else 3
    result = Result(
        "diagnosis: seconds of a default run of `mooring doctor`, with the start of its process",
        ("deployment", "seconds", "least to most"),
    )
    with serving("sdk_v2", mooring=True) as server:
        url = f"http://127.0.0.1:{server.port}/mcp"
        active = Spread.of(_seconds(url, {0}, "--idle", "0") for _ in range(rounds))
        healthy = Spread.of(_seconds(url, {0}) for _ in range(1 if quick else 2))
    with _hanging() as url:
        hanging = Spread.of([_seconds(url, {2})])
    result.add_row("healthy, no silent stream", active)
    result.add_row("healthy", healthy)
    result.add_row("every call hangs", hanging)
    result.figures.append(Figure("doctor, healthy", healthy, "s", "ceiling", _HEALTHY_SECONDS))
    result.figures.append(Figure("doctor, every call hangs", hanging, "s", "ceiling", _HANGING_SECONDS))
    return result


def _seconds(url: str, expected: set[int], *options: str) -> float:
    started = time.monotonic()
    command = [sys.executable, "-m", "mooring", "doctor", url, "--json", *options]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if ran.returncode not in expected:
        raise RuntimeError(f"the doctor ended with {ran.returncode}:\n{ran.stdout}{ran.stderr}")
    return time.monotonic() - started


class _Hanging(BaseHTTPRequestHandler):
    """Opens sessions, and answers nothing within them until `over`."""

    protocol_version = "HTTP/1.1"
    over: ClassVar = threading.Event()

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if message["method"] != "initialize":
            self.over.wait()
            return
        result = {"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {"name": "hangs", "version": "1"}}
        answer = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.send_header("Mcp-Session-Id", uuid.uuid4().hex)
        self.end_headers()
        self.wfile.write(answer)

    def do_GET(self) -> None:
        self.over.wait()

    def do_DELETE(self) -> None:
        self.over.wait()

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextlib.contextmanager
def _hanging() -> Iterator[str]:
    """The URL of a server whose calls hang."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hanging)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/mcp"
    finally:
        _Hanging.over.set()
        server.shutdown()
        thread.join()
        server.server_close()
