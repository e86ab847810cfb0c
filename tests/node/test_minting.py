"""Handles that authors mint, where one node is in the process, several are, and none is."""

from __future__ import annotations

import asyncio
import weakref

import pytest

import mooring
from mooring import ClosedSession
from mooring.core.handles import is_meant
from mooring.node import current
from mooring.node.current import Serving
from mooring.store import MemoryStore
from tests.node.apps import ScriptedApp
from tests.node.direct import joined
from tests.waiting import until


@pytest.fixture(autouse=True)
def _no_node_of_another_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that never left is here until Python has cleared it away."""
    monkeypatch.setattr(current, "_nodes", weakref.WeakSet())
    monkeypatch.setattr(current, "_kinds_minted_early", set())


def test_without_a_node_a_handle_looks_like_any_other() -> None:
    handles = {mooring.new_handle("browser") for _ in range(10)}
    assert len(handles) == 10
    assert all(is_meant(handle) and ".m.browser." in handle for handle in handles)
    mooring.end(handles.pop())


async def test_what_was_minted_while_the_app_started_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    early = [mooring.new_handle("browser") for _ in range(3)]
    async with joined(ScriptedApp()) as one:
        assert [one._node.handles.read(handle) for handle in early] == [None] * 3
        mooring.new_handle("cart")
    async with joined(ScriptedApp()):
        pass
    told = [record.getMessage() for record in caplog.records if record.name == "mooring.handles"]
    assert [line for line in told if "before the node had joined" in line] == told
    assert len(told) == 1
    assert "(browser)" in told[0]


async def test_the_one_node_of_a_process_mints_outside_of_requests_too() -> None:
    async with joined(ScriptedApp()) as one:
        node = one._node
        minted = node.handles.read(mooring.new_handle("browser"))
        assert minted is not None
        assert (minted.kind, minted.is_owned, minted.survives) == ("browser", False, False)
        assert minted.shard in node.membership.shards
        assert node.holds(minted)
        surviving = node.handles.read(mooring.new_handle(survives=True))
        assert surviving is not None
        assert surviving.survives


async def test_it_is_known_at_once_though_a_thread_mints_it() -> None:
    async with joined(ScriptedApp()) as one:
        text = await asyncio.to_thread(mooring.new_handle)
        handle = one._node.handles.read(text)
        assert handle is not None
        assert one._node.holds(handle)


async def test_the_end_is_told_once_wherever_it_is_said() -> None:
    closed: list[ClosedSession] = []
    async with joined(ScriptedApp()) as one:
        one.on_close(closed.append)
        handle, other = mooring.new_handle("browser"), mooring.new_handle("browser")
        await asyncio.to_thread(mooring.end, handle)
        mooring.end(handle)
        mooring.end("nothing of ours")
        await until(lambda: asyncio.sleep(0, bool(closed)), what="its handler to be told")
        await one._node.sessions.settle()
        assert one._node.sessions.handles.find(other) is not None
    assert [(one.id, one.reason) for one in closed] == [(handle, "deleted")]


async def test_of_several_nodes_the_one_mints_that_serves() -> None:
    store = MemoryStore()
    async with (
        joined(ScriptedApp(), store, node_name="node-1", secret="s" * 32) as one,
        joined(ScriptedApp(), store, node_name="node-2", secret="s" * 32) as two,
    ):
        with pytest.raises(LookupError, match="while a request is served"):
            mooring.new_handle()
        for mooring_of in (one, two):
            with Serving(mooring_of._node, {"type": "http"}):
                handle = mooring_of._node.handles.read(mooring.new_handle())
            assert handle is not None
            assert mooring_of._node.holds(handle)


async def test_a_handle_is_its_users_alone() -> None:
    class User:
        is_authenticated = True
        display_name = "alice"

    async with joined(ScriptedApp()) as one:
        with Serving(one._node, {"type": "http", "user": User()}):
            handle = one._node.handles.read(mooring.new_handle())
        assert handle is not None
        assert handle.is_owned
        assert not one._node.handles.may_use(handle, "")
        assert not one._node.handles.may_use(handle, "mallory")


@pytest.mark.parametrize("kind", ["", "Browser", "1st", "two words", "x" * 33, "a.b", "a\n"])
def test_a_kind_is_a_word_that_models_read(kind: str) -> None:
    with pytest.raises(ValueError, match="lower-case letters"):
        mooring.new_handle(kind)
