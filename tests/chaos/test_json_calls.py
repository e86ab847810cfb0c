"""A node dies in the middle of calls that are answered in JSON: each has one outcome, whoever asks for it and where."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio

from tests.e2e.conftest import raw
from tests.e2e.linked import nodes
from tests.e2e.load import VERSION, open_session
from tests.node.rpc import RawClient, Reply
from tests.waiting import until

__all__ = ["raw"]

pytestmark = pytest.mark.real

LONG, NEVER = 10, 10_000
CALLS = {
    "work-direct": ("work", NEVER),
    "work-passed": ("work", NEVER),
    "look-direct": ("look", LONG),
    "look-passed": ("look", LONG),
    "work-answered": ("work", 1),
}


def call(number: int, tool: str, **arguments: Any) -> dict[str, Any]:
    params = {"name": tool, "arguments": arguments}
    return {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}


def told(reply: Reply) -> str:
    """The text of an answer, or why there is none."""
    assert reply.status == 200, reply
    result = reply.json.get("result")
    return str(result["content"][0]["text"]) if result else reply.reason


def told_of_each(reply: Reply) -> dict[int, str]:
    """The same of a batch, by the ids in it: of each there is one."""
    assert reply.status == 200, reply
    outcomes = {one["id"]: one["error"]["data"]["reason"] for one in reply.json}
    assert len(outcomes) == len(reply.json)
    return outcomes


async def test_each_call_has_one_outcome(raw: RawClient, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    ledger.touch()
    own = {"LEDGER": str(ledger), "ANSWERS_IN_JSON": "yes"}
    async with (
        nodes(3, tmp_path, raw, own, "tests/servers/ledger_v2.py:app") as cluster,
        redis.asyncio.from_url(cluster.redis.url) as client,
    ):
        session = await open_session(raw, cluster.served[0].url)

        async def send(node: Any, message: Any) -> Reply:
            return await raw.call(node.url, session, body=message, headers=VERSION)

        pid = int(told(await send(cluster.served[0], call(2, "where"))))
        owner = next(node for node in cluster.served if node.process.pid == pid)
        others = [node for node in cluster.served if node is not owner]
        asked = {
            entry: call(number, tool, entry=entry, steps=steps)
            for number, (entry, (tool, steps)) in enumerate(CALLS.items(), 10)
        }
        batches = [
            [call(100 + number, "work", entry=f"{way}-{number}", steps=NEVER) for number in range(2)]
            + [call(102, "look", entry=f"{way}-2", steps=LONG)]
            for way in ("batch-direct", "batch-passed")
        ]
        in_batches = [f"{way}-{number}" for way in ("batch-direct", "batch-passed") for number in range(3)]
        running_batches = [
            asyncio.create_task(send(node, batch)) for node, batch in zip((owner, others[0]), batches, strict=True)
        ]
        running = {
            entry: asyncio.create_task(send(others[0] if entry.endswith("passed") else owner, message))
            for entry, message in asked.items()
        }

        async def all_begun() -> bool:
            return {f"begins {entry}" for entry in (*asked, *in_batches)} <= set(ledger.read_text().splitlines())

        await until(all_begun, what="all calls to begin")
        running["work-answered"].cancel()  # its client leaves

        async def all_noted() -> bool:
            kinds = Counter(
                [field[:1] async for key in client.scan_iter("*:calls") for field in await client.hkeys(key)]
            )
            return kinds[b"c"] == len(asked) + len(batches) and kinds[b"o"] == 1

        await until(all_noted, what="all calls to be on record, and the one that ended with its answer")
        owner.process.kill()
        passed = {entry: told(await running[entry]) for entry in ("work-passed", "look-passed")}
        assert passed == {"work-passed": "outcome_unknown", "look-passed": "look-passed"}
        for entry, task in running.items():
            if entry == "work-answered":  # its client may have heard the answer, and left then
                with contextlib.suppress(asyncio.CancelledError):
                    assert told(await task) == entry
            elif entry not in passed:
                with contextlib.suppress(Exception, asyncio.CancelledError):
                    pytest.fail(f"{entry} was answered by a node that died: {await task}")

        of_each = dict.fromkeys((100, 101, 102), "outcome_unknown")
        assert told_of_each(await running_batches[1]) == of_each
        with contextlib.suppress(Exception):
            pytest.fail(f"a batch was answered by a node that died: {await running_batches[0]}")
        for node in (*others, *others):
            assert [told_of_each(await send(node, batch)) for batch in batches] == [of_each, of_each]
            assert told(await send(node, asked["work-direct"])) == "outcome_unknown"
            assert told(await send(node, asked["work-passed"])) == "outcome_unknown"
            assert told(await send(node, asked["work-answered"])) == "work-answered"
        assert told(await send(others[1], asked["look-direct"])) == "look-direct"
        begun = Counter(line for line in ledger.read_text().splitlines() if line.startswith("begins"))
        assert begun == {f"begins {entry}": 2 if entry.startswith("look") else 1 for entry in (*asked, *in_batches)}
        assert int(told(await send(others[0], call(99, "where")))) in [node.process.pid for node in others]
