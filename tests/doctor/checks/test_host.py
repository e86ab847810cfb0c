from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web

from mooring.doctor.advice import Topic, advice
from mooring.doctor.checks import host
from mooring.doctor.checks.host import FOREIGN, Facts
from mooring.doctor.client.reply import Reply, Trouble
from mooring.doctor.findings import Finding, Verdict
from mooring.doctor.proxies import Proxy
from tests.deployments import haproxy, nginx
from tests.deployments.servers import replica_urls
from tests.doctor.examined import examined
from tests.doctor.examples import HANG, LOST, REACHED, THROTTLED, UNAVAILABLE
from tests.doctor.odd import refusal, running_odd
from tests.ports import free_port

TOKEN = "a-token-of-somebody"
DNS_REBINDING = "any Host is served over plain http at a private address: DNS rebinding works"


async def found_at(url: str, **fields: Any) -> Finding:
    async with examined(url, **{"sessions": 2, **fields}) as exam:
        found = await host.run(exam)
    assert isinstance(found, Finding)
    return found


@pytest.mark.parametrize(
    ("foreign", "is_secure", "is_inside", "verdict", "says"),
    [
        (REACHED, False, True, Verdict.WARNING, DNS_REBINDING),
        (REACHED, True, True, Verdict.OK, "any Host is served, which harms nobody here"),
        (REACHED, False, False, Verdict.OK, "any Host is served, which harms nobody here"),
        (Reply(status=421), False, True, Verdict.OK, "a foreign Host is not served: 421"),
        (Reply(status=403), False, True, Verdict.OK, "a foreign Host is not served: 403"),
        (Reply(status=401), False, True, Verdict.OK, "a foreign Host is not served: 401"),
        (Reply(status=308), False, True, Verdict.OK, "a foreign Host is not served: 308"),
        (LOST, False, True, Verdict.OK, "a foreign Host is not served: 404 Session not found"),
        (UNAVAILABLE, False, True, Verdict.OK, "a foreign Host is not served: 502"),
        (
            Reply(trouble=Trouble.CUT),
            False,
            True,
            Verdict.OK,
            "a foreign Host is not served: connection closed before the answer was whole",
        ),
        (Reply(status=200), False, True, Verdict.OK, "a foreign Host leads to something other than this server"),
        (HANG, False, True, Verdict.UNKNOWN, "the call with a foreign Host was not answered: no answer in time"),
        (THROTTLED, False, True, Verdict.UNKNOWN, "the call with a foreign Host was not answered: 429"),
    ],
)
def test_the_verdict(foreign: Reply, is_secure: bool, is_inside: bool, verdict: Verdict, says: str) -> None:
    found = host.judge(Facts(REACHED, foreign, is_secure, is_inside), "host:8000", None, str)
    assert (found.verdict, found.says) == (verdict, says)
    assert bool(found.changes) == (verdict is Verdict.WARNING)


def test_nothing_is_said_where_calls_fail_anyway() -> None:
    found = host.judge(Facts(LOST, LOST, False, True), "host", None, str)
    assert found.verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("proxy", [Proxy.NGINX, Proxy.HAPROXY, Proxy.TRAEFIK, Proxy.APACHE, Proxy.CADDY])
def test_the_change_is_the_servers_and_the_proxys(proxy: Proxy) -> None:
    found = host.judge(Facts(REACHED, REACHED, False, True), "host:8000", proxy, str)
    assert len(found.changes) == 2
    assert "host:8000" in found.changes[0].config


@pytest.mark.parametrize(
    ("name", "inside"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("localhost", True),
        ("10.1.2.3", True),
        ("192.168.0.1", True),
        ("8.8.8.8", False),
        ("2001:4860:4860::8888", False),
        ("", False),
        ("no such name", False),
    ],
)
async def test_which_addresses_only_this_network_reaches(name: str, inside: bool) -> None:
    assert await host._is_inside(name) is inside


async def test_a_server_that_takes_any_name() -> None:
    async with running_odd() as odd:
        found = await found_at(odd.url)
    assert (found.verdict, found.says) == (Verdict.WARNING, DNS_REBINDING)


async def test_the_token_does_not_go_to_whoever_has_that_name() -> None:
    async with running_odd() as odd:
        await found_at(odd.url, tokens=(TOKEN,))
        foreign = [request for request in odd.seen if request.headers["Host"] == FOREIGN]
        assert foreign
        assert all("Authorization" not in request.headers for request in foreign)


async def test_a_server_that_asks_for_a_token_is_not_rebound() -> None:
    def guard(request: web.Request) -> web.Response | None:
        return None if request.headers.get("Authorization") == f"Bearer {TOKEN}" else refusal(401, "who are you?")

    async with running_odd(guard=guard) as odd:
        found = await found_at(odd.url, tokens=(TOKEN,))
    assert (found.verdict, found.says) == (Verdict.OK, "a foreign Host is not served: 401 who are you?")
    assert found.why


@pytest.mark.real
@pytest.mark.parametrize("kind", ["stateful", "stateless", "typescript"])
async def test_the_sdks_with_all_their_defaults(kind: Any) -> None:
    async with replica_urls(kind, 2) as urls, haproxy.round_robin(urls) as url:
        found = await found_at(url)
    assert found.verdict is Verdict.OK
    assert found.evidence["foreign_host"] == ("403" if kind == "typescript" else "421")


@pytest.mark.real
async def test_what_is_advised_for_haproxy(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setattr(haproxy, "free_port", lambda: port)
    line = advice(Topic.HOST, Proxy.HAPROXY, authority=f"127.0.0.1:{port}").config
    async with running_odd() as odd:
        async with haproxy.running_haproxy([odd.url]) as base:
            assert (await found_at(f"{base}/mcp")).verdict is Verdict.WARNING
        async with haproxy.running_haproxy([odd.url], frontend=[line]) as base:
            found = await found_at(f"{base}/mcp")
    assert (found.verdict, found.evidence["foreign_host"]) == (Verdict.OK, "421")


@pytest.mark.real
async def test_what_is_advised_for_nginx(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server for all other names stands beside the one that has the endpoint's."""
    port = free_port()
    monkeypatch.setattr(nginx, "free_port", lambda: port)
    lines = advice(Topic.HOST, Proxy.NGINX).config.replace("listen 80", f"listen 127.0.0.1:{port}")
    beside = f"}}\nserver_name 127.0.0.1;\n}}\n{lines.removesuffix('}')}\nlocation /unused {{\nset $unused"
    async with running_odd() as odd:
        async with nginx.running_nginx([odd.url]) as base:
            assert (await found_at(f"{base}/mcp")).verdict is Verdict.WARNING
        async with nginx.running_nginx([odd.url], {beside: "1"}) as base:
            found = await found_at(f"{base}/mcp")
    assert (found.verdict, found.evidence["foreign_host"]) == (Verdict.OK, "421")
