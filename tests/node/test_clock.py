"""What is idle is so by time that has passed, whatever the machine's clock is set to."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable

import pytest

from mooring import new_handle
from mooring.asgi import Scope, Send
from tests.node.apps import ScriptedApp, answer
from tests.node.direct import Request, initialize, joined
from tests.node.moving.nodes import once

_IN_A_PROCESS = """
import asyncio, time
really, steps = time.time, []
time.time = lambda: really() + sum(steps)
from tests.node.test_clock import stays
asyncio.run(stays(lambda: steps.append({step})))
"""


async def stays(set_clock: Callable[[], None]) -> None:
    """A session and a handle, once the clock was set."""
    app = ScriptedApp()

    async def on_session(scope: Scope, body: bytes, send: Send) -> None:
        if scope["method"] != "GET":
            await answer(send, 200, b"{}")
            return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        await asyncio.Event().wait()

    async with joined(app, idle_seconds=10, handle_idle_seconds=10) as mooring:
        node = mooring._node
        session = (await initialize().to(mooring)).session_id
        app.on_session = on_session
        request = Request("GET", session=session, headers=[(b"accept", b"text/event-stream")])
        listens = asyncio.create_task(request.to(mooring))
        await once(lambda: bool(request.body), what="it to listen")
        request.leave()
        await listens
        handle = new_handle()
        set_clock()
        await node.keeper.beat()
        await node.sessions.settle()
        assert node.sessions.find(session) is not None
        assert node.sessions.handles.find(handle) is not None


@pytest.mark.real
@pytest.mark.parametrize("step", [10**8, -(10**8)])
def test_a_clock_that_is_set_ends_nothing(step: int) -> None:
    program = _IN_A_PROCESS.format(step=step)
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
