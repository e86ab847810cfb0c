"""Everything that one person can try on another's session, and the proof that nothing came of it.

The proof is the server's own ledger (`tests.servers.people`), and what the session's principal finds afterwards.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from mooring.core.ids import SessionIds
from tests.bare import python_for, serve
from tests.cluster_in_process import SECRET
from tests.node.rpc import INITIALIZE, RawClient, Reply
from tests.ports import free_port
from tests.real_redis import RealRedis
from tests.servers.people import Auth
from tests.servers.tokens import ALICE_TOKEN, BOB_TOKEN
from tests.waiting import until

LEGACY: Final = "2025-11-25"
MODERN: Final = "2026-07-28"

ALICE: Final = {"authorization": f"Bearer {ALICE_TOKEN}", "mcp-protocol-version": LEGACY}
BOB: Final = {"authorization": f"Bearer {BOB_TOKEN}", "mcp-protocol-version": LEGACY}
STRANGER: Final = {"authorization": "Bearer of-nobody", "mcp-protocol-version": LEGACY}
NOBODY: Final = {"mcp-protocol-version": LEGACY}

RUNNING: Final = 77

_INITIALIZE: Final[dict[str, Any]] = {
    **INITIALIZE,
    "params": {**INITIALIZE["params"], "capabilities": {"elicitation": {"form": {}}}},  # type: ignore[dict-item]
}
_INITIALIZED: Final = {"jsonrpc": "2.0", "method": "notifications/initialized"}
_POSSIBLE_QUESTIONS: Final = range(3)
"""Servers number their questions from 0 or 1 on, so that anybody can guess them."""


def call_of(tool: str, request_id: int = 4) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": request_id, "method": "tools/call", "params": {"name": tool, "arguments": {}}}


def cancellation_of(request_id: int) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": request_id}}


def answer_to(question: int, name: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": question, "result": {"action": "accept", "content": {"name": name}}}


class People:
    """Those who use a server at these addresses; sessions are opened at the first."""

    def __init__(self, raw: RawClient, bases: Sequence[str]) -> None:
        self.raw = raw
        self.bases = bases

    async def open(self, who: dict[str, str]) -> str:
        base = self.bases[0]
        opened = await self.raw.send("POST", f"{base}/mcp", body=_INITIALIZE, headers=who)
        assert opened.status == 200, opened.body
        await self.raw.call(base, opened.session_id, body=_INITIALIZED, headers=who)
        return opened.session_id

    async def ledger(self) -> list[str]:
        entries: list[str] = (await self.raw.send("GET", f"{self.bases[0]}/ledger")).json
        return entries

    async def count(self, session: str, who: dict[str, str], base: str | None = None) -> Reply:
        return await self.raw.call(base or self.bases[0], session, body=call_of("count"), headers=who)

    async def tell(self, session: str, name: str, who: dict[str, str], base: str | None = None) -> list[Reply]:
        """Answers whatever question the server may have asked."""
        bodies = [answer_to(question, name) for question in _POSSIBLE_QUESTIONS]
        return [await self.raw.call(base or self.bases[0], session, body=body, headers=who) for body in bodies]

    @asynccontextmanager
    async def running(self, session: str, tool: str, who: dict[str, str]) -> AsyncIterator[asyncio.Task[Reply]]:
        """A call that goes on, by the id `RUNNING`."""
        before = await self.ledger()
        body = call_of(tool, RUNNING)
        calling = asyncio.create_task(self.raw.call(self.bases[0], session, body=body, headers=who))

        async def runs() -> bool:
            return len(await self.ledger()) > len(before)

        await until(runs, what=f"{tool} to run")
        try:
            yield calling
        finally:
            calling.cancel()

    async def try_everything(self, who: dict[str, str], refused: int | None) -> None:
        """`who` tries on sessions of Alice's; `refused` is the status that every attempt gets, if there is one."""
        for base in self.bases:
            attempt = _Attempts(self, base, who, refused)
            await attempt.call()
            await attempt.notification()
            await attempt.answer()
            await attempt.get()
            await attempt.resume()
            await attempt.delete()


class _Attempts:
    def __init__(self, people: People, base: str, who: dict[str, str], refused: int | None) -> None:
        self._people = people
        self._raw = people.raw
        self._base = base
        self._who = who
        self._refused = refused

    async def call(self) -> None:
        async with self._in_vain() as session:
            self._check(await self._people.count(session, self._who, self._base))

    async def notification(self) -> None:
        """Alice's call runs; who else says that it is cancelled?"""
        async with self._in_vain("lingers") as session, self._people.running(session, "linger", ALICE):
            body = cancellation_of(RUNNING)
            self._check(await self._raw.call(self._base, session, body=body, headers=self._who))
            await self._people.count(session, ALICE)  # what was sent before has been dealt with by then

    async def answer(self) -> None:
        """Alice is asked for her name; who else answers?"""
        async with self._in_vain("asks") as session, self._people.running(session, "ask", ALICE) as asked:
            for reply in await self._people.tell(session, "Mallory", self._who, self._base):
                self._check(reply)
            await self._people.count(session, ALICE)
            assert "was told Mallory" not in await self._people.ledger()
            await self._people.tell(session, "Alice", ALICE)
            assert (await asked).status == 200
            assert (await self._people.ledger())[-1] == "was told Alice"

    async def get(self) -> None:
        """There is one standalone stream in a session; who else takes it?"""
        async with self._in_vain() as session:
            self._check(await self._raw.send("GET", f"{self._base}/mcp", session=session, headers=self._who))
            assert await self._raw.begin("GET", f"{self._base}/mcp", session=session, headers=ALICE) == 200

    async def resume(self) -> None:
        """The server kept what it told Alice; who else asks for it?"""
        async with self._in_vain() as session:
            body = call_of("count", RUNNING)  # the SDK names a stream by its request
            told = await self._raw.call(self._people.bases[0], session, body=body, headers=ALICE)
            last_seen = {"last-event-id": _first_event_in(told)}
            url = f"{self._base}/mcp"
            self._check(await self._raw.send("GET", url, session=session, headers={**self._who, **last_seen}))
            again = await self._raw.first_words("GET", url, session=session, headers={**ALICE, **last_seen})
            assert json.loads(again.removeprefix(b"data: ")) == told.json

    async def delete(self) -> None:
        for body in (None, b"{}"):
            async with self._in_vain() as session:
                url = f"{self._base}/mcp"
                self._check(await self._raw.send("DELETE", url, session=session, body=body, headers=self._who))

    @asynccontextmanager
    async def _in_vain(self, *own: str) -> AsyncIterator[str]:
        """A session of Alice's, which is hers and whole when this ends; `own` is what she did in there."""
        session = await self._people.open(ALICE)
        before = await self._people.ledger()
        yield session
        done = (await self._people.ledger())[len(before) :]
        assert [entry for entry in done if entry not in ("counted", "was told Alice")] == list(own)
        counted = len(before) + len(done)
        for number, base in enumerate(self._people.bases, start=1):
            reply = await self._people.count(session, ALICE, base)
            assert reply.json["result"]["content"][0]["text"] == str(counted + number)
        url = f"{self._people.bases[-1]}/mcp"
        assert (await self._raw.send("DELETE", url, session=session, headers=ALICE)).status == 200

    def _check(self, reply: Reply) -> None:
        if self._refused is not None:
            assert reply.status == self._refused, reply
        assert reply.status >= 400 or reply.status == 202, reply
        if self._refused == 404:
            assert reply.reason == "unknown"


def _first_event_in(reply: Reply) -> str:
    return next(line[4:] for line in reply.body.decode().splitlines() if line.startswith("id: "))


@asynccontextmanager
async def first_generation(auth: Auth, redis: RealRedis) -> AsyncIterator[str]:
    """The address of a node around SDK v1, in a process of its own, in the cluster that this Redis keeps."""
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    environment = {
        "PEOPLE_SDK": "v1",
        "PEOPLE_AUTH": auth,
        "MOORING_SECRET": SECRET,
        "MOORING_NODE_NAME": "node-v1",
        "MOORING_REDIS_URL": redis.url,
        "MOORING_ADVERTISE_URL": base,
    }
    async with serve("tests.servers.people_served:app", python=python_for("v1"), environment=environment, port=port):
        yield base


async def unknown_session(raw: RawClient, base: str, method: str, who: dict[str, str]) -> Reply:
    """What is answered where there is no session of that id, and never was."""
    retired = SessionIds(SECRET).mint("zzzzz", b"0" * 16)
    return await raw.send(method, f"{base}/mcp", session=retired, headers=who)
