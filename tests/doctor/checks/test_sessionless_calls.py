from __future__ import annotations

from aiohttp import web

from mooring.doctor.checks.affinity import run
from mooring.doctor.findings import Finding, Verdict
from tests.doctor.examined import examined
from tests.doctor.serving import serving


async def test_a_limit_on_the_rate_is_no_fault_where_there_are_no_sessions(quick_pace: None) -> None:
    async def limited(request: web.Request) -> web.StreamResponse:
        message = await request.json()
        if message["method"] == "ping":
            return web.Response(status=429)
        result = {"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {"name": "s", "version": "1"}}
        return web.json_response({"jsonrpc": "2.0", "id": message["id"], "result": result})

    async with serving(limited) as url, examined(url) as exam:
        found = await run(exam)
    assert isinstance(found, Finding)
    assert (found.verdict, found.says) == (Verdict.UNKNOWN, "10 of 10 calls without a session failed: 429")
