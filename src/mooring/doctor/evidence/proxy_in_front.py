"""Which load balancer is in front, as far as its answers give it away. A wrong name is worse than none.

In this order, the first that tells counts:

    host name        a cloud's own domain
    cookies          for affinity, by names that one balancer alone uses: it is what places the requests
    headers          of the answers that came already
    error page       of one request that is no HTTP, which a balancer answers by itself and a server's own words
                     come through one that only passes bytes on; not sent where the operator wants reading only
    TLS certificate  of Traefik, which looks like any other server written in Go until it has no better one to show

Measured with HAProxy 2.6, nginx 1.22 and 1.31, Traefik 3.7, Caddy 2.6, uvicorn and Node.js.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from collections.abc import AsyncIterator, Iterable
from typing import Final

from yarl import URL

from mooring.doctor.client import protocol
from mooring.doctor.client.reply import Reply
from mooring.doctor.evidence.affinity_cookies import owner_of
from mooring.doctor.evidence.set_cookie import cookies_of
from mooring.doctor.examination import Examination
from mooring.doctor.proxies import Proxy
from mooring.ingress.traefik import COOKIE as MOORINGS_COOKIE

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
        ("Server", r"(nginx|openresty)(/.*)?", Proxy.NGINX),
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
)
_GO: Final = b"\r\n\r\n400 Bad Request"


async def recognise(exam: Examination) -> Proxy | None:
    """The load balancer, or None where it does not give itself away."""
    replies = _seen(exam)
    found = by_host(exam.wire.url.host or "") or by_replies(replies)
    if found is not None or exam.plan.read_only:
        return found
    exam.listener.step("which load balancer is in front")
    exam.wire.requests += 1
    try:
        async with asyncio.timeout(_SECONDS):
            page = await _ask_without_http(exam.wire.url)
            found = by_page(page)
            if found is None and is_go(page) and (_has_moorings_cookie(replies) or await _is_traefik(exam.wire.url)):
                found = Proxy.TRAEFIK
    except (OSError, TimeoutError, ValueError):  # an SSLError is an OSError; ValueError: not a host name
        pass
    return found


def _seen(exam: Examination) -> list[Reply]:
    opened = [reply for session in exam.sessions.opened for reply in (session.opened, *session.initialized)]
    return [*opened, *exam.sessions.sessionless, *exam.sessions.refused, exam.eras.discovered]


def by_host(host: str) -> Proxy | None:
    """By the domain that a cloud gives to what it hosts."""
    return next((proxy for domain, proxy in _DOMAINS if host.lower().endswith(domain)), None)


def by_replies(replies: Iterable[Reply]) -> Proxy | None:
    """By the cookies and headers of answers."""
    replies = tuple(replies)
    for reply in replies:
        for cookie in cookies_of(reply):
            owner = owner_of(cookie)
            if owner is not None:
                return owner
        if _ENVELOPE.fullmatch(reply.headers.get(protocol.SESSION, "")):
            return Proxy.ENVOY
    for name, pattern, proxy in _HEADERS:
        if any(pattern.fullmatch(value) for reply in replies for value in reply.headers.getall(name, [])):
            return proxy
    return None


def by_page(page: bytes) -> Proxy | None:
    """By the answer, with its head, to a request that is no HTTP."""
    for mark, proxy in _PAGES:
        if mark in page:
            return proxy
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
