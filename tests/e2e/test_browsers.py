"""Web pages of another origin, in a real Chromium, with three nodes and a random one for each request."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest

from tests.bare import ROOT, ServerKind, python_for
from tests.clients.browser import report_of_page
from tests.e2e.nodes import ServedNode, serving_nodes
from tests.ports import free_port
from tests.real_redis import real_redis

pytestmark = pytest.mark.real

KINDS: Final[tuple[ServerKind, ...]] = ("v1", "v2", "fastmcp")
SESSIONS: Final = 3
CALLS: Final = 8


@contextlib.asynccontextmanager
async def three_nodes(kind: ServerKind, shape: str, **settings: str) -> AsyncIterator[list[ServedNode]]:
    async with real_redis() as redis:
        variables = {"SDK": kind, "SHAPE": shape, "MOORING_REDIS_URL": redis.url, **settings}
        sources = dict.fromkeys(("a", "b", "c"), ROOT / "src")
        with serving_nodes("tests/servers/shapes.py:app", variables, sources, python=python_for(kind)) as nodes:
            yield nodes


async def seen(nodes: list[ServedNode], port: int) -> dict[str, Any]:
    return await report_of_page(port, {"nodes": [node.url for node in nodes], "sessions": SESSIONS, "calls": CALLS})


@pytest.mark.parametrize(
    ("kind", "shape", "settings"),
    [
        ("v2", "pages", {}),
        ("v2", "one", {"MOORING_CORS_ORIGINS": "http://127.0.0.1:{port}"}),
        *((kind, "pages", {"MOORING_PEER_PORTS": "any"}) for kind in KINDS),
        *((kind, "one", {"MOORING_CORS_ORIGINS": "*", "MOORING_PEER_PORTS": "any"}) for kind in KINDS),
    ],
)
async def test_a_page_counts_in_its_sessions_and_reads_why_they_are_gone(
    kind: ServerKind, shape: str, settings: dict[str, str]
) -> None:
    port = free_port()
    told = {name: value.format(port=port) for name, value in settings.items()}
    async with three_nodes(kind, shape, **told) as nodes:
        report = await seen(nodes, port)
        assert "error" not in report, report
        assert len(set(report["opened"])) == SESSIONS
        assert all("." in session for session in report["opened"])
        assert report["counted"] == [[f"one {n}" for n in range(1, CALLS + 1)]] * SESSIONS
        assert report["listened"] == 200
        left_first, *left = report["left"]
        assert left == [200] * (SESSIONS - 1)
        assert left_first in (200, 404), "Chromium may send it again where a GET of that address was given up before"
        assert {status for status, _ in report["gone"]} == {404}
        assert {reason for _, reason in report["gone"]} <= {"expired", "unknown"}
        assert (report["forged"], report["ready"]) == ([404, "forged"], "ready\n")


async def test_a_page_that_nobody_has_opened_the_server_to_reads_nothing() -> None:
    async with three_nodes("v2", "one", MOORING_CORS_ORIGINS="https://other.example") as nodes:
        assert await seen(nodes, free_port()) == {"error": "TypeError: Failed to fetch"}
