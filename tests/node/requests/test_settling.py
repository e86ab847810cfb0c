"""A call whose node is gone has one outcome, whoever decides it and however often it is asked for."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mooring import Settings
from mooring.asgi import Receive, Scope, Send
from mooring.core.model import Touch
from mooring.core.sse import SseEvent, encode
from mooring.core.stream_ids import BEGINNING, RANDOM_BYTES, Place, StreamFacts, StreamKind, kind_of
from mooring.errors import Fenced, StoreUnavailable
from mooring.node.membership.session import LocalSession
from mooring.node.node import Node
from mooring.node.requests.settling import Settlement
from mooring.node.streams.stream import Stream
from mooring.store import MemoryStore
from mooring.store.journal import Call, LogEntry
from tests.cluster_in_process import SECRET
from tests.fakes import FlakyStore
from tests.node.streams.listening import Client, Connection
from tests.waiting import until

ID = 9
ANSWER = json.dumps({"jsonrpc": "2.0", "id": ID, "result": {"content": []}})


def request(method: str = "tools/call", name: str = "count") -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": ID, "method": method, "params": {"name": name}}).encode()


@dataclass
class App:
    """Lists tools with these hints, and answers calls as it is told."""

    hints: dict[str, bool] = field(default_factory=dict)
    called: int = 0
    is_json: bool = False
    line_end: str = ""
    fails: bool = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        message = json.loads((await receive())["body"])
        if self.fails:
            raise OSError("the app is broken")
        if message["method"] == "tools/list":
            result: dict[str, Any] = {"tools": [{"name": "count", "annotations": self.hints}], "nextCursor": ""}
        else:
            self.called += 1
            result = {"content": []}
        answer = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result})
        kind = b"application/json" if self.is_json else b"text/event-stream"
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
        if self.line_end:
            answer = json.dumps(json.loads(answer), indent=2).replace("\n", self.line_end)
        body = answer.encode() if self.is_json else encode(SseEvent(answer, "message"))
        await send({"type": "http.response.body", "body": body, "more_body": False})


class Owner:
    """A node, while it owns the one session that there is."""

    def __init__(self, store: FlakyStore, epoch: int, app: App | None = None) -> None:
        self.store = store
        self.app = app or App()
        self.node = Node(Settings.load(node_name=f"node-{epoch}", secret=SECRET, hold_seconds=2), store)
        self.session = LocalSession(
            "a session",
            "shard",
            "a session",
            0,
            0,
            0,
            "",
            "2025-11-25",
            "",
            b"{}",
            epoch,
            "/mcp",
            incarnation=epoch - 1,
        )

    @property
    def ids(self) -> Any:
        return self.node.streams.ids

    async def take(self) -> None:
        """From now on the last owner is refused."""
        if self.session.epoch == 1:
            await self.store.inner.save_session(self.session.record(self.node.id), 1_000)
        else:
            await self.store.inner.touch_sessions([Touch(self.session.id, self.session.epoch, 0.0)], 1_000)

    def begin(self, body: bytes = request(), request_id: Any = ID) -> Stream:
        message = json.loads(body)
        facts = StreamFacts(kind_of(message["method"]), self.session.incarnation, request_id)
        stream = self.node.streams.open(self.session.id, facts, self.session.epoch)
        name = message.get("params", {}).get("name", "")
        call = Call(stream.id, json.dumps(request_id), message["method"], name, body, 0.0)
        self.node.streams.began(self.session.id, stream, lambda: call)
        return stream

    async def write(self) -> None:
        """As the node does behind, once a request has lasted for long enough."""
        behind = self.node._behind
        assert behind is not None
        behind._after_seconds = -1.0
        behind._grow_up()
        with contextlib.suppress(StoreUnavailable):
            await behind._write_all()

    async def settle(self, stream_id: str, place: Place = BEGINNING) -> Stream:
        found = self.node.streams.find(self.session.id, stream_id)
        if found is not None:
            return found
        facts = self.ids.read(self.session.id, stream_id)
        scope = {"type": "http", "method": "GET", "path": "/mcp", "headers": [], "query_string": b""}
        return await Settlement(self.node, self.session, self.app, scope, stream_id, place, facts).settle()


@pytest.fixture
def store() -> FlakyStore:
    return FlakyStore(MemoryStore())


async def heard(stream: Stream, place: Place = BEGINNING) -> list[Any]:
    connection = Connection()
    await stream.listen(connection.listener, place)

    async def is_over() -> bool:
        return connection.is_ended

    await until(is_over, what="the end of the stream")
    return [json.loads(event.data) if event.data.startswith("{") else event.data for event in connection.events()]


async def two_owners(store: FlakyStore, app: App | None = None) -> tuple[Owner, Owner]:
    first, second = Owner(store, 1), Owner(store, 2, app)
    await first.take()
    return first, second


@pytest.mark.parametrize("is_written", [True, False])
async def test_nobody_knows_what_became_of_a_call(store: FlakyStore, is_written: bool) -> None:
    first, second = await two_owners(store)
    stream = first.begin()
    await stream.say(SseEvent("a"))
    if is_written:
        await first.write()
    await second.take()
    place = BEGINNING if is_written else Place(1, 1)
    told = await heard(await second.settle(stream.id, place), place)
    assert told[:-1] == (["a"] if is_written else [])
    assert told[-1]["id"] == ID
    data = told[-1]["error"]["data"]
    assert data == {"reason": "outcome_unknown"} | ({"name": "count"} if is_written else {})
    assert second.node.tally.outcomes == {"unknown": 1}


async def test_an_answer_that_was_written_stands_though_the_end_was_not(store: FlakyStore) -> None:
    first, second = await two_owners(store, App({"readOnlyHint": True}))
    stream = first.begin()
    await stream.say(SseEvent("a"))
    await stream.say(SseEvent(ANSWER, "message"), is_answer=True)
    await first.write()
    await second.take()
    assert await heard(await second.settle(stream.id)) == ["a", json.loads(ANSWER)]
    assert await heard(await second.settle(stream.id), Place(1, 2)) == []
    assert second.app.called == 0


async def test_an_answer_too_large_to_be_written_is_said_to_be_lost(store: FlakyStore) -> None:
    first, second = await two_owners(store, App({"readOnlyHint": True}))
    stream = first.begin()
    large = json.dumps({"jsonrpc": "2.0", "id": ID, "result": "x" * 2_000_000})
    await first.write()
    await stream.say(SseEvent(large, "message"), is_answer=True)
    await stream.end()
    first.node.streams.is_over("a session", stream)
    await first.write()
    await second.take()
    [told] = await heard(await second.settle(stream.id))
    assert told["error"]["data"] == {"reason": "answer_lost"}
    assert await heard(await second.settle(stream.id), Place(1, 1)) == []
    assert second.app.called == 0


@pytest.mark.parametrize("is_json", [True, False])
@pytest.mark.parametrize("hint", ["readOnlyHint", "idempotentHint"])
async def test_what_changes_nothing_is_carried_out_again(store: FlakyStore, hint: str, is_json: bool) -> None:
    first, second = await two_owners(store, App({hint: True}))
    second.app.is_json = is_json
    stream = first.begin()
    await stream.say(SseEvent("a"))
    await first.write()
    await second.take()
    settled = await asyncio.gather(*(second.settle(stream.id) for _ in range(5)))
    assert {id(one) for one in settled} == {id(settled[0])}
    assert await heard(settled[0]) == ["a", json.loads(ANSWER)]
    assert second.app.called == 1


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
async def test_an_answer_in_many_lines_is_heard_as_well(store: FlakyStore, line_end: str) -> None:
    first, second = Owner(store, 1), Owner(store, 2, App(hints={"readOnlyHint": True}, is_json=True))
    second.app.line_end = line_end
    await first.take()
    stream = first.begin()
    await first.write()
    await second.take()
    settled = await second.settle(stream.id)
    async with asyncio.timeout(20):
        assert await heard(settled) == [json.loads(ANSWER)]


async def test_what_is_carried_out_again_for_another_request_is_waited_for(store: FlakyStore) -> None:
    """A client that comes back for its stream may have sent its call again as well."""
    first, second = await two_owners(store, App({"readOnlyHint": True}))
    stream = first.begin()
    await first.write()
    await second.take()
    async with second.session.turn_of(stream.id):
        settled = await second.settle(stream.id)
        outcome = ANSWER.replace("[]", '["of the other"]').encode()
        assert await store.journal.settle("a session", second.session.epoch, stream.id, outcome, 60) == outcome
    assert await heard(settled) == [json.loads(outcome)]
    assert second.app.called == 0


async def test_where_nobody_knows_what_became_of_that_whoever_comes_back_settles_it(store: FlakyStore) -> None:
    first, second = await two_owners(store, App({"readOnlyHint": True}))
    stream = first.begin()
    await first.write()
    await second.take()
    early = Connection()
    async with second.session.turn_of(stream.id):
        await (await second.settle(stream.id)).listen(early.listener, BEGINNING)
        store.away = True

    async def is_dismissed() -> bool:
        return early.is_ended

    await until(is_dismissed, what="the listener to be let go")
    store.away = False
    assert await heard(await second.settle(stream.id)) == [json.loads(ANSWER)]
    assert second.app.called == 1


async def test_an_app_that_does_not_list_its_tools_promises_nothing(store: FlakyStore) -> None:
    first, second = await two_owners(store, App({"readOnlyHint": True}, fails=True))
    stream = first.begin()
    await first.write()
    await second.take()
    [told] = await heard(await second.settle(stream.id))
    assert told["error"]["data"]["reason"] == "outcome_unknown"


async def test_one_that_fails_again_has_an_outcome_too(store: FlakyStore) -> None:
    first, second = await two_owners(store, App(fails=True))
    stream = first.begin(request("prompts/get"))
    await first.write()
    await second.take()
    [told] = await heard(await second.settle(stream.id))
    assert told["error"]["data"]["reason"] == "outcome_unknown"


async def test_of_a_batch_each_request_has_an_outcome_of_its_own(store: FlakyStore) -> None:
    first, second = await two_owners(store)
    stream = first.begin(request_id=(ID, "b", 10))
    await stream.say(SseEvent(json.dumps({"jsonrpc": "2.0", "id": "b", "result": {}}), "message"), is_answer=True)
    assert stream.unanswered == (ID, 10)
    await first.write()
    await second.take()
    settled = await second.settle(stream.id)
    told = await heard(settled)
    assert [one["id"] for one in told] == ["b", ID, 10]
    assert [one.get("error", {}).get("data", {}).get("reason") for one in told] == [
        None,
        "outcome_unknown",
        "outcome_unknown",
    ]
    assert settled.is_answered


async def test_a_long_request_id_is_on_record(store: FlakyStore) -> None:
    first, second = await two_owners(store)
    long = "x" * 500
    stream = first.begin(request_id=long)
    await first.write()
    await second.take()
    [told] = await heard(await second.settle(stream.id))
    assert told["id"] == long


@pytest.mark.parametrize("fault", ["away", "fenced", "cancelled"])
async def test_where_settling_fails_whoever_comes_next_settles_it(store: FlakyStore, fault: str) -> None:
    first, second = await two_owners(store)
    stream = first.begin()
    await first.write()
    await second.take()
    waits = asyncio.Event()

    async def fails() -> None:
        waits.set()
        if fault == "away":
            raise StoreUnavailable("away")
        if fault == "fenced":
            raise Fenced("settling", is_missing=False)
        await asyncio.Event().wait()

    store.before["settle"] = fails
    settling = asyncio.create_task(second.settle(stream.id))
    await waits.wait()
    early = Connection()
    if fault == "cancelled":
        await (await second.settle(stream.id)).listen(early.listener, BEGINNING)
        settling.cancel()
    with pytest.raises((StoreUnavailable, Fenced, asyncio.CancelledError)):
        await settling
    await second.node.sessions.settle()
    assert early.is_ended == (fault == "cancelled")
    assert second.node.streams.find("a session", stream.id) is None
    [told] = await heard(await second.settle(stream.id))
    assert told["error"]["data"]["reason"] == "outcome_unknown"


async def test_a_stream_that_nobody_knows_ends(store: FlakyStore) -> None:
    _, second = await two_owners(store)
    stream_id = second.ids.mint("a session", StreamFacts(StreamKind.CALL, 0, "x" * 500), bytes(RANDOM_BYTES))
    assert await heard(await second.settle(stream_id)) == []


async def test_the_standing_streams_record_is_not_taken_for_a_call(store: FlakyStore) -> None:
    first, second = await two_owners(store)
    entries = [LogEntry("s", 1, 1, encode(SseEvent(ANSWER)))]
    facts = StreamFacts(StreamKind.STANDING, 0)
    assert not second.node.streams.restored("a session", "s", facts, 2, entries).is_answered
    assert first.node.tally.outcomes == {}


# Any order of what may happen
steps = st.lists(
    st.sampled_from(["say", "say", "write", "answer", "client leaves", "client comes", "dies", "late write", "twice"]),
    max_size=16,
)


class World:
    """One call, its owners one after the other, and its client."""

    def __init__(self) -> None:
        self.store = FlakyStore(MemoryStore())
        self.owners = [Owner(self.store, 1)]
        self.said: list[str] = []
        self.is_answered = False
        self.client: Client

    async def begin(self) -> None:
        await self.owners[0].take()
        self.first = self.owners[0].begin()
        self.client = Client(self.first)
        await self.first.say(SseEvent(""))
        await self.client.connect(Connection())

    async def step(self, what: str) -> None:
        owner = self.owners[-1]
        if what == "say" and owner is self.owners[0] and not self.is_answered:
            self.said.append(f"step {len(self.said)}")
            await self.first.say(SseEvent(self.said[-1], "message"))
        elif what == "answer" and owner is self.owners[0] and not self.is_answered:
            self.is_answered = True
            await self.first.say(SseEvent(ANSWER, "message"), is_answer=True)
            await self.first.end()
            owner.node.streams.is_over("a session", self.first)
        elif what == "write":
            await owner.write()
        elif what == "late write":
            await self.owners[0].write()
        elif what == "client leaves" and self.client.connection is not None:
            self.client.connection.listener.leave()
            self.client.give_up()
        elif what == "client comes":
            await self.comes()
        elif what == "dies":
            self.client.give_up()  # what its node says from now on goes nowhere
            self.owners.append(Owner(self.store, len(self.owners) + 1))
            await self.owners[-1].take()
        elif what == "twice" and len(self.owners) > 1:
            await self.decide_twice()

    async def comes(self) -> None:
        if any(event.data == ANSWER or "error" in event.data for event in self.client.events):
            return  # it has what it wants
        self.client.give_up()
        self.client.stream = await self.owners[-1].settle(self.first.id, self.client.place or BEGINNING)
        await self.client.connect(Connection())

    async def decide_twice(self) -> None:
        """The last owner does not know yet that it is none, and decides as well."""
        place = self.client.place or BEGINNING
        outcomes = await asyncio.gather(
            *(one.settle(self.first.id, place) for one in self.owners[-2:]), return_exceptions=True
        )
        assert isinstance(outcomes[1], Stream)
        assert isinstance(outcomes[0], Stream | Fenced)

    def check(self) -> None:
        texts = [text for text in self.client.texts() if text]
        *told, last = texts
        steps_told = [text for text in told if text in self.said]
        assert told == steps_told == sorted(set(told), key=self.said.index)
        if len(self.owners) == 1:
            assert told == self.said
            assert last == ANSWER
        else:
            assert last == ANSWER or json.loads(last)["error"]["data"]["reason"] == "outcome_unknown"


async def _carry_out(plan: list[str]) -> None:
    world = World()
    await world.begin()
    for what in plan:
        await world.step(what)
    await world.step("answer")
    await world.comes()
    world.client.give_up()
    world.check()
    if len(world.owners) > 1:
        outcomes = set()
        for _ in range(3):
            await world.step("dies")
            await world.step("late write")
            stream = await world.owners[-1].settle(world.first.id, BEGINNING)
            outcomes |= {json.dumps(one) for one in await heard(stream) if isinstance(one, dict)}
        assert len(outcomes) == 1


@given(steps)
@settings(max_examples=150, deadline=None)
def test_in_any_order_a_call_has_one_outcome_and_nothing_is_told_twice(plan: list[str]) -> None:
    asyncio.run(_carry_out(plan))
