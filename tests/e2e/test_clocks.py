"""The machine of one node has another time than those of its peers, and is set while the node runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bare import ROOT
from tests.e2e.book import Book
from tests.e2e.nodes import ServedNode, serving_nodes
from tests.node.rpc import RawClient
from tests.real_redis import real_redis
from tests.waiting import until

pytestmark = pytest.mark.real

_OTHER_TIME = """
import os, pathlib, time
told, machines = pathlib.Path(os.environ["SET_FORWARD_BY"]), time.time
time.time = lambda: machines() + float(told.read_text())
"""
"""Python runs this before all else, where its path leads to it."""


class Machine:
    """One node's, whose clock can be set.

    Attributes:
        source: for a node that runs there.
        variables: its own.
    """

    def __init__(self, folder: Path) -> None:
        self._told = folder / "ahead"
        self.source = folder / "machine"
        self.source.mkdir()
        (self.source / "mooring").symlink_to(ROOT / "src/mooring")
        (self.source / "sitecustomize.py").write_text(_OTHER_TIME)
        self.variables = {"SET_FORWARD_BY": str(self._told)}
        self.set_forward(0)

    def set_forward(self, seconds: float) -> None:
        """Beyond the time of all others."""
        new = self._told.with_suffix(".new")
        new.write_text(str(seconds))
        new.rename(self._told)  # it is read at any moment


async def refused(nodes: list[ServedNode], raw: RawClient) -> list[dict[str, int]]:
    pages = [await node.status(raw) for node in nodes]
    return [page["counters"]["refused"] for page in pages]


@pytest.mark.parametrize("link", ["direct", "redis"])
async def test_what_peers_pass_on_arrives_whatever_the_time_is_there(link: str, raw: RawClient, tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.set_forward(-3600)
    book_of = tmp_path / "entries"
    async with real_redis() as redis:
        variables = {"ENTRIES": str(book_of), "MOORING_REDIS_URL": redis.url, "MOORING_PEER_LINK": link}
        sources = {"right": ROOT / "src", "wrong": machine.source}
        own = {"wrong": machine.variables}
        with serving_nodes("tests/servers/entries.py:server", variables, sources, own) as nodes:
            book = Book(raw, nodes, book_of)

            async def know_each_other() -> bool:
                pages = [await node.status(raw) for node in nodes]
                return all(len(page["nodes"]) == 2 for page in pages)

            await until(know_each_other, what="both nodes to know both")
            for node in nodes:
                await book.open(node.url)
            for ahead in (-3600, 120, 10**8, 0):
                machine.set_forward(ahead)
                for session in list(book.sessions):
                    for node in nodes:
                        await book.call(session, node.url)
            assert book.carried_out() == dict.fromkeys(book.entries, 1)
            assert await refused(nodes, raw) == [{}, {}]
