"""What is said of a Redis that does not do what it is asked: what it is, and neither a key nor a secret with it."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from redis import exceptions

from mooring.core.model import ShardOwner, Touch, Written
from mooring.errors import StoreUnavailable
from mooring.store import RedisStore, Store
from mooring.store.journal import Call, LogEntry
from mooring.store.trouble import RIGHTS, explain
from tests.ports import free_port
from tests.real_redis import RealRedis, real_redis
from tests.redis_groups import real_sentinel
from tests.store.examples import NODE, OTHER, RECORD, SEALS
from tests.waiting import until

real = pytest.mark.real
FLAVOURS = pytest.mark.parametrize("flavour", ["valkey", "redis"])
PASSWORD = "hunter2-and-more"

Asking = Callable[[Store], Awaitable[object]]


async def _all_sessions(store: Store) -> object:
    return [record async for record in store.sessions()]


READS: dict[str, Asking] = {
    "reading the nodes and shards": lambda store: store.snapshot(),
    "reading a session's record": lambda store: store.load_session(RECORD.id),
    "listing the sessions": _all_sessions,
}
WRITES: dict[str, Asking] = {
    "registering this node": lambda store: store.register(NODE, 5),
    "claiming a shard": lambda store: store.claim("abcde", ShardOwner(NODE.id, 1), 0),
    "writing a session's record": lambda store: store.save_session(RECORD, 60),
    "saying goodbye": lambda store: store.leave(NODE),
    "removing a session's record": lambda store: store.delete_session(RECORD.id, 3),
}
OTHERS: dict[str, Asking] = {
    "renewing the lease": lambda store: store.heartbeat(NODE, 5, 0, None),
    "recording the end of a node": lambda store: store.bury(OTHER.id),
    "adopting a shard": lambda store: store.adopt("abcde", NODE.id, 1),
    "giving a shard to a peer": lambda store: store.give("abcde", ShardOwner(NODE.id, 1), OTHER.id),
    "forgetting dead nodes": lambda store: store.prune(60),
    "renewing a session's record": lambda store: store.touch_sessions([Touch(RECORD.id, 3, 1.0)], 60),
}

CALL = Call("s", "1", "ping", "", b"{}", 1.0)
JOURNAL: dict[str, Asking] = {
    "adding to the log of a session": lambda store: store.journal.append(RECORD.id, 3, [LogEntry("s", 3, 1, b"")], 60),
    "reading the log of a session": lambda store: store.journal.read(RECORD.id, "s"),
    "noting the calls of a session": lambda store: store.journal.note_calls(RECORD.id, 3, [CALL], 60),
    "reading the calls of a session": lambda store: store.journal.calls(RECORD.id),
    "settling a call": lambda store: store.journal.settle(RECORD.id, 3, "s", b"done", 60),
    "forgetting calls": lambda store: store.journal.forget(RECORD.id, 3, ["s"]),
}
"""For a session that is on record."""


async def troubles(store: Store, asked: dict[str, Asking]) -> list[str]:
    """What each of these calls raises. It names what was tried, and nothing that nobody should see."""
    said = []
    for doing, ask in asked.items():
        with pytest.raises(StoreUnavailable) as told:
            await ask(store)
        text = str(told.value)
        assert f" while {doing} (" in text
        shown = "".join(traceback.format_exception(told.value))
        for hidden in (RECORD.id, RECORD.id[6:], PASSWORD, "session:", "{cluster}", "EVALSHA"):
            assert hidden not in shown
        said.append(text)
    return said


def all_say(texts: list[str], says: str, *, code: str, hint: str) -> None:
    for text in texts:
        assert f" {says} while " in text
        assert f" ({code}): " in text
        assert hint in text
        assert "does not answer" not in text


async def ask_all(server: RealRedis, asked: dict[str, Asking], url: str | None = None) -> list[str]:
    store = RedisStore(url or server.url, "mcp", timeout_seconds=2, seals=SEALS)
    try:
        return await troubles(store, asked)
    finally:
        await store.aclose()


@real
@FLAVOURS
async def test_one_that_is_full(flavour: Any) -> None:
    async with real_redis(flavour, "--maxmemory", "1", "--maxmemory-policy", "noeviction") as server:
        asked = {doing: ask for doing, ask in WRITES.items() if doing != "removing a session's record"}
        all_say(await ask_all(server, asked), "has no memory left", code="OOM", hint="raise its maxmemory")


@real
@FLAVOURS
async def test_one_that_is_full_still_says_what_it_has_and_removes(flavour: Any) -> None:
    async with real_redis(flavour) as server, server.client() as client:
        store = RedisStore(server.url, "mcp", timeout_seconds=2, seals=SEALS)
        await store.register(NODE, 5)
        await store.save_session(RECORD, 60)
        await client.config_set("maxmemory", 1)
        assert set((await store.snapshot()).leases) == {NODE.id}
        assert await store.delete_session(RECORD.id, RECORD.epoch) is Written.DONE
        assert await store.load_session(RECORD.id) is None
        await store.aclose()


@real
@FLAVOURS
async def test_a_replica(flavour: Any) -> None:
    async with real_redis(flavour, "--replicaof", "127.0.0.1", "1") as server:
        said = await ask_all(server, WRITES)
        all_say(said, "is a read-only replica", code="READONLY", hint="has to name the primary")


@real
@FLAVOURS
async def test_a_user_without_rights(flavour: Any) -> None:
    async with real_redis(flavour) as server, server.client() as client:
        rights = {
            "nothing": ["-@all", "+@connection"],
            "no scripts": ["+@all", "-@scripting", "-@read", "~mcp:*"],
            "other keys": ["+@all", "~other:*"],
            "reading alone": ["+@all", "-@write", "~mcp:*"],
        }
        for name, granted in rights.items():
            await client.execute_command("ACL", "SETUSER", "mooring", "reset", "on", f">{PASSWORD}", *granted)
            asked = WRITES if name == "reading alone" else WRITES | READS | OTHERS
            if name == "other keys":
                asked = {doing: ask for doing, ask in asked.items() if doing != "listing the sessions"}
            if name == "no scripts":
                asked = WRITES | OTHERS
            url = server.url.replace("unix://", f"unix://mooring:{PASSWORD}@")
            said = await ask_all(server, asked, url)
            all_say(said, "denies its user that", code="NOPERM", hint="the user in redis_url needs")


@real
@FLAVOURS
async def test_a_user_with_the_rights_that_we_ask_for_is_enough(flavour: Any) -> None:
    async with real_redis(flavour) as server, server.client() as client:
        acl = ["reset", "on", f">{PASSWORD}", "~mcp:*", *RIGHTS.split()]
        await client.execute_command("ACL", "SETUSER", "mooring", *acl)
        store = RedisStore(
            server.url.replace("unix://", f"unix://mooring:{PASSWORD}@"), "mcp", timeout_seconds=2, seals=SEALS
        )
        await store.save_session(RECORD, 60)
        for ask in (JOURNAL | WRITES | READS | OTHERS).values():
            await ask(store)
        await store.aclose()


@real
@FLAVOURS
async def test_a_user_who_may_write_no_stream_is_told(flavour: Any) -> None:
    async with real_redis(flavour) as server, server.client() as client:
        acl = ["reset", "on", f">{PASSWORD}", "~mcp:*", *RIGHTS.split(), "-@stream"]
        await client.execute_command("ACL", "SETUSER", "mooring", *acl)
        url = server.url.replace("unix://", f"unix://mooring:{PASSWORD}@")
        store = RedisStore(url, "mcp", timeout_seconds=2, seals=SEALS)
        await store.save_session(RECORD, 60)
        logs = {doing: ask for doing, ask in JOURNAL.items() if "log" in doing}
        all_say(await troubles(store, logs), "denies its user that", code="NOPERM", hint="@stream")
        await store.aclose()


@real
@FLAVOURS
async def test_a_journal_in_one_that_is_full(flavour: Any) -> None:
    async with real_redis(flavour) as server, server.client() as client:
        store = RedisStore(server.url, "mcp", timeout_seconds=2, seals=SEALS)
        await store.save_session(RECORD, 60)
        await store.journal.note_calls(RECORD.id, 3, [CALL], 60)
        await client.config_set("maxmemory", "1")
        growing = {doing: ask for doing, ask in JOURNAL.items() if doing.startswith(("adding", "noting", "settling"))}
        all_say(await troubles(store, growing), "has no memory left", code="OOM", hint="raise its maxmemory")
        assert await store.journal.calls(RECORD.id) == [CALL]
        await store.journal.forget(RECORD.id, 3, ["s"])
        assert await store.journal.calls(RECORD.id) == []
        await store.aclose()


@real
@FLAVOURS
async def test_a_wrong_password_or_none(flavour: Any) -> None:
    async with real_redis(flavour) as server, server.client() as client:
        await client.config_set("requirepass", "another one")
        for url in (server.url, server.url.replace("unix://", f"unix://:{PASSWORD}@")):
            said = await ask_all(server, WRITES | READS | OTHERS, url)
            all_say(said, "does not accept the user or the password", code="WRONGPASS", hint="that Redis asks for")


def test_a_redis_that_lets_nobody_in_from_elsewhere() -> None:
    """As one does that was just installed, and told to listen to others."""
    text = "DENIED Redis is running in protected mode because protected mode is enabled and no password is set"
    said = str(explain(exceptions.ResponseError(text), "redis://10.0.0.1:6379", "registering this node"))
    all_say([said], "takes connections from its own machine alone", code="DENIED", hint="requirepass")


@real
@FLAVOURS
async def test_a_database_that_is_not_there(flavour: Any) -> None:
    async with real_redis(flavour) as server:
        said = await ask_all(server, WRITES | READS, f"{server.url}?db=99")
        all_say(said, "has no such database", code="NODATABASE", hint="databases")


@real
async def test_a_redis_where_sentinels_should_be_and_a_sentinel_where_redis_should_be() -> None:
    with real_sentinel() as servers:
        primary = next(port for port in servers._running() if servers.is_primary(port))
        for url, says in (
            (f"redis+sentinel://127.0.0.1:{primary}/main", "is no sentinel"),
            (f"redis://127.0.0.1:{servers.sentinels[0]}/0", "runs no scripts .* is it a sentinel"),
        ):
            store = RedisStore(url, "mcp", timeout_seconds=2, seals=SEALS)
            with pytest.raises(StoreUnavailable, match=says):
                await store.register(NODE, 60)
            await store.aclose()


@pytest.mark.parametrize("url", ["redis://{}", "redis+cluster://{}", "redis+sentinel://{}/main"])
async def test_something_that_is_no_redis(url: str) -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as stranger:
        host, port = stranger.sockets[0].getsockname()
        store = RedisStore(url.format(f"{host}:{port}"), "mcp", timeout_seconds=2, seals=SEALS)
        with pytest.raises(StoreUnavailable, match="answers, and not as Redis does") as told:
            await store.register(NODE, 60)
        assert "is it running" not in str(told.value)
        await store.aclose()


def cluster_options() -> tuple[list[str], int, int]:
    """A cluster node's options, its port, and the port for other nodes."""
    port, bus = free_port(), free_port()
    ports = ["--port", str(port), "--cluster-port", str(bus), "--bind", "127.0.0.1"]
    return ["--cluster-enabled", "yes", "--cluster-require-full-coverage", "no", *ports], port, bus


@real
@FLAVOURS
async def test_a_node_of_a_cluster_that_is_down(flavour: Any) -> None:
    async with real_redis(flavour, *cluster_options()[0]) as server:
        said = await ask_all(server, WRITES | OTHERS)
        all_say(said, "is a node of a Redis Cluster that is down", code="CLUSTERDOWN", hint="cluster info")


@real
@FLAVOURS
async def test_a_node_of_a_cluster(flavour: Any) -> None:
    """All slots are another node's."""
    options, port, bus = cluster_options()
    async with real_redis(flavour, *options) as server, real_redis(flavour, *cluster_options()[0]) as other:
        async with other.client() as client:
            await client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            await client.execute_command("CLUSTER", "MEET", "127.0.0.1", port, bus)
        async with server.client() as client:

            async def knows_the_other() -> bool:
                return "cluster_state:ok" in str(await client.execute_command("CLUSTER", "INFO"))

            await until(knows_the_other, what="the nodes to know each other")
        asked = {doing: ask for doing, ask in (WRITES | READS | OTHERS).items() if doing != "listing the sessions"}
        all_say(await ask_all(server, asked), "is a node of a Redis Cluster", code="MOVED", hint="redis_url")


@real
@FLAVOURS
async def test_one_that_cannot_save(flavour: Any) -> None:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        async with real_redis(flavour, "--dir", folder, "--save", "1 1") as server, server.client() as client:
            shutil.rmtree(folder)
            await client.set("a", "b")

            async def cannot_save() -> bool:
                return bool((await client.info("persistence"))["rdb_last_bgsave_status"] != "ok")

            await until(cannot_save, what="Redis to find that it cannot save")
            said = await ask_all(server, WRITES)
            all_say(said, "cannot save its data and refuses every write", code="MISCONF", hint="a full disk")


@real
async def test_one_that_takes_no_more_clients() -> None:
    """What it says of that is mostly lost: it closes the connection at once."""
    async with real_redis("valkey", "--maxclients", "2") as server, server.client() as first, server.client() as second:
        await first.ping()
        await second.ping()
        for text in await ask_all(server, WRITES | READS):
            assert "takes no more clients" in text or "broke the connection" in text
            assert "maxclients" in text
            assert "does not answer" not in text


@real
async def test_another_programs_key() -> None:
    async with real_redis() as server, server.client() as client:
        await client.set("mcp:{cluster}:nodes", "a text")
        said = await ask_all(server, {"reading the nodes and shards": READS["reading the nodes and shards"]})
        all_say(said, "has something else under one of Mooring's keys", code="WRONGTYPE", hint="key_prefix")


# One that does not answer.


@real
async def test_one_that_hangs() -> None:
    async with real_redis() as server:
        store = RedisStore(server.url, "mcp", timeout_seconds=0.2, seals=SEALS)
        await store.snapshot()
        server.freeze()
        try:
            said = await troubles(store, {"reading the nodes and shards": READS["reading the nodes and shards"]})
        finally:
            server.thaw()
        await store.aclose()
    assert said == [
        f"Redis at {server.url} does not answer while reading the nodes and shards (timeout): "
        "is it running, and does redis_url lead there?"
    ]


@pytest.mark.parametrize(
    ("url", "why"),
    [
        (f"redis://user:{PASSWORD}@127.0.0.1:1/0", "connection refused"),
        ("unix:///nowhere", "no such file or directory"),
        ("redis://no-such-host.invalid:6379", "no such host"),
    ],
)
async def test_one_that_is_not_there(url: str, why: str) -> None:
    store = RedisStore(url, "mcp", timeout_seconds=10, seals=SEALS)  # a resolver may take its time
    for text in await troubles(store, WRITES | READS | OTHERS):
        assert " does not answer while " in text
        assert f" ({why}): is it running" in text
    await store.aclose()


@real
async def test_one_that_is_stopped_while_it_is_asked() -> None:
    doing = "reading the nodes and shards"
    async with real_redis() as server:
        store = RedisStore(server.url, "mcp", timeout_seconds=5, seals=SEALS)
        await store.snapshot()
        server.freeze()
        asked = asyncio.create_task(troubles(store, {doing: READS[doing]}))
        await asyncio.sleep(0.1)
        await server.stop()
        assert " broke the connection while " in (await asked)[0]
        assert " does not answer while " in (await troubles(store, {doing: READS[doing]}))[0]
        await store.aclose()


# What cannot be had from a real one at will.


@pytest.mark.parametrize(
    ("error", "says", "code"),
    [
        (exceptions.BusyLoadingError("Redis is loading the dataset in memory"), "is still reading its data", "LOADING"),
        (exceptions.ClusterCrossSlotError("Keys in request don't hash"), "is a node of a Redis Cluster", "MOVED"),
        (exceptions.AskError("1234 127.0.0.1:7000"), "is a node of a Redis Cluster", "MOVED"),
        (exceptions.MovedError("1234 127.0.0.1:7000"), "is a node of a Redis Cluster", "MOVED"),
        (exceptions.ResponseError("BUSY Redis is busy running a script"), "is held up by a script", "BUSY"),
        (exceptions.ResponseError("NOREPLICAS Not enough good replicas"), "has too few replicas", "NOREPLICAS"),
        (exceptions.ResponseError(f"unknown command 'X', with args beginning with: '{RECORD.id}'"), "not know", "UNKN"),
        (exceptions.ResponseError(f"NEWCODE about {RECORD.id}"), "refuses", "NEWCODE"),
        (exceptions.ResponseError(f"about {RECORD.id}"), "refuses", "ResponseError"),
        (
            exceptions.ConnectionError(
                "Error 1 connecting to h:1. [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify"
            ),
            "cannot be spoken to over TLS",
            "CERTIFICATE_VERIFY_FAILED",
        ),
    ],
)
def test_what_redis_says_is_told_by_its_code_alone(error: Exception, says: str, code: str) -> None:
    text = str(explain(error, "redis://h", "renewing the lease"))
    assert says in text
    assert f"({code}" in text
    assert RECORD.id not in text
    assert "does not answer" not in text
