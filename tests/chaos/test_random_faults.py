"""Faults at random, one over the other, under clients that keep exact books.

They are drawn for whoever asks for them: SECONDS=20 in the environment says how long they go on. A failure tells its
seed. With SEED=… the same faults are drawn again; with CLIENTS=60 they come under so many, with
SETTINGS='{"peer_link": "redis"}' on nodes that are set so.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from tests.chaos.balancer import checked, requests
from tests.chaos.clients import Book
from tests.chaos.exact import REVISIONS, ExactClient
from tests.chaos.faults import DEATHS, LOSSES, REFUSALS, TIMES, Befallen, befallen, drawn
from tests.chaos.mortal import Kind

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif("SECONDS" not in os.environ, reason="what befalls whom is chance: SECONDS=20 draws it"),
]

NODES: Final = 4
CLIENTS: Final = int(os.environ.get("CLIENTS", "12"))
SECONDS: Final = float(os.environ.get("SECONDS", "0"))
SEED: Final = int(os.environ.get("SEED") or random.randrange(1_000_000))
SETTINGS: Final[dict[str, Any]] = json.loads(os.environ.get("SETTINGS", "{}"))
_END_SECONDS: Final = 120.0


@pytest.mark.timeout(300 + 2 * SECONDS)
@pytest.mark.parametrize(
    "kinds",
    [
        pytest.param(DEATHS, id="nodes die"),
        pytest.param(REFUSALS, id="redis refuses"),
        pytest.param(LOSSES, id="redis forgets"),
    ],
)
async def test_nobody_notices(kinds: Sequence[str], tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    ledger.touch()
    kind = Kind("tests.servers.ledger_keeping", {**TIMES, **SETTINGS}, {"LEDGER": str(ledger)}, tmp_path)
    async with befallen(NODES, kind) as befalls:
        book, calls = await books(befalls, kinds)
    print(f"{calls} calls: {len(book.unknown)} unknown, cut: {Counter(book.cut.values())}")
    verdict = book.verdict(ledger)
    told = "\n".join(["", *(f"{what}: {_listed(which)}" for what, which in verdict.items())])
    assert verdict == {}, f"with SEED={SEED}, logs in {tmp_path}: {told}"


async def books(befalls: Befallen, kinds: Sequence[str]) -> tuple[Book, int]:
    """What clients saw of these faults; and how many calls they made."""
    book, is_over = Book(), asyncio.Event()
    url = f"{befalls.nodes.urls[0]}/mcp"
    async with checked(befalls.nodes.urls) as health:
        clients = [
            ExactClient(
                requests(health),
                url,
                book,
                revision=REVISIONS[number % 3 == 0],
                listens=number % 5 != 0,
                deletes=number % 4 == 3,
            )
            for number in range(CLIENTS)
        ]
        running = [asyncio.create_task(client.run(is_over)) for client in clients]
        await asyncio.gather(*(client.is_open.wait() for client in clients))
        await befalls.suffer(drawn(SEED, kinds, NODES), SECONDS)
        is_over.set()
        ended, endless = await asyncio.wait(running, timeout=_END_SECONDS)
        book.died += [repr(task.exception()) for task in ended if task.exception()]
        book.died += [
            f"does not end: {client.waits_for}"
            for client, task in zip(clients, running, strict=True)
            if task in endless
        ]
        for task in endless:
            task.cancel()
    return book, sum(client.calls for client in clients)


def _listed(which: Any) -> str:
    return "\n  ".join(["", *map(str, which)])
