"""The proxy that breaks deployments passes on all else as it came."""

from __future__ import annotations

import aiohttp

from tests.doctor.breaking import SESSION, Break, breaking
from tests.doctor.odd import running_odd
from tests.doctor.runs import run, verdicts


async def test_what_is_not_broken_is_passed_on() -> None:
    async with running_odd() as odd, breaking([odd.url]) as url:
        through, straight = await run(url, sessions=4, calls=2), await run(odd.url, sessions=4, calls=2)
        assert verdicts(through) == verdicts(straight)
        assert odd.live == set()


async def test_one_thing_is_broken_for_whom_it_is_meant() -> None:
    message = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2025-11-25"}}
    broken = Break(lambda seen: seen.is_opening, drop_out=[SESSION])
    async with running_odd() as odd, breaking([odd.url], broken) as url, aiohttp.ClientSession() as http:
        async with http.post(url, json=message) as answer:
            assert (answer.status, SESSION in answer.headers) == (200, False)
        async with http.post(url, json={**message, "method": "ping"}) as answer:
            assert answer.status == 400
