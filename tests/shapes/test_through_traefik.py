"""The same through `mooring up`: its Traefik learns from the nodes where the endpoints are; no setting, no cookie."""

from __future__ import annotations

import aiohttp
import pytest

from tests.e2e.clusters import running_cluster
from tests.e2e.load import INITIALIZED, VERSION
from tests.node.rpc import INITIALIZE, RawClient
from tests.shapes.book import CANNOT, SERVERS, SHAPES, THROUGH_TRAEFIK
from tests.shapes.test_endpoints import CALLS, SESSIONS, count, text

pytestmark = pytest.mark.real


@pytest.mark.parametrize(("kind", "shape"), THROUGH_TRAEFIK)
async def test_sessions_of_every_endpoint_come_through(kind: str, shape: str) -> None:
    variables = {"SDK": kind, "SHAPE": shape}
    endpoints = SHAPES[shape].endpoints
    with running_cluster(kind, target="tests/servers/shapes.py:app", variables=variables) as cluster:
        timeout = aiohttp.ClientTimeout(total=20)
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), timeout=timeout) as http:
            raw = RawClient(http)
            opened = []
            for n in range(SESSIONS):
                path, name = endpoints[n % len(endpoints)]
                reply = await raw.send("POST", f"{cluster.base}{path}", body=INITIALIZE)
                session = reply.session_id
                told = await raw.send(
                    "POST", f"{cluster.base}{path}", session=session, body=INITIALIZED, headers=VERSION
                )
                assert (reply.status, told.status) == (200, 202)
                opened.append((path, name, session))
            for number in range(1, CALLS + 1):
                for path, name, session in opened:
                    assert text(await count(raw, cluster.base, path, session)) == f"{name} {number}"
            for path, _, session in opened:
                left = await raw.send("DELETE", f"{cluster.base}{path}", session=session, headers=VERSION)
                assert left.status == 200
                assert (await count(raw, cluster.base, path, session)).status == 404


def test_each_shape_and_each_server_is_tried() -> None:
    assert {shape for _, shape in THROUGH_TRAEFIK} == set(SHAPES)
    assert {kind for kind, _ in THROUGH_TRAEFIK} == set(SERVERS)
    assert not set(THROUGH_TRAEFIK) & set(CANNOT)
