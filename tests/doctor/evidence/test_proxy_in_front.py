from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from mooring.doctor.client.reply import Reply
from mooring.doctor.client.sessions import Sessions
from mooring.doctor.client.wire import Wire
from mooring.doctor.evidence import proxy_in_front
from mooring.doctor.evidence.proxy_in_front import by_host, by_page, is_go, recognise, signs_in
from mooring.doctor.examination import Examination
from mooring.doctor.plan import Plan
from mooring.doctor.proxies import Front, Proxy
from tests.deployments import haproxy, nginx, traefik
from tests.deployments.certificate import self_signed_pem
from tests.deployments.servers import replica_urls
from tests.doctor.examined import examined
from tests.doctor.runs import Notes

Deploy = Callable[[list[str]], AbstractAsyncContextManager[str]]

# As they were answered to a line that is no HTTP.
HAPROXY = (
    b"HTTP/1.1 400 Bad request\r\nContent-length: 90\r\nCache-Control: no-cache\r\nConnection: close\r\n"
    b"Content-Type: text/html\r\n\r\n"
    b"<html><body><h1>400 Bad request</h1>\nYour browser sent an invalid request.\n</body></html>\n"
)
NGINX = (
    b"HTTP/1.1 400 Bad Request\r\nServer: nginx\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n"
    b"<html>\r\n<head><title>400 Bad Request</title></head>\r\n<body>\r\n<center><h1>400 Bad Request</h1></center>\r\n"
    b"<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
)
GO = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n400 Bad Request"
UVICORN = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"
    b"Invalid HTTP request received."
)
NODE = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"


def reply(*headers: tuple[str, str]) -> Reply:
    return Reply(status=200, headers=CIMultiDictProxy(CIMultiDict(headers)))


@pytest.mark.parametrize(
    ("headers", "proxy"),
    [
        ([], None),
        ([("Server", "uvicorn")], None),
        ([("Server", "nginx/1.22.1")], Proxy.NGINX),
        ([("Server", "openresty")], Proxy.NGINX),
        ([("Server", "not-nginx")], None),
        ([("Server", "Caddy")], Proxy.CADDY),
        ([("Server", "uvicorn"), ("Via", "1.1 Caddy")], Proxy.CADDY),
        ([("Server", "uvicorn"), ("Via", "1.1 google")], Proxy.GCLB),
        ([("Via", "1.1 varnish")], None),
        ([("Server", "envoy")], Proxy.ENVOY),
        ([("Server", "istio-envoy")], Proxy.ENVOY),
        ([("X-Envoy-Upstream-Service-Time", "3")], Proxy.ENVOY),
        ([("Server", "awselb/2.0")], Proxy.ALB),
        ([("Server", "cloudflare"), ("CF-Ray", "8c1-FRA")], Proxy.CLOUDFLARE),
        ([("Server", "cloudflare"), ("Set-Cookie", "AWSALB=x; Path=/")], Proxy.ALB),
        ([("Server", "nginx"), ("Set-Cookie", "AWSALB=x; Path=/")], Proxy.ALB),
        ([("Server", "nginx"), ("CF-Ray", "8c1-FRA")], Proxy.NGINX),
        ([("X-Azure-Ref", "20261121T")], Proxy.AZURE),
        ([("Set-Cookie", "ARRAffinity=x;Path=/;HttpOnly;Secure;Domain=host")], Proxy.AZURE),
        ([("Set-Cookie", "_7d571=3eb75654c8788677; Path=/")], Proxy.TRAEFIK),
        ([("Set-Cookie", "SERVERID=node-1; path=/")], None),
        ([("Set-Cookie", "__cf_bm=x; path=/")], None),
        ([("Mcp-Session-Id", "MS4yLjMuNDo4MA==;UV:eHh4eHh4")], Proxy.ENVOY),
        ([("Mcp-Session-Id", "MS4yLjMuNDo4MA")], None),
    ],
)
def test_what_answers_give_away(headers: list[tuple[str, str]], proxy: Proxy | None) -> None:
    assert next(signs_in([reply(), reply(*headers)]), None) is proxy


@pytest.mark.parametrize(
    ("page", "proxy", "go"),
    [
        (HAPROXY, Proxy.HAPROXY, False),
        (NGINX, Proxy.NGINX, False),
        (b"HTTP/1.1 400 Bad Request\r\nServer: awselb/2.0\r\n\r\n<html></html>", Proxy.ALB, False),
        (b"HTTP/1.1 400 Bad Request\r\nServer: cloudflare\r\nCF-RAY: -\r\n\r\n<html></html>", Proxy.CLOUDFLARE, False),
        (b"HTTP/1.1 400 Bad Request\r\nserver: envoy\r\nconnection: close\r\n\r\n", Proxy.ENVOY, False),
        (b"HTTP/1.1 502 Bad Gateway\r\nServer: Microsoft-Azure-Application-Gateway/v2\r\n\r\n", Proxy.AZURE, False),
        (GO, None, True),
        (UVICORN, None, False),
        (NODE, None, False),
        (b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n\r\nServer: envoy", None, False),
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", None, False),
        (b"", None, False),
    ],
)
def test_what_an_error_page_gives_away(page: bytes, proxy: Proxy | None, go: bool) -> None:
    assert by_page(page) is proxy
    assert is_go(page) is go


def test_what_a_host_name_gives_away() -> None:
    assert by_host("app.blue-sky.westeurope.azurecontainerapps.io") is Proxy.AZURE
    assert by_host("app.azurewebsites.net") is Proxy.AZURE
    assert by_host("azurewebsites.net.example.com") is None


@dataclass
class Recorder:
    """Answers every connection with the same bytes, and remembers what it was sent."""

    page: bytes | None
    port: int = 0
    heard: list[bytes] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heard.append(await reader.read(65_536))
        if self.page is None:
            await reader.read()
        else:
            writer.write(self.page)
        writer.close()


@contextlib.asynccontextmanager
async def recording(page: bytes | None, context: ssl.SSLContext | None = None) -> AsyncIterator[Recorder]:
    recorder = Recorder(page)
    async with await asyncio.start_server(recorder.serve, "127.0.0.1", 0, ssl=context) as server:
        recorder.port = server.sockets[0].getsockname()[1]
        yield recorder


def examination(url: str, **fields: Any) -> Examination:
    plan = Plan(URL(url), tokens=("a-secret-token",), headers=(("X-Api-Key", "a-secret-key"),), **fields)
    wire = Wire(plan)
    return Examination(plan, wire, Sessions(wire, 2), Notes())


async def test_one_line_without_http_is_sent_and_no_secret_goes_along() -> None:
    async with recording(HAPROXY) as recorder:
        exam = examination(f"http://127.0.0.1:{recorder.port}/mcp")
        async with exam.wire:
            assert (await recognise(exam)).proxy is Proxy.HAPROXY
            assert exam.wire.requests == 1
    assert recorder.heard == [b"MOORING-DOCTOR\r\n\r\n"]


async def test_reading_only_sends_nothing() -> None:
    async with recording(HAPROXY) as recorder:
        exam = examination(f"http://127.0.0.1:{recorder.port}/mcp", read_only=True)
        async with exam.wire:
            assert (await recognise(exam)).proxy is None
    assert recorder.heard == []


async def test_a_sign_in_a_header_may_be_of_any_hop() -> None:
    async with recording(HAPROXY) as recorder:
        exam = examination(f"http://127.0.0.1:{recorder.port}/mcp")
        exam.eras.discovered = reply(("Server", "nginx"))
        async with exam.wire:
            assert await recognise(exam) == Front(Proxy.HAPROXY, "", (Proxy.NGINX,))


async def test_it_speaks_tls_where_the_endpoint_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pem = self_signed_pem(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    async with recording(HAPROXY, context) as recorder:
        exam = examination(f"https://127.0.0.1:{recorder.port}/mcp")
        async with exam.wire:
            assert (await recognise(exam)).proxy is None, "a certificate that nobody signed"
            monkeypatch.setenv("SSL_CERT_FILE", str(pem))
            assert (await recognise(exam)).proxy is Proxy.HAPROXY
    assert recorder.heard[-1] == b"MOORING-DOCTOR\r\n\r\n"


@pytest.mark.parametrize(
    ("cookie", "proxy"), [("_mcp_backend=a3a335838088fe06; Path=/mcp", Proxy.TRAEFIK), ("other=x", None)]
)
async def test_what_looks_like_go_needs_more_to_be_traefik(cookie: str, proxy: Proxy | None) -> None:
    async with recording(GO) as recorder:
        exam = examination(f"http://127.0.0.1:{recorder.port}/mcp")
        exam.eras.discovered = reply(("Set-Cookie", cookie))
        async with exam.wire:
            assert (await recognise(exam)).proxy is proxy


async def test_who_does_not_answer_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy_in_front, "_SECONDS", 0.1)
    async with recording(None) as recorder:
        exam = examination(f"http://127.0.0.1:{recorder.port}/mcp")
        async with exam.wire:
            assert (await recognise(exam)).proxy is None


async def test_where_nothing_listens_nothing_is_recognised() -> None:
    exam = examination("http://127.0.0.1:1/mcp")
    async with exam.wire:
        assert (await recognise(exam)).proxy is None


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def one() -> AsyncIterator[list[str]]:
    async with replica_urls("stateful", 1) as urls:
        yield urls


@pytest.mark.real
@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("deploy", "proxy"),
    [
        (haproxy.round_robin, Proxy.HAPROXY),
        (haproxy.sticky_cookie, Proxy.HAPROXY),
        (haproxy.by_connection, None),
        (nginx.round_robin, Proxy.NGINX),
        (traefik.round_robin, Proxy.TRAEFIK),
        (traefik.sticky_cookie, Proxy.TRAEFIK),
        (traefik.cookie_elsewhere, Proxy.TRAEFIK),
    ],
)
async def test_real_ones(one: list[str], deploy: Deploy, proxy: Proxy | None) -> None:
    async with deploy(one) as url, examined(url, sessions=2) as exam:
        assert (await recognise(exam)).proxy is proxy


@pytest.mark.real
@pytest.mark.asyncio(loop_scope="module")
async def test_a_bare_server_is_no_load_balancer(one: list[str]) -> None:
    async with examined(one[0], sessions=2) as exam:
        assert (await recognise(exam)).proxy is None


@pytest.mark.real
@pytest.mark.asyncio(loop_scope="module")
async def test_a_bare_server_of_nodes_is_none_either() -> None:
    async with replica_urls("typescript", 1) as [url], examined(url, sessions=2) as exam:
        assert (await recognise(exam)).proxy is None
