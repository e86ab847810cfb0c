"""A web page in a real browser: served from an origin of its own, run by a headless Chromium, and what it saw."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from tests.real_redis import missing

PAGE: Final = Path(__file__).with_name("page.html")
_BROWSERS: Final = ("chromium-headless-shell", "chromium")
_FLAGS: Final = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-port=0")


def browser() -> str:
    """The program; skips the test where there is none, and fails it where there has to be one."""
    found = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if found is None:
        missing("there is no Chromium: run `make install-tests`")
    return str(found)


async def report_of_page(port: int, plan: Mapping[str, Any], *, seconds: float = 60.0) -> dict[str, Any]:
    """What the page of that port reports once it has done what the plan says."""
    reported: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

    async def show(request: web.Request) -> web.FileResponse:
        return web.FileResponse(PAGE)

    async def tell(request: web.Request) -> web.Response:
        return web.json_response(plan)

    async def take(request: web.Request) -> web.Response:
        if not reported.done():
            reported.set_result(await request.json())
        return web.Response()

    app = web.Application()
    app.add_routes([web.get("/", show), web.get("/plan", tell), web.post("/report", take)])
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        return await _browse(f"http://127.0.0.1:{port}/", reported, seconds)
    finally:
        await runner.cleanup()


async def _browse(url: str, reported: asyncio.Future[dict[str, Any]], seconds: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="browser-", ignore_cleanup_errors=True) as profile:
        process = await asyncio.create_subprocess_exec(
            *(browser(), *_FLAGS, f"--user-data-dir={profile}", url),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(seconds):
                return await reported
        finally:
            with contextlib.suppress(ProcessLookupError):  # Debian's is a script, which runs the browser beside itself
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
