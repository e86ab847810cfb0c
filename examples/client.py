"""Counts on the nodes of `make up`: `.venv/bin/python examples/client.py http://127.0.0.1:8080/mcp`.

As it is, the client speaks the revision of today and counts by a handle; with `--legacy` it speaks the one before, and
counts in a session. Either has a node of its own, which all calls reach. With `--kill` that node is killed in the
middle: the counter goes on, on another one.
"""

import argparse
import asyncio
import os
import signal

from mcp.client import Client

STEPS = 6
COLUMN = 10


async def main(url: str, legacy: bool, kill: bool) -> None:
    async with Client(url, mode="legacy" if legacy else "auto") as client:
        arguments = {}
        if not legacy:
            arguments = {"counter": await call(client, "new_counter")}
            print(f"counter {arguments['counter']}")
        columns: list[str] = []
        for step in range(1, STEPS + 1):
            count = await call(client, "increment", **arguments)
            node, pid = (await call(client, "where", **arguments)).split(", process ")
            if node not in columns:
                columns.append(node)
                print("   ".join(f"{name:>{COLUMN}}" for name in columns))
            print("   ".join(f"{count if name == node else '':>{COLUMN}}" for name in columns))
            if kill and step == STEPS // 2:
                os.kill(int(pid), signal.SIGKILL)
                print("   ".join(f"{'killed' if name == node else '':>{COLUMN}}" for name in columns))
                await asyncio.sleep(0.2)  # a call that meets a node as it dies may get an error: it may have run


async def call(client: Client, tool: str, **arguments: str) -> str:
    result = await client.call_tool(tool, arguments)
    text = "".join(getattr(part, "text", "") for part in result.content)
    if result.is_error:
        raise SystemExit(text)
    return text


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Counts on the nodes of `make up`.")
    parser.add_argument("url", help="the MCP endpoint, as `make up` prints it")
    parser.add_argument("--legacy", action="store_true", help="speak the revision before 2026-07-28, with a session")
    parser.add_argument("--kill", action="store_true", help="kill the counter's node in the middle, on this machine")
    given = parser.parse_args()
    try:
        asyncio.run(main(given.url, given.legacy, given.kill))
    except Exception as error:  # a connection that fails comes in a group, in another group
        while isinstance(error, ExceptionGroup):
            error = error.exceptions[0]
        raise SystemExit(
            f"{given.url}: {error or type(error).__name__}. Is it the address that `make up` prints?"
        ) from None
