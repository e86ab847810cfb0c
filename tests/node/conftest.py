from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.node.rpc import RawClient


@pytest.fixture
async def raw() -> AsyncIterator[RawClient]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as http:
        yield RawClient(http)
