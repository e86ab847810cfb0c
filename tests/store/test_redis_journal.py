"""What the journal in Redis alone has to do: show nothing to whoever reads Redis, and believe nothing forged there."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from mooring.core.model import Written
from mooring.core.sealing import Seals
from mooring.errors import SettingsError, StoreUnavailable
from mooring.store import RedisStore
from mooring.store.clients import client_of
from mooring.store.journal import Call, Entries, LogEntry, SettledCall
from tests.real_redis import RealRedis
from tests.store.examples import RECORD, SEALS, SECRET

pytestmark = pytest.mark.real

ID, EPOCH, TTL = RECORD.id, RECORD.epoch, 600
LOG, CALLS = f"mcp:session:{{{ID}}}:log", f"mcp:session:{{{ID}}}:calls"
ENTRIES = [LogEntry("one", EPOCH, number, b"a private event %d" % number) for number in range(3)]
CALL = Call("one", '"private-id"', "tools/call", "a_private_tool", b'{"private": "body"}', 1_700_000_000.0)


@pytest.fixture
async def store(server: RealRedis) -> AsyncIterator[RedisStore]:
    store = RedisStore(server.url, "mcp", timeout_seconds=2, seals=SEALS)
    await store.save_session(RECORD, TTL)
    await store.journal.append(ID, EPOCH, ENTRIES, TTL)
    await store.journal.note_calls(ID, EPOCH, [CALL], TTL)
    await store.journal.settle(ID, EPOCH, "two", b"a private outcome", TTL)
    yield store
    await store.aclose()


@pytest.fixture
async def redis(server: RealRedis) -> AsyncIterator[Any]:
    client = client_of(server.url, 2)
    yield client
    await client.aclose()


async def test_who_reads_redis_learns_nothing_of_what_sessions_do(store: RedisStore, redis: Any) -> None:
    everything = repr(await redis.xrange(LOG)) + repr(await redis.hgetall(CALLS))
    assert "private" not in everything
    assert "tools/call" not in everything
    assert await redis.xlen(LOG) == 3


async def test_keys_lie_with_their_session_and_live_as_long_as_was_asked_for(store: RedisStore, redis: Any) -> None:
    assert sorted(await redis.keys("*")) == [key.encode() for key in (f"mcp:session:{{{ID}}}", CALLS, LOG)]
    for key in (LOG, CALLS):
        assert TTL - 60 < await redis.ttl(key) <= TTL
    await store.journal.append(ID, EPOCH, ENTRIES, 10)
    await store.journal.note_calls(ID, EPOCH, [CALL], 10)
    assert await redis.ttl(LOG) > 10, "a later write cuts nothing short"
    assert await redis.ttl(CALLS) > 10
    await store.delete_session(ID, EPOCH)
    assert await redis.keys("*") == [f"mcp:session:{{{ID}}}".encode()]


async def forge_log(redis: Any, place: int, **fields: Any) -> None:
    """Write the log anew with one of its entries changed."""
    entries = await redis.xrange(LOG)
    await redis.delete(LOG)
    for number, (_, said) in enumerate(entries):
        changed = fields if number == place else {}
        await redis.xadd(LOG, said | {name.encode(): value for name, value in changed.items()})


async def test_a_forged_entry_costs_its_stream_that_entry_and_is_told_once(
    store: RedisStore, redis: Any, caplog: pytest.LogCaptureFixture
) -> None:
    await store.journal.append(ID, EPOCH, [LogEntry("two", EPOCH, 1, b"other", is_last=True)], TTL)
    sealed = (await redis.xrange(LOG))[1][1][b"d"]
    await forge_log(redis, 1, d=sealed[:-1] + bytes([sealed[-1] ^ 1]))
    for _ in range(3):
        left = await store.journal.read(ID, "one")
        assert left == [ENTRIES[0], replace(ENTRIES[1], data=None), ENTRIES[2]]
    assert await store.journal.read(ID, "two") == [LogEntry("two", EPOCH, 1, b"other", is_last=True)]
    told = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(told) == 1
    assert "not what was sealed here" in told[0].getMessage()
    assert ID not in caplog.text


@pytest.mark.parametrize("moved", [{"n": b"7"}, {"e": b"9"}, {"s": b"two"}])
async def test_an_entry_in_the_place_of_another_does_not_read(
    store: RedisStore, redis: Any, moved: dict[str, bytes]
) -> None:
    await forge_log(redis, 1, **moved)
    read = [*await store.journal.read(ID, "one"), *await store.journal.read(ID, "two")]
    assert ENTRIES[1] not in read
    assert [entry for entry in read if entry.data is not None] == [ENTRIES[0], ENTRIES[2]]


async def test_an_entry_of_another_session_does_not_read(store: RedisStore, redis: Any) -> None:
    other = replace(RECORD, id="zzzzz.AAAAAAAAAAAAAAAAAAAAAA.BBBBBBBBBBB")
    await store.save_session(other, TTL)
    await redis.copy(LOG, f"mcp:session:{{{other.id}}}:log")
    assert [entry.data for entry in await store.journal.read(other.id, "one")] == [None] * 3


async def test_what_others_add_takes_nothing_away(store: RedisStore, redis: Any) -> None:
    """Before what is genuine, too."""
    entries = await redis.xrange(LOG)
    await redis.delete(LOG)
    forged = {b"s": b"one", b"e": b"%d" % EPOCH, b"n": b"1", b"t": b"0", b"d": b"forged"}
    await redis.xadd(LOG, forged)
    await redis.xadd(LOG, {"junk": "x"})
    await redis.xadd(LOG, {"s": "one", "e": "x", "n": "-1", "t": "junk", "d": ""})
    for _, said in entries:
        await redis.xadd(LOG, said)
    assert await store.journal.read(ID, "one") == ENTRIES


@pytest.mark.parametrize("junk", [{"junk": "x"}, {"s": "one", "e": "x", "n": "-1", "t": "junk", "d": ""}])
async def test_after_junk_in_a_log_it_is_written_on(store: RedisStore, redis: Any, junk: dict[str, str]) -> None:
    await redis.xadd(LOG, junk)
    more = LogEntry("one", EPOCH, 3, b"more")
    assert await store.journal.append(ID, EPOCH, [more], TTL) is Written.DONE
    assert await store.journal.read(ID, "one") == [*ENTRIES, more]
    await redis.delete(LOG)
    await redis.xadd(LOG, junk)
    assert await store.journal.append(ID, EPOCH, [more], TTL) is Written.DONE
    assert await store.journal.read(ID, "one") == [more]


async def test_a_forged_call_is_none_and_a_forged_body_is_not_carried_out(store: RedisStore, redis: Any) -> None:
    settled = SettledCall("two", b"a private outcome")
    await redis.hset(CALLS, "bone", b'{"forged": "body"}')
    assert await store.journal.calls(ID) == [replace(CALL, body=b""), settled]
    await redis.hset(CALLS, "cone", b'{"forged": "call"}')
    assert await store.journal.calls(ID) == [settled]
    await redis.hset(CALLS, mapping={"cxyz": "", "junk": "", "": "x", "oabc": "junk", "odef": ""})
    assert await store.journal.calls(ID) == [settled]
    await redis.hset(CALLS, mapping={f"o{number}": "junk" for number in range(50)})
    assert await store.journal.calls(ID) == [settled], "wherever junk stands, it hides nothing"


async def test_a_forged_outcome_does_not_stand_and_the_next_one_does(store: RedisStore, redis: Any) -> None:
    until_ms = (await redis.hget(CALLS, "otwo")).split(b" ")[0]
    await redis.hset(CALLS, "otwo", until_ms + b" forged")
    assert await store.journal.calls(ID) == [CALL]
    outcomes = [b"%d" % number for number in range(10)]
    told = await asyncio.gather(*(store.journal.settle(ID, EPOCH, "two", outcome, TTL) for outcome in outcomes))
    assert len(set(told)) == 1
    assert told[0] in outcomes
    await redis.hset(CALLS, "otwo", b"no time")
    assert await store.journal.settle(ID, EPOCH, "two", b"anew", TTL) == b"anew"


@pytest.mark.parametrize(
    "junk", [b"junk", b"1 2", b"1 x junk", b"1 2 junk", b" ", b"1 -2 {}", b"3 " + b"9" * 5000 + b" {}"]
)
async def test_a_state_that_nobody_here_wrote_is_one_that_cannot_be_read(
    store: RedisStore, redis: Any, junk: bytes
) -> None:
    await redis.set(f"mcp:session:{{{ID}}}:state", junk)
    state, _ = await store.journal.load_state(ID)
    assert state is None


async def test_many_outcomes_whose_time_is_over_make_room(store: RedisStore, redis: Any) -> None:
    for number in range(120):
        await store.journal.settle(ID, EPOCH, f"short {number}", b"done", 0.001)
    assert await redis.hlen(CALLS) <= 110
    assert await store.journal.settle(ID, EPOCH, "two", b"anew", TTL) == b"a private outcome"


async def test_a_secret_is_changed_step_by_step(store: RedisStore, server: RealRedis) -> None:
    new = "a new secret of the same cluster"
    for secrets in ([SECRET, new], [new, SECRET]):
        next_one = RedisStore(server.url, "mcp", timeout_seconds=2, seals=Seals(secrets, "mcp"))
        assert await next_one.journal.read(ID, "one") == ENTRIES
        assert await next_one.journal.settle(ID, EPOCH, "two", b"later", TTL) == b"a private outcome"
        await next_one.aclose()
    last = RedisStore(server.url, "mcp", timeout_seconds=2, seals=Seals([new], "mcp"))
    assert [entry.data for entry in await last.journal.read(ID, "one")] == [None] * 3
    assert await last.journal.calls(ID) == []
    await last.aclose()


async def test_who_has_no_secret_has_no_journal(server: RealRedis) -> None:
    store = RedisStore(server.url, "mcp", timeout_seconds=2)
    with pytest.raises(SettingsError, match="secret"):
        _ = store.journal
    await store.aclose()


async def test_a_redis_that_is_away_is_told_of_at_once(store: RedisStore, server: RealRedis) -> None:
    await server.stop()
    journal = store.journal
    for call in (
        journal.append(ID, EPOCH, ENTRIES, TTL),
        journal.append_all([Entries(ID, EPOCH, ENTRIES)], TTL),
        journal.read(ID, "one"),
        journal.note_calls(ID, EPOCH, [CALL], TTL),
        journal.calls(ID),
        journal.settle(ID, EPOCH, "one", b"", TTL),
        journal.forget(ID, EPOCH, ["one"]),
    ):
        with pytest.raises(StoreUnavailable) as told:
            await call
        assert ID not in str(told.value)


async def test_other_things_under_its_keys_are_told_of(store: RedisStore, redis: Any) -> None:
    await redis.delete(LOG, CALLS)
    await redis.set(LOG, "a text")
    await redis.set(CALLS, "a text")
    for call in (store.journal.append(ID, EPOCH, ENTRIES, TTL), store.journal.settle(ID, EPOCH, "one", b"", TTL)):
        with pytest.raises(StoreUnavailable, match="something else under one of Mooring's keys"):
            await call
