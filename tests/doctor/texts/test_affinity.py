"""The texts on affinity: what they advise is read by the real programs, and does what it says."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any, Final

import aiohttp
import pytest
import pytest_asyncio
import yaml

from mooring.doctor.advice import Topic, advice
from mooring.doctor.checks import affinity, spread
from mooring.doctor.findings import Finding, Verdict
from mooring.doctor.proxies import Proxy
from tests.deployments import haproxy, nginx, traefik
from tests.deployments.servers import replica_urls
from tests.doctor.examined import examined

OF_AFFINITY: Final = (Topic.AFFINITY, Topic.COOKIE, Topic.SPREAD)
COOKIE: Final = {"cookie": "mcp_node", "path": "/mcp"}
CLEAR: Final = {**COOKIE, "secure": "", "attribute": "", "flag": "false"}
SECURED: Final = {**COOKIE, "secure": " secure", "attribute": "; Secure", "flag": "true"}


@pytest.mark.parametrize("topic", OF_AFFINITY)
@pytest.mark.parametrize("proxy", [None, *Proxy])
def test_every_text_is_whole(topic: Topic, proxy: Proxy | None) -> None:
    change = advice(topic, proxy, **SECURED)
    assert re.match(r"[A-Z]", change.what)
    assert change.what.rstrip(")").endswith(".")
    assert not re.search(r"\{(cookie|path|secure|attribute|flag)\}", change.what + change.config)
    assert not re.search(r"[\t\r]| $", change.config, re.MULTILINE)


@pytest.mark.parametrize("proxy", [None, *Proxy])
def test_every_text_on_affinity_says_what_serves_all_clients(proxy: Proxy | None) -> None:
    what = advice(Topic.AFFINITY, proxy).what
    assert "Mooring behind" in what
    assert "serves all" in what or "no such table" in what


def lines_within(config: str, section: str) -> list[str]:
    """The lines of one section of HAProxy's configuration, or one block of nginx's."""
    first, *rest = config.splitlines()
    assert first.startswith(section)
    return [line.strip() for line in rest if line != "}"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def three() -> AsyncIterator[list[str]]:
    async with replica_urls("stateful") as urls:
        yield urls


async def affinity_at(url: str) -> Finding:
    async with examined(url) as exam:
        finding = await affinity.run(exam)
    assert isinstance(finding, Finding)
    return finding


async def set_cookie(url: str) -> str:
    """The cookie that comes with an answer."""
    async with aiohttp.ClientSession() as http, http.get(url) as answer:
        return answer.headers["Set-Cookie"]


@pytest.mark.real
@pytest.mark.asyncio(loop_scope="module")
async def test_haproxy_learns_session_ids(three: list[str]) -> None:
    backend = lines_within(advice(Topic.AFFINITY, Proxy.HAPROXY).config, "backend mcp")
    async with haproxy.running_haproxy(three, *backend) as base:
        assert (await affinity_at(f"{base}/mcp")).verdict is Verdict.OK


@pytest.mark.real
@pytest.mark.asyncio(loop_scope="module")
async def test_haproxys_cookie(three: list[str]) -> None:
    backend = lines_within(advice(Topic.COOKIE, Proxy.HAPROXY, **SECURED).config, "backend mcp")
    async with haproxy.running_haproxy(three, *backend) as base:
        assert await set_cookie(base) == "mcp_node=node-1; path=/; HttpOnly; Secure; SameSite=Strict; Path=/mcp"


@pytest.mark.real
@pytest.mark.asyncio(loop_scope="module")
async def test_haproxy_names_its_servers(three: list[str]) -> None:
    backend = lines_within(advice(Topic.SPREAD, Proxy.HAPROXY).config, "backend mcp")
    async with haproxy.running_haproxy(three, *backend) as base, examined(f"{base}/mcp") as exam:
        assert (await spread.run(exam)).says.startswith("20 sessions spread over 3 nodes: ")


@pytest.mark.real
@pytest.mark.asyncio(loop_scope="module")
async def test_nginx_names_its_servers(three: list[str]) -> None:
    name, value = advice(Topic.SPREAD, Proxy.NGINX).config.rstrip(";").split(" ", 1)
    async with nginx.running_nginx(three, {name: value}) as base, examined(f"{base}/mcp") as exam:
        finding = await spread.run(exam)
    assert finding.says.startswith("20 sessions spread over 3 nodes: ")
    assert set(finding.evidence["sessions_by_node"]) == {url.split("/")[2] for url in three}


@pytest.mark.real
@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("values", "secure"), [(SECURED, " Secure;"), (CLEAR, "")])
async def test_traefiks_cookie(three: list[str], values: dict[str, str], secure: str) -> None:
    written: dict[str, Any] = yaml.safe_load(advice(Topic.COOKIE, Proxy.TRAEFIK, **values).config)
    options = written["http"]["services"]["mcp"]["loadBalancer"]["sticky"]["cookie"]
    async with traefik.running_traefik(three, cookie=options) as base:
        line = await set_cookie(base)
    assert re.fullmatch(rf"mcp_node=[0-9a-f]+; Path=/mcp; HttpOnly;{secure} SameSite=Strict", line)


@pytest.mark.parametrize("topic", OF_AFFINITY)
def test_envoys_lines_are_yaml(topic: Topic) -> None:
    assert yaml.safe_load(advice(topic, Proxy.ENVOY, **SECURED).config)
