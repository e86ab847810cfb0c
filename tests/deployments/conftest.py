"""The replicas that all tests of this folder put their proxies before: they are started once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest_asyncio

from tests.deployments.faults import Faults, running_faults
from tests.deployments.servers import replica_urls


def pytest_make_parametrize_id(val: Any) -> str | None:
    """Deployments are called by the proxy and by what is done to it."""
    deploy, options = (val.func, val.keywords) if isinstance(val, partial) else (val, {})
    module = getattr(deploy, "__module__", "")
    if not callable(deploy) or not module.startswith(__package__):
        return None
    return "-".join([module.rpartition(".")[2], deploy.__name__, *map(str, options.values())])


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def three() -> AsyncIterator[list[str]]:
    """Three stateful replicas."""
    async with replica_urls("stateful") as urls:
        yield urls


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def one(three: list[str]) -> list[str]:
    """A single one, where affinity plays no part."""
    return three[:1]


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def faults() -> AsyncIterator[Faults]:
    async with running_faults() as running:
        yield running
