"""The MCP conformance suite through three nodes passes what it passes against one bare server."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.bare import ServerKind, bare_server
from tests.clients.conformance import run_conformance
from tests.e2e.clusters import running_cluster

pytestmark = pytest.mark.real


@pytest.mark.parametrize("kind", ["v1", "v2", "fastmcp"])
async def test_the_same_passes_as_one_bare_server(kind: ServerKind, tmp_path: Path) -> None:
    with running_cluster(kind) as cluster:
        async with bare_server(kind) as bare:
            for revision in ("2025-11-25", "2026-07-28"):
                expected, found = await asyncio.gather(
                    run_conformance(bare, revision, tmp_path / "bare"),
                    run_conformance(cluster.url, revision, tmp_path / "cluster"),
                )
                assert found == expected, revision
                assert len(expected) >= 33
