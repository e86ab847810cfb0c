"""Deployments behind a real nginx: without affinity, with streams that it holds back, and with its limits.

None of them keeps a session at its node: what is not about affinity is to be tried with a single one.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

from tests.bare import listening
from tests.deployments.configuration import Deployment, check, fill, find, mcp_endpoint
from tests.ports import free_port

Directives = Mapping[str, str | None]

_HOST: Final = "proxy_set_header Host"
# What a deployment of MCP needs that is not nginx's default.
_RIGHT: Final[Directives] = {
    "proxy_http_version": "1.1",
    "proxy_set_header Connection": '""',
    _HOST: "$http_host",
    "proxy_buffering": "off",
    "proxy_read_timeout": "1h",
    "client_max_body_size": "0",
}
# The SDKs answer with `X-Accel-Buffering: no`, which nginx obeys unless it is told not to.
_BUFFERS: Final[Directives] = {"proxy_buffering": "on", "proxy_ignore_headers": "X-Accel-Buffering"}
_COMPRESSES: Final[Directives] = {
    "gzip": "on",
    "gzip_types": "text/event-stream application/json",
    "gzip_min_length": "0",
    "gzip_http_version": "1.0",
    "gzip_proxied": "any",
}


@contextlib.asynccontextmanager
async def running_nginx(
    urls: Sequence[str], directives: Directives | None = None, *, balance: str = ""
) -> AsyncIterator[str]:
    """nginx in front of these nodes, as MCP needs it but for `directives`. Gives its URL, without a path.

    Args:
        urls: the nodes, with or without a path.
        directives: what is set otherwise; None leaves nginx's default.
        balance: how it picks a node, which is in turn where nothing is said.
    """
    program, port = find("nginx"), free_port()
    settings = {**_RIGHT, **(directives or {})}
    with tempfile.TemporaryDirectory(prefix="nginx-") as folder:
        configuration = fill(
            "nginx.conf",
            Path(folder),
            balance=f"{balance};" if balance else "",
            servers="\n".join(f"    server {urlsplit(url).netloc};" for url in urls),
            port=port,
            directives="\n".join(f"      {name} {value};" for name, value in settings.items() if value is not None),
        )
        command = [program, "-e", "stderr", "-p", folder, "-c", str(configuration)]
        await check(*command, "-t")
        async with listening(command, port, what="nginx"):
            yield f"http://127.0.0.1:{port}"


def round_robin(urls: Sequence[str]) -> Deployment:
    """Broken for sessions where there are several nodes: each request goes to the next one. Healthy with one node."""
    return mcp_endpoint(running_nginx(urls))


def hashed_session_id(urls: Sequence[str]) -> Deployment:
    """Broken for most sessions: their calls go where a hash of the id says, `initialize` went there by chance."""
    return mcp_endpoint(running_nginx(urls, {}, balance="hash $http_mcp_session_id consistent"))


def buffered(urls: Sequence[str], *, http_version: Literal["1.0", "1.1"] = "1.0") -> Deployment:
    """Broken for streams: what nginx holds back depends on how it speaks with the node.

    With HTTP/1.0, its default for long, events wait until the answer is complete or some KiB long. With 1.1 they are in
    chunks, which it passes on one by one; only the headers of a stream wait for its first event.
    """
    return mcp_endpoint(running_nginx(urls, {**_BUFFERS, "proxy_http_version": http_version}))


def compressed(urls: Sequence[str], *, buffer: bool = True) -> Deployment:
    """Broken for streams of clients that accept gzip, also with HTTP/1.1: events wait until the answer is complete.

    Without `buffer` it is healthy: each event is compressed and sent by itself.
    """
    return mcp_endpoint(running_nginx(urls, {**_COMPRESSES, **(_BUFFERS if buffer else {})}))


def body_limit(urls: Sequence[str]) -> Deployment:
    """Broken for large requests: nginx's default allows 1 MiB, the SDKs 4."""
    return mcp_endpoint(running_nginx(urls, {"client_max_body_size": None}))


def idle_timeout(urls: Sequence[str], seconds: float = 5) -> Deployment:
    """Broken for silent streams: one ends when its node has sent nothing for so long."""
    return mcp_endpoint(running_nginx(urls, {"proxy_read_timeout": f"{round(seconds * 1000)}ms"}))


def lost_host(urls: Sequence[str]) -> Deployment:
    """Broken for servers that know their name: nginx's default calls the node by the name of the group, `nodes`."""
    return mcp_endpoint(running_nginx(urls, {_HOST: None}))
