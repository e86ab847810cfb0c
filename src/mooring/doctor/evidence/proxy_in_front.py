"""Which load balancer meets clients, as far as its answers give it away. A wrong name is worse than none.

In this order, the first that tells counts:

    host name        a cloud's own domain
    error page       of one request that is no HTTP, which a balancer answers by itself and a server's own words
                     come through one that only passes bytes on; not sent where the operator wants reading only
    TLS certificate  of Traefik, which looks like any other server written in Go until it has no better one to show
    cookies          for affinity, by names that one balancer alone uses: it is what places the requests
    headers          of the answers that came already

Cookies and headers may come from any hop: where the page shows that another one meets clients, they tell who is behind
it. Measured with HAProxy 2.6, nginx 1.22 and 1.31, Traefik 3.7, Caddy 2.6 and 2.11, Apache 2.4, uvicorn, hypercorn,
granian and Node.js; the others as documented or as seen in their sources.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from typing import Final

from yarl import URL

from mooring.doctor.client import protocol
from mooring.doctor.client.reply import Reply
from mooring.doctor.evidence.affinity_cookies import owner_of
from mooring.doctor.evidence.set_cookie import cookies_of
from mooring.doctor.examination import Examination
from mooring.doctor.proxies import Front, Proxy
from mooring.ingress.topology import COOKIE as MOORINGS_COOKIE

_SECONDS: Final = 3.0
_MOST_BYTES: Final = 16 * 1024
_NO_HTTP: Final = b"MOORING-DOCTOR\r\n\r\n"
_TRAEFIK: Final = b"TRAEFIK DEFAULT CERT"

_DOMAINS: Final = (
    (".azurecontainerapps.io", Proxy.AZURE),
    (".azurewebsites.net", Proxy.AZURE),
    (".azurefd.net", Proxy.AZURE),
)
_HEADERS: Final[tuple[tuple[str, re.Pattern[str], Proxy], ...]] = tuple(
    (name, re.compile(pattern, re.IGNORECASE), proxy)
    for name, pattern, proxy in (
        ("Via", r".*\b1\.1 google\b.*", Proxy.GCLB),
        ("X-Azure-Ref", r".+", Proxy.AZURE),
        ("Server", r"Microsoft-Azure-.*", Proxy.AZURE),
        ("Server", r"awselb/.*", Proxy.ALB),
        ("Server", r"(istio-)?envoy", Proxy.ENVOY),
        ("X-Envoy-Upstream-Service-Time", r".+", Proxy.ENVOY),
        ("Server", r"kong/.*", Proxy.KONG),
        ("Via", r"(.*\b)?kong/.*", Proxy.KONG),
        ("X-Kong-Upstream-Latency", r".+", Proxy.KONG),
        ("X-Kong-Proxy-Latency", r".+", Proxy.KONG),
        ("X-Powered-By", r"ARR/.*", Proxy.IIS),
        ("Server", r"Microsoft-(IIS|HTTPAPI)/.*", Proxy.IIS),
        ("Server", r"(nginx|openresty)(/.*)?", Proxy.NGINX),
        ("Server", r"Apache(/.*)?", Proxy.APACHE),
        ("Server", r"Caddy", Proxy.CADDY),
        ("Via", r".*\bCaddy\b.*", Proxy.CADDY),
        # The last, since it stands before all others and balances for few of its users.
        ("CF-Ray", r".+", Proxy.CLOUDFLARE),
        ("Server", r"cloudflare", Proxy.CLOUDFLARE),
    )
)
_ENVELOPE: Final = re.compile(r"[A-Za-z0-9+/]+=*;UV:[A-Za-z0-9+/]+=*")
"""A session id into which Envoy has written the node (its stateful session extension `envelope`)."""

_PAGES: Final = (
    (b"<h1>400 Bad request</h1>\nYour browser sent an invalid request.", Proxy.HAPROXY),
    (b"<center>nginx", Proxy.NGINX),
    (b"<center>openresty", Proxy.NGINX),
    (b"<center>cloudflare", Proxy.CLOUDFLARE),
    (b"<center>Microsoft-Azure-Application-Gateway", Proxy.AZURE),
    (b"Your browser sent a request that this server could not understand.", Proxy.APACHE),
    (b"<h2>Bad Request - Invalid", Proxy.IIS),
    (b"Error 400 (Bad Request)!!1", Proxy.GCLB),
)
_SERVERS: Final = (
    (b"Invalid HTTP request received.", "uvicorn"),
    (b"<title>Bad Request</title>", "gunicorn"),
    (b"server: hypercorn-", "hypercorn"),
    (b"server: granian", "granian"),
)
"""What a server says for itself to what is no HTTP, where no proxy reads it before."""
_NODE: Final = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"
_ENVOY: Final = re.compile(
    rb"HTTP/1\.1 400 Bad Request\r\ncontent-length: 11\r\ncontent-type: text/plain\r\n.*\r\n\r\nBad Request", re.DOTALL
)
_IN_GO: Final = frozenset({Proxy.CADDY, Proxy.TRAEFIK})
_GO: Final = b"\r\n\r\n400 Bad Request"


async def recognise(exam: Examination) -> Front:
    """Who meets clients, or nobody where it does not give itself away."""
    replies = _seen(exam)
    named = by_host(exam.wire.url.host or "")
    signs = tuple(dict.fromkeys(signs_in(replies)))
    if named is not None:
        return Front(named, "", tuple(one for one in signs if one is not named))
    if exam.plan.read_only:
        return front_of(b"", signs, is_traefik=False)
    exam.listener.step("which load balancer is in front")
    exam.wire.requests += 1
    page, is_traefik = b"", False
    try:
        async with asyncio.timeout(_SECONDS):
            page = await _ask_without_http(exam.wire.url)
            if by_page(page) is None and is_go(page):
                is_traefik = _has_moorings_cookie(replies) or await _is_traefik(exam.wire.url)
    except (OSError, TimeoutError, ValueError):  # an SSLError is an OSError; ValueError: not a host name
        pass
    return front_of(page, signs, is_traefik=is_traefik)


def front_of(page: bytes, signs: Sequence[Proxy], *, is_traefik: bool) -> Front:
    """Who it is, by the answer to what is no HTTP, and by the signs in headers and cookies, the strongest first."""
    server = server_of(page)
    proxy = Proxy.TRAEFIK if is_traefik else by_page(page)
    if proxy in (Proxy.NGINX, None) and Proxy.KONG in signs and not server:
        proxy = Proxy.KONG  # it is built on nginx, and has its pages
    if proxy is None and is_go(page):
        go = [sign for sign in signs if sign in _IN_GO]
        return Front(go[0], "", _without(signs, go[0])) if go else Front(None, "", tuple(signs))
    if proxy is not None:
        return Front(proxy, "", _without(signs, proxy))
    if server:
        return Front(None, server, tuple(signs))
    return Front(signs[0], "", tuple(signs[1:])) if signs else Front()


def _without(signs: Sequence[Proxy], proxy: Proxy) -> tuple[Proxy, ...]:
    return tuple(sign for sign in signs if sign is not proxy)


def server_of(page: bytes) -> str:
    """The server that gave that answer by itself; empty where none is known."""
    if page == _NODE:
        return "Node.js"
    return next((name for mark, name in _SERVERS if mark in page), "")


def signs_in(replies: Iterable[Reply]) -> Iterator[Proxy]:
    """Who has left a sign in cookies or headers: first those that place the requests."""
    replies = tuple(replies)
    for reply in replies:
        yield from (owner for cookie in cookies_of(reply) if (owner := owner_of(cookie)) is not None)
        if _ENVELOPE.fullmatch(reply.headers.get(protocol.SESSION, "")):
            yield Proxy.ENVOY
    for name, pattern, proxy in _HEADERS:
        if any(pattern.fullmatch(value) for reply in replies for value in reply.headers.getall(name, [])):
            yield proxy


def _seen(exam: Examination) -> list[Reply]:
    opened = [reply for session in exam.sessions.opened for reply in (session.opened, *session.initialized)]
    return [*opened, *exam.sessions.sessionless, *exam.sessions.refused, exam.eras.discovered]


def by_host(host: str) -> Proxy | None:
    """By the domain that a cloud gives to what it hosts."""
    return next((proxy for domain, proxy in _DOMAINS if host.lower().endswith(domain)), None)


def by_page(page: bytes) -> Proxy | None:
    """By the answer, with its head, to a request that is no HTTP."""
    for mark, proxy in _PAGES:
        if mark in page:
            return proxy
    if _ENVOY.match(page):
        return Proxy.ENVOY
    head = page.partition(b"\r\n\r\n")[0].decode("latin-1")
    for line in head.split("\r\n")[1:]:
        name, _, value = line.partition(":")
        for known, pattern, proxy in _HEADERS:
            if name.lower() == known.lower() and pattern.fullmatch(value.strip()):
                return proxy
    return None


def is_go(page: bytes) -> bool:
    """Whether that answer is of Go's `net/http`: Traefik, Caddy and many a server are built on it."""
    return page.startswith(b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain") and page.endswith(_GO)


def _has_moorings_cookie(replies: Iterable[Reply]) -> bool:
    return any(cookie.name == MOORINGS_COOKIE for reply in replies for cookie in cookies_of(reply))


async def _ask_without_http(url: URL) -> bytes:
    """The answer to a line that no server can read. Nothing of the operator's goes along."""
    context = ssl.create_default_context() if url.scheme == "https" else None
    async with _connection(url, context, url.raw_host if context else None) as (reader, writer):
        writer.write(_NO_HTTP)
        await writer.drain()
        page = b""
        # Some close without another word, and some reset: what came before counts.
        with contextlib.suppress(OSError):
            while len(page) < _MOST_BYTES and (piece := await reader.read(4096)):
                page += piece
        return page


async def _is_traefik(url: URL) -> bool:
    """Whether a handshake that names no host is met with Traefik's own certificate, at its ports for http too."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    async with _connection(url, context, "") as (_, writer):
        secured: ssl.SSLObject = writer.get_extra_info("ssl_object")
        return _TRAEFIK in (secured.getpeercert(binary_form=True) or b"")


@contextlib.asynccontextmanager
async def _connection(
    url: URL, context: ssl.SSLContext | None, name: str | None
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(url.raw_host, url.port, ssl=context, server_hostname=name)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()  # nobody waits for the farewell of a connection that was asked nonsense
