"""Tools that keep what they are told in their session's state, for a server of any SDK: none has a parameter for it."""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Any

from mooring import session_state, transactional


def note(word: str, entry: str) -> None:
    """In the ledger, if there is one."""
    if ledger := os.environ.get("LEDGER"):
        with Path(ledger).open("a", encoding="utf-8") as file:
            file.write(f"{word} {entry}\n")


def _enter(entry: str) -> int:
    note("begins", entry)
    state = session_state()
    state.setdefault("kept", {}).setdefault("entries", []).append(entry)
    state["count"] = state.get("count", 0) + 1
    return int(state["count"])


@transactional
async def add(entry: str, seconds: float = 0.0) -> str:
    """Changes nothing else, and takes its time in the middle of it."""
    count = _enter(entry)
    await asyncio.sleep(seconds)
    session_state()["last"] = entry
    note("ends", entry)
    return str(count)


@transactional
def add_in_thread(entry: str, seconds: float = 0.0) -> str:
    """The same by an ordinary function."""
    count = _enter(entry)
    time.sleep(seconds)
    session_state()["last"] = entry
    note("ends", entry)
    return str(count)


async def keep(entry: str, seconds: float = 0.0) -> str:
    """The same, and nobody promises that it changes nothing else."""
    return await add(entry, seconds)


def look() -> str:
    """All that is kept."""
    return json.dumps(session_state())


def spoil(how: str) -> str:
    """Leaves what cannot be kept."""
    state = session_state()
    state["spoilt"] = True
    itself: list[Any] = []
    itself.append(itself)
    wrong = {"tuple": (1, 2), "set": {1}, "nan": float("nan"), "cycle": itself, "key": {1: 2}, "large": "x" * 300_000}
    state["what"] = wrong[how]
    return "kept"


TOOLS = (add, add_in_thread, keep, look, spoil)
