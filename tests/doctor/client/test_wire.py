"""One request and what comes back: nothing raises, and every header is the caller's choice."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from mooring.doctor.client import protocol
from mooring.doctor.client.received import trouble_of
from mooring.doctor.client.reply import Outcome, Trouble
from mooring.doctor.client.wire import Wire
from mooring.doctor.plan import Plan
from tests.doctor.serving import serving
from tests.ports import free_port


async def echo(request: web.Request) -> web.StreamResponse:
    """Answers a request with the headers that came; with a session for any request that names none."""
    message = await request.json() if request.method == "POST" else {}
    headers = {} if protocol.SESSION in request.headers else {protocol.SESSION: "new"}
    sent = [[name, value] for name, value in request.headers.items()]
    return web.json_response({"jsonrpc": "2.0", "id": message.get("id"), "result": sent}, headers=headers)


def sent_headers(result: object) -> dict[str, list[str]]:
    assert isinstance(result, list)
    found: dict[str, list[str]] = {}
    for name, value in result:
        found.setdefault(name.lower(), []).append(value)
    return found


async def test_the_operators_headers_and_token_go_to_the_endpoint_alone() -> None:
    async with serving(echo) as url, serving(echo) as elsewhere:
        plan = Plan(URL(url), headers=(("X-Key", "abc"),), tokens=("one", "two"))
        ping = protocol.request(1, "ping")
        async with Wire(plan) as wire:
            here = await wire.send("POST", message=ping, token=1)
            there = await wire.send("POST", message=ping, url=URL(elsewhere), token=None)
    assert here.message is not None
    assert there.message is not None
    headers = sent_headers(here.message["result"])
    assert (headers["x-key"], headers["authorization"]) == (["abc"], ["Bearer two"])
    assert not {"x-key", "authorization"} & set(sent_headers(there.message["result"]))


async def test_a_header_may_be_sent_twice() -> None:
    async with serving(echo) as url, Wire(Plan(URL(url))) as wire:
        doubled = [(protocol.METHOD, "a"), (protocol.METHOD, "b")]
        reply = await wire.send("POST", message=protocol.request(1, "ping"), headers=doubled)
    assert reply.message is not None
    assert sent_headers(reply.message["result"])["mcp-method"] == ["a", "b"]


async def test_a_session_counts_as_opened_where_none_was_named() -> None:
    async with serving(echo) as url, Wire(Plan(URL(url))) as wire:
        await wire.send("GET", headers={protocol.SESSION: "known"})
        assert wire.minted == set()
        await wire.send("GET")
        assert wire.minted == {"new"}
        assert wire.requests == 2


async def test_an_answer_that_came_is_one_though_its_stream_stays_open() -> None:
    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": protocol.EVENT_STREAM})
        await response.prepare(request)
        await response.write(b'data: {"jsonrpc": "2.0", "id": 1, "result": {}}\n\n')
        assert request.transport is not None
        request.transport.abort()
        return response

    async with serving(stream) as url, Wire(Plan(URL(url))) as wire:
        reply = await wire.send("POST", message=protocol.request(1, "ping"))
    assert (reply.outcome, reply.trouble) == (Outcome.REACHED, None)


async def test_a_call_that_hangs_is_no_limit_on_connections_where_others_are_served() -> None:
    asked = list[str]()

    async def every_second_call_hangs(request: web.Request) -> web.StreamResponse:
        if request.method == "POST" and (await request.json())["method"] == "ping":
            asked.append("ping")
            if len(asked) % 2:
                await asyncio.sleep(60)
        return await echo(request)

    async with serving(every_second_call_hangs) as url, Wire(Plan(URL(url), timeout_seconds=2.0)) as wire:
        lanes = [wire.lane() for _ in range(3)]
        for lane in lanes:
            await wire.send("POST", message=protocol.request(1, "tools/list"), lane=lane)
        reply = await wire.send("POST", message=protocol.request(2, "ping"))
    assert (reply.outcome, wire.most_connections) == (Outcome.HANG, 0), "it was not the number of connections"
    assert not any(lane.was_dropped for lane in lanes)


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd", "deflate"])
async def test_an_answer_in_another_encoding_is_http_all_the_same(encoding: str) -> None:
    async def packs(request: web.Request) -> web.StreamResponse:
        answer = await echo(request)
        answer.headers["Content-Encoding"] = encoding
        return answer

    async with serving(packs) as url, Wire(Plan(URL(url))) as wire:
        reply = await wire.send("POST", message=protocol.request(1, "ping"))
    assert (reply.trouble, reply.outcome) == (Trouble.ENCODED, Outcome.ODD)


async def test_nothing_raises_where_nobody_listens() -> None:
    async with Wire(Plan(URL(f"http://127.0.0.1:{free_port()}/mcp"))) as wire:
        assert (await wire.send("GET")).trouble is Trouble.REFUSED
        with pytest.raises(aiohttp.ClientError):
            await wire.open("GET")


@pytest.mark.parametrize(
    ("error", "trouble"),
    [
        (TimeoutError(), Trouble.HANG),
        (aiohttp.ClientPayloadError(), Trouble.CUT),
        (aiohttp.ServerDisconnectedError(), Trouble.CUT),
        (aiohttp.ClientOSError(104, "reset"), Trouble.CUT),
        (ConnectionResetError(), Trouble.CUT),
        (ConnectionRefusedError(), Trouble.REFUSED),
        (OSError("unreachable"), Trouble.NO_WAY),
    ],
)
def test_what_an_error_says_of_the_answer(error: Exception, trouble: Trouble) -> None:
    assert trouble_of(error) is trouble
