"""Deployments whose replicas differ, as in the middle of a deploy or after half of one."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from tests.deployments import haproxy
from tests.deployments.servers import Build, mixture


@contextlib.asynccontextmanager
async def versions(*reported: str) -> AsyncIterator[str]:
    """Sessions work, but each replica reports a version of its own. X-Served-By names the nodes."""
    async with (
        mixture(*(Build("stateful", version) for version in reported or ("1.0.0", "2.0.0"))) as replicas,
        haproxy.learned_session_id([replica.url for replica in replicas], tell_node=True) as url,
    ):
        yield url


@contextlib.asynccontextmanager
async def modes() -> AsyncIterator[str]:
    """One stateful and one stateless replica in turn: sessions work where they do not have to. X-Served-By tells."""
    async with (
        mixture(Build("stateful"), Build("stateless")) as replicas,
        haproxy.round_robin([replica.url for replica in replicas], tell_node=True) as url,
    ):
        yield url
