"""Deployments behind a real HAProxy: without affinity, with the usual kinds of it, and with what else goes wrong."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

from tests.bare import listening
from tests.deployments.certificate import self_signed_pem
from tests.deployments.configuration import Deployment, check, fill, find, mcp_endpoint
from tests.ports import free_port

NODE_HEADER: Final = "X-Served-By"
_TELL_NODE: Final = f"http-response set-header {NODE_HEADER} %s"
_IN_TURN: Final = "balance roundrobin"
# The table is named, since two backends may share it.
_LEARN: Final = "stick store-response res.hdr(Mcp-Session-Id) table nodes"
_STICKY: Final = (
    "stick-table type string len 64 size 10k expire 1h",
    _LEARN,
    "stick match req.hdr(Mcp-Session-Id) table nodes",
)
# Without the first, small events wait up to 200 ms for the acknowledgement of those before.
_HTTP_OPTIONS: Final = ("option http-no-delay", "option http-server-close")


def _servers(urls: Sequence[str], *, cookies: bool = True) -> str:
    servers = [f"  server node-{n} {urlsplit(url).netloc}" for n, url in enumerate(urls, 1)]
    return "\n".join(f"{server} cookie node-{n}" if cookies else server for n, server in enumerate(servers, 1))


@contextlib.asynccontextmanager
async def running_haproxy(
    urls: Sequence[str],
    *backend: str,
    frontend: Sequence[str] = (),
    more: str = "",
    mode: Literal["http", "tcp"] = "http",
    idle_seconds: float = 3600,
    tls: bool = False,
) -> AsyncIterator[str]:
    """HAProxy in front of these nodes, which it calls node-1 and so on. Gives its URL, without a path.

    Args:
        urls: the nodes, with or without a path.
        backend: what it is told of the nodes, such as `balance roundrobin` or `balance random(1)`.
        frontend: what it is told of the clients.
        more: whole sections.
        mode: whether it understands what it passes on.
        idle_seconds: how long either side may be silent.
        tls: speak https, with a certificate that nobody signed.
    """
    program, port = find("haproxy"), free_port()
    with tempfile.TemporaryDirectory(prefix="haproxy-") as folder:
        configuration = fill(
            "haproxy.cfg",
            Path(folder),
            mode=mode,
            idle_milliseconds=round(idle_seconds * 1000),
            options="\n  ".join(_HTTP_OPTIONS if mode == "http" else ()),
            port=port,
            tls=f"ssl crt {self_signed_pem(Path(folder))}" if tls else "",
            frontend="\n  ".join(frontend),
            backend="\n  ".join(backend),
            servers=_servers(urls, cookies=mode == "http"),
            more=more,
        )
        await check(program, "-c", "-f", configuration)
        async with listening([program, "-db", "-f", configuration], port, what="haproxy"):
            yield f"{'https' if tls else 'http'}://127.0.0.1:{port}"


def _told(tell_node: bool) -> Sequence[str]:
    return [_TELL_NODE] if tell_node else []


def round_robin(urls: Sequence[str], *, tell_node: bool = False) -> Deployment:
    """Broken for sessions: each request goes to the next node. `tell_node` names it in the answer's X-Served-By."""
    return mcp_endpoint(running_haproxy(urls, _IN_TURN, frontend=_told(tell_node)))


def sticky_cookie(urls: Sequence[str], *, tell_node: bool = False) -> Deployment:
    """Broken for clients without cookies: the cookie SERVERID alone brings a session back to its node."""
    cookie = "cookie SERVERID insert indirect nocache"
    return mcp_endpoint(running_haproxy(urls, _IN_TURN, cookie, frontend=_told(tell_node)))


def hashed_session_id(urls: Sequence[str]) -> Deployment:
    """Broken for most sessions: their calls go where a hash of the id says, `initialize` went there by chance.

    It has no id yet, and HAProxy takes the next node in turn where the header is missing.
    """
    return mcp_endpoint(running_haproxy(urls, "balance hdr(Mcp-Session-Id)"))


def learned_session_id(urls: Sequence[str], *, tell_node: bool = False) -> Deployment:
    """Healthy for as long as this one HAProxy runs: it learns from each answer which node has the session."""
    return mcp_endpoint(running_haproxy(urls, _IN_TURN, *_STICKY, frontend=_told(tell_node)))


def by_connection(urls: Sequence[str]) -> Deployment:
    """Broken beyond one connection: HAProxy sees bytes only, so a client's next connection goes to the next node."""
    return mcp_endpoint(running_haproxy(urls, _IN_TURN, mode="tcp"))


def idle_timeout(urls: Sequence[str], seconds: float = 5) -> Deployment:
    """Broken for silent streams, and otherwise healthy: a stream is cut when nothing was sent for so long."""
    return mcp_endpoint(running_haproxy(urls, _IN_TURN, *_STICKY, idle_seconds=seconds))


def starved_node(urls: Sequence[str]) -> Deployment:
    """The last node gets no new session, while other requests reach it; sessions work. X-Served-By names the nodes."""
    openers = f"backend openers\n  {_IN_TURN}\n  {_LEARN}\n{_servers(urls[:-1])}"
    frontend = (
        _TELL_NODE,
        "acl in_session req.hdr(Mcp-Session-Id) -m found",
        "acl is_modern req.hdr(Mcp-Method) -m found",
        "use_backend openers if { path /mcp } { method POST } !in_session !is_modern",
    )
    return mcp_endpoint(running_haproxy(urls, _IN_TURN, *_STICKY, frontend=frontend, more=openers))


def dropped_header(urls: Sequence[str], header: str = "Mcp-Method") -> Deployment:
    """Broken for the modern era: a header that it requires is lost. Sessions work."""
    return mcp_endpoint(running_haproxy(urls, _IN_TURN, *_STICKY, frontend=[f"http-request del-header {header}"]))


def doubled_header(urls: Sequence[str], header: str = "Mcp-Method", value: str = "tools/list") -> Deployment:
    """Broken for the modern era: a header arrives twice. Sessions work."""
    rule = f"http-request add-header {header} {value}"
    return mcp_endpoint(running_haproxy(urls, _IN_TURN, *_STICKY, frontend=[rule]))


def self_signed(urls: Sequence[str]) -> Deployment:
    """Healthy for sessions, over https with a certificate that no client trusts."""
    return mcp_endpoint(running_haproxy(urls, _IN_TURN, *_STICKY, tls=True))
