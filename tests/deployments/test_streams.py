"""What reaches a client late, or not at all: buffered and compressed streams, limits of time and size, lost headers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import aiohttp
import pytest

from tests.deployments import haproxy, nginx, traefik
from tests.deployments.traffic import client, modern_call, stays_silent, stream, tool_call
from tests.node.rpc import INITIALIZE

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="package")]

Deploy = Callable[[Sequence[str]], Any]
STEPS, STEP_SECONDS = 4, 0.3
WORK_SECONDS = STEPS * STEP_SECONDS
WORK = tool_call("work", steps=STEPS, seconds=STEP_SECONDS)
LIMIT_SECONDS = 1.0


async def new_session(url: str) -> str:
    async with client() as raw:
        return await raw.open(url.removesuffix("/mcp"))


@pytest.mark.parametrize(
    ("deploy", "encoding"),
    [
        (nginx.round_robin, None),
        (haproxy.round_robin, None),
        (traefik.round_robin, None),
        (partial(nginx.buffered, http_version="1.1"), None),
        (partial(nginx.compressed, buffer=False), "gzip"),
    ],
)
async def test_events_come_as_they_are_sent(one: list[str], deploy: Deploy, encoding: str | None) -> None:
    async with deploy(one) as url:
        seen = await stream(url, await new_session(url), WORK)
    assert seen.encoding == encoding
    assert seen.complete
    assert len(seen.event_seconds) == STEPS + 1
    assert seen.event_seconds[-1] - seen.event_seconds[0] > WORK_SECONDS - STEP_SECONDS


@pytest.mark.parametrize(("deploy", "encoding"), [(nginx.buffered, None), (nginx.compressed, "gzip")])
async def test_events_are_held_back_until_the_last(one: list[str], deploy: Deploy, encoding: str | None) -> None:
    async with deploy(one) as url:
        seen = await stream(url, await new_session(url), WORK)
    assert seen.encoding == encoding
    assert seen.complete
    assert len(seen.event_seconds) == STEPS + 1
    assert seen.headers_seconds >= WORK_SECONDS
    assert seen.event_seconds[-1] - seen.event_seconds[0] < STEP_SECONDS


@pytest.mark.parametrize(
    ("deploy", "silent"),
    [
        (nginx.round_robin, False),
        (partial(nginx.compressed, buffer=False), False),
        (nginx.buffered, True),
        (partial(nginx.buffered, http_version="1.1"), True),
        (nginx.compressed, True),
    ],
)
async def test_a_buffer_holds_back_the_headers_of_a_stream_without_events(
    one: list[str], deploy: Deploy, silent: bool
) -> None:
    async with deploy(one) as url:
        assert await stays_silent(url, await new_session(url), 0.5) == silent


@pytest.mark.parametrize("deploy", [haproxy.idle_timeout, nginx.idle_timeout])
async def test_silence_ends_a_stream_abruptly(one: list[str], deploy: Callable[..., Any]) -> None:
    async with deploy(one, LIMIT_SECONDS) as url:
        session = await new_session(url)
        silent, lively = await asyncio.gather(stream(url, session), stream(url, session, WORK))
    assert not silent.complete
    assert LIMIT_SECONDS * 0.9 <= silent.end_seconds < LIMIT_SECONDS * 2
    assert lively.complete
    assert lively.end_seconds >= WORK_SECONDS > LIMIT_SECONDS


async def test_age_ends_a_stream_abruptly_at_its_next_event(one: list[str]) -> None:
    quiet = tool_call("work", steps=1, seconds=1.5 * LIMIT_SECONDS)
    async with traefik.lifetime_limit(one, LIMIT_SECONDS) as url:
        lively_in, quiet_in = await new_session(url), await new_session(url)
        lively, late = await asyncio.gather(stream(url, lively_in, WORK), stream(url, quiet_in, quiet))
    assert (lively.complete, late.complete) == (False, False)
    assert LIMIT_SECONDS * 0.9 <= lively.end_seconds < LIMIT_SECONDS + 2 * STEP_SECONDS
    assert late.end_seconds >= 1.5 * LIMIT_SECONDS
    assert len(late.event_seconds) == 1


async def test_the_default_limit_of_nginx_is_a_megabyte(one: list[str]) -> None:
    def ping(size: int) -> dict[str, Any]:
        return {"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"_meta": {"padding": "x" * size}}}

    async with client() as raw, nginx.round_robin(one) as generous, nginx.body_limit(one) as strict:
        session = await new_session(generous)
        sent = [
            await raw.send("POST", url, session=session, body=ping(size))
            for url, size in ((strict, 900_000), (strict, 1_500_000), (generous, 1_500_000))
        ]
    assert [reply.status for reply in sent] == [200, 413, 200]
    assert b"<center>nginx" in sent[1].body


async def test_by_default_nginx_does_not_tell_the_node_its_name(one: list[str]) -> None:
    async with nginx.lost_host(one) as url, client() as raw:
        reply = await raw.send("POST", url, body=INITIALIZE)
    assert (reply.status, reply.body) == (421, b"Invalid Host header")


@pytest.mark.parametrize("deploy", [haproxy.dropped_header, haproxy.doubled_header])
async def test_the_modern_era_needs_its_headers_once(one: list[str], deploy: Deploy) -> None:
    async with deploy(one) as url, client() as raw:
        broken, direct = await modern_call(raw, url), await modern_call(raw, one[0])
        await raw.open(url.removesuffix("/mcp"))
    assert direct.status == 200
    assert (broken.status, broken.json["error"]["code"]) == (400, -32020)


async def test_nobody_signed_the_certificate(one: list[str]) -> None:
    async with haproxy.self_signed(one) as url, aiohttp.ClientSession() as http:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await http.get(url)
        async with http.get(url, ssl=False) as answer:
            assert answer.status != 421
