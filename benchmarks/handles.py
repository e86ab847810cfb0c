"""Calls of revision 2026-07-28, with a handle and without, in one process; and the search for handles in large bodies.

As in `in_process`: SDK v2 with and without the middleware by turns, no network. A ratio to bare that is seen here is
worse than what a client sees, whose calls take the server's time for HTTP as well: `throughput` has that.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any, Final

from mcp.server.mcpserver import MCPServer

from benchmarks import messages
from benchmarks.exchange import started
from benchmarks.in_process import check, one_round
from benchmarks.result import Figure, Result, Spread
from mooring import Mooring, Settings, new_handle
from mooring.core.handle_search import in_body, may_hold_handles

_MIB: Final = 1024 * 1024
_CEILING_MS: Final = 0.2


async def visit(browser: str) -> str:
    """Does nothing with it."""
    return "a page"


def run(*, quick: bool = False) -> Result:
    return asyncio.run(_run(rounds=3 if quick else 7, pairs=30 if quick else 100))


async def _run(rounds: int, pairs: int) -> Result:
    server = MCPServer("bench", log_level="ERROR")
    server.add_tool(visit)
    bare: Any = server.streamable_http_app()
    node = Mooring(bare, Settings.load())
    result = Result(
        "handles: calls of revision 2026-07-28, in one process, and the search of a body of 1 MiB",
        ("", "bare", "with Mooring", "ratio", "noise"),
        caption=f"µs of CPU time; {rounds} rounds, each the median of {pairs} pairs; no network",
    )
    async with started(node):
        for label, browser in (
            ("a call without a handle", "none"),
            ("a call with one, at its owner", new_handle("browser")),
        ):
            request = messages.modern_call({"name": "visit", "arguments": {"browser": browser}})
            await check(node, request)
            measured = [await one_round(bare, node, request, pairs) for _ in range(rounds)]
            alone = Spread.of(microseconds for microseconds, _ in measured)
            moored = Spread.of(microseconds + added for microseconds, added in measured)
            ratio = Spread.of(microseconds / (microseconds + added) for microseconds, added in measured)
            result.rows.append((label, alone.text(0), moored.text(0), ratio.text(3), ratio.noise(3)))
        _search(result, new_handle("browser"), 10 * rounds)
    return result


def _search(result: Result, handle: str, rounds: int) -> None:
    prose = "It was a bright cold day in April. "
    for label, text, browser in (
        ("1 MiB without a handle", prose, "none"),
        ("1 MiB that is full of tildes", "about ~5 of ~10; ", "none"),
        ("1 MiB with a handle, which is parsed", prose, handle),
    ):
        arguments = {"text": text * (_MIB // len(text)), "browser": browser}
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "params": {"name": "visit", "arguments": arguments}}).encode()
        taken = Spread.of(_milliseconds(body) for _ in range(rounds))
        result.rows.append((label, "-", f"{taken.median * 1000:,.0f}", "-", "-"))
        if text == prose and browser == "none":
            result.figures.append(Figure(f"{label}: search", taken, "ms", "ceiling", _CEILING_MS, digits=3))


def _milliseconds(body: bytes) -> float:
    before = time.perf_counter()
    if may_hold_handles(body):
        in_body(body)
    return (time.perf_counter() - before) * 1000
