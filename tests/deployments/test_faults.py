"""The servers that are wrong by themselves, and how the kinds of servers differ."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

import aiohttp
import pytest

from tests.deployments.faults import Faults
from tests.deployments.servers import Build, Kind, mixture, replicas
from tests.deployments.traffic import call, client
from tests.node.rpc import INITIALIZE
from tests.servers.tokens import ALICE_TOKEN, BOB_TOKEN

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="package")]

ALICE = {"authorization": f"Bearer {ALICE_TOKEN}"}
BOB = {"authorization": f"Bearer {BOB_TOKEN}"}
PING = {"jsonrpc": "2.0", "id": 3, "method": "ping"}
PATIENCE_SECONDS = 0.5


async def test_a_healthy_server(faults: Faults) -> None:
    async with client() as raw:
        session = await raw.open(faults.healthy.removesuffix("/mcp"))
        assert (await call(raw, faults.healthy, session)).status == 200


async def test_a_silent_server_accepts_and_never_answers(faults: Faults) -> None:
    async with client() as raw:
        for method, body in (("POST", INITIALIZE), ("GET", None), ("DELETE", None)):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(raw.send(method, faults.silent, body=body), PATIENCE_SECONDS)


async def test_a_server_that_falls_silent_once_there_is_a_session(faults: Faults) -> None:
    async with client() as raw:
        session = await raw.open(faults.silent_in_session.removesuffix("/mcp"))
        for method, body in (("POST", PING), ("GET", None), ("DELETE", None)):
            request = raw.send(method, faults.silent_in_session, session=session, body=body)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(request, PATIENCE_SECONDS)


async def test_a_web_page(faults: Faults) -> None:
    async with client() as raw:
        for method in ("POST", "GET"):
            reply = await raw.send(method, faults.page, body=INITIALIZE)
            assert (reply.status, reply.headers["content-type"]) == (200, "text/html; charset=utf-8")


async def test_a_login_tells_where_to_get_a_token(faults: Faults) -> None:
    async with client() as raw:
        for headers in ({}, {"authorization": "Bearer wrong"}):
            refused = await raw.send("POST", faults.login, body=INITIALIZE, headers=headers)
            assert refused.status == 401
        _, _, metadata_url = refused.headers["www-authenticate"].partition('resource_metadata="')
        metadata = await raw.send("GET", metadata_url.rstrip('"'))
        assert metadata.json["resource"] == faults.login
        await raw.open(faults.login.removesuffix("/mcp"), headers=ALICE)


@pytest.mark.parametrize(("kind", "stranger"), [("login", 404), ("shared_sessions", 200)])
async def test_whose_session_it_is(faults: Faults, kind: str, stranger: int) -> None:
    url = getattr(faults, kind)
    async with client() as raw:
        session = await raw.open(url.removesuffix("/mcp"), headers=ALICE)
        used = [await raw.send("POST", url, session=session, body=PING, headers=user) for user in (ALICE, BOB, {})]
    assert [reply.status for reply in used] == [200, stranger, 401]


@pytest.mark.parametrize(("kind", "path"), [("slash", "/mcp/"), ("moved", "/mcp")])
async def test_a_redirect_leads_to_a_server(faults: Faults, kind: str, path: str) -> None:
    url = getattr(faults, kind)
    async with client() as raw:
        reply = await raw.send("POST", url, body=INITIALIZE)
        assert reply.status == 307
        there = urlsplit(reply.headers["location"])
        assert there.path == path
        assert (there.netloc == urlsplit(url).netloc) == (kind == "slash")
        assert (await raw.send("POST", there.geturl(), body=INITIALIZE)).status == 200


async def test_a_server_that_goes_by_another_name(faults: Faults) -> None:
    async with client() as raw:
        assert (await raw.send("POST", faults.other_host, body=INITIALIZE)).status == 421
        named = {"host": "mcp.example.com"}
        assert (await raw.send("POST", faults.other_host, body=INITIALIZE, headers=named)).status == 200


async def test_a_server_that_tells_secrets(faults: Faults) -> None:
    async with client() as raw:
        reply = await raw.send("POST", faults.echo, body=INITIALIZE, headers=ALICE)
    assert reply.status == 500
    assert ALICE_TOKEN in reply.body.decode()


async def test_how_each_kind_of_server_answers_an_unknown_session() -> None:
    kinds: tuple[Kind, ...] = ("everything", "stateless", "typescript")
    async with mixture(*map(Build, kinds)) as running, client() as raw:
        answers = {
            build: await raw.send("POST", replica.url, session="unknown", body=PING)
            for build, replica in zip(kinds, running, strict=True)
        }
        assert {kind: reply.status for kind, reply in answers.items()} == {
            "everything": 404,
            "stateless": 200,
            "typescript": 400,
        }
        assert answers["typescript"].json["error"]["message"] == "Bad Request: No valid session ID provided"
        opened = [await raw.send("POST", replica.url, body=INITIALIZE) for replica in running]
        assert ["mcp-session-id" in reply.headers for reply in opened] == [True, False, True]
        assert [b"\nid: " in b"\n" + reply.body for reply in opened] == [True, False, False]
        assert b"retry: 200" in opened[0].body
        for replica, reply in zip(running, opened, strict=True):
            session = reply.headers.get("mcp-session-id", "")
            counted = await call(raw, replica.url, session)
            assert counted.json["result"]["content"][0]["text"] == "1"


async def test_a_replica_can_be_killed() -> None:
    async with replicas("typescript", 2) as (first, second), client() as raw:
        first.process.kill()
        await first.process.wait()
        with pytest.raises(aiohttp.ClientConnectorError):
            await raw.open(first.base)
        session = await raw.open(second.base)
        where = await call(raw, second.url, session, "where")
        assert where.json["result"]["content"][0]["text"] == str(second.process.pid)
