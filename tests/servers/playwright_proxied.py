"""`@playwright/mcp` as it comes, which is a Node.js program and has a browser for each session, behind FastMCP's proxy.

Neither knows of Mooring. Each node has one such program, and each session of the node a session of its own there.
"""

import contextlib
import tempfile
from collections.abc import AsyncIterator
from typing import Any

from fastmcp import FastMCP
from fastmcp.server.providers.proxy import FastMCPProxy, StatefulProxyClient

from tests.bare import listening
from tests.clients.browser import browser
from tests.clients.programs import NODE, NODE_TESTS
from tests.ports import free_port

PORT = free_port()
PROGRAM = NODE_TESTS / "node_modules/@playwright/mcp/cli.js"
FLAGS = ("--headless", "--isolated", "--no-sandbox", "--allowed-hosts", "*", "--host", "127.0.0.1")


@contextlib.asynccontextmanager
async def with_playwright(_: FastMCP[Any]) -> AsyncIterator[None]:
    with tempfile.TemporaryDirectory(prefix="playwright-") as folder:
        options = ["--executable-path", browser(), "--output-dir", folder, "--port", str(PORT)]
        async with listening([NODE, PROGRAM, *FLAGS, *options], PORT, what="@playwright/mcp"):
            yield


client: StatefulProxyClient[Any] = StatefulProxyClient(f"http://127.0.0.1:{PORT}/mcp")
server = FastMCPProxy(client_factory=client.new_stateful, name="playwright", lifespan=with_playwright)
