"""A server whose counters are kept under handles: what each stands for goes on when its process is gone."""

from __future__ import annotations

import asyncio
from typing import Any

from fastmcp import FastMCP
from fastmcp.exceptions import ToolError as FastMCPToolError
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError

import mooring

_errors = {MCPServer: ToolError, FastMCP: FastMCPToolError}
"""What tools of each raise for models to read."""


class Counting:
    """What one process sees.

    Attributes:
        ledger: which counters its calls found here, and at what number.
        is_held: `add_slowly` has changed something, and waits for `go_on`.
    """

    def __init__(self) -> None:
        self.ledger: list[tuple[str, int]] = []
        self.is_held = asyncio.Event()
        self.go_on = asyncio.Event()

    def add(self, counter: str, number: int = 1) -> int:
        kept = mooring.state(counter)
        kept["n"] = kept.get("n", 0) + number
        self.ledger.append((counter, kept["n"]))
        return int(kept["n"])

    def heard(self, counter: str) -> str:
        """What is kept of a counter, or why that cannot be had."""
        try:
            return str(dict(mooring.state(counter)))
        except mooring.NoHandle as error:
            return f"nothing: {error}"


def counting_server(make_server: Any, counting: Counting, **options: Any) -> Any:
    """A server of SDK v2 or FastMCP."""
    server: Any = make_server("counters", **options)

    def new_counter(empty: bool = False) -> str:
        counter = mooring.new_handle("counter")
        if not empty:
            mooring.state(counter)["n"] = 0
        return counter

    async def new_in_thread() -> str:
        def make() -> str:
            counter = mooring.new_handle("counter")
            mooring.state(counter)["n"] = 100
            return counter

        return await asyncio.to_thread(make)

    async def count_up(counter: str) -> int:
        return counting.add(counter)

    async def count_in_thread(counter: str) -> int:
        return await asyncio.to_thread(counting.add, counter)

    async def add_to_both(counter: str, other: str) -> list[int]:
        return [counting.add(counter), counting.add(other)]

    async def add_and_fail(counter: str) -> int:
        raise _errors[make_server](f"failed at {counting.add(counter)}")

    async def add_slowly(counter: str) -> int:
        number = counting.add(counter)
        counting.is_held.set()
        await counting.go_on.wait()
        return number

    async def keep(counter: str, what: str) -> str:
        mooring.state(counter)["what"] = {what} if what == "set" else what * 1000
        return "kept"

    async def count_all(counters: list[str], note: str = "") -> list[int]:
        return [counting.add(counter) for counter in counters]

    async def keep_of_session(counter: str) -> int:
        mooring.session_state()["counter"] = counter
        return counting.add(counter)

    @mooring.transactional
    async def add_transactional(counter: str) -> str:
        return counting.heard(counter)

    async def look(counter: str) -> str:
        return counting.heard(counter)

    async def end(counter: str) -> str:
        counting.add(counter)
        mooring.end(counter)
        return "ended"

    tools = [new_counter, new_in_thread, count_up, count_in_thread, add_to_both, add_and_fail, add_slowly, keep]
    for tool in (*tools, count_all, keep_of_session, add_transactional, look, end):
        server.tool()(tool)
    server.resource("counter://{counter}/heard")(counting.heard)
    return server


class CountingNodes:
    """Makes the app of each node, and has what its process sees."""

    def __init__(self, make_server: Any, **options: Any) -> None:
        self.processes: list[Counting] = []
        self._make_server = make_server
        self._options = options

    def __call__(self) -> Any:
        self.processes.append(Counting())
        server = counting_server(self._make_server, self.processes[-1])
        if hasattr(server, "http_app"):
            return server.http_app(path="/mcp", **self._options)
        return server.streamable_http_app(**self._options)
