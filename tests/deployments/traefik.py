"""Deployments behind a real Traefik: in turn, with its cookies, and with streams that may not become old."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import yaml

from mooring.errors import ClusterError
from mooring.local.programs import find_traefik
from tests.bare import listening
from tests.deployments.configuration import Deployment, mcp_endpoint
from tests.ports import free_port
from tests.real_redis import missing
from tests.waiting import until

_READY: Final = "/traefik-is-ready"
# Traefik cuts short some of the answers that begin at once, unless it holds the request's body, as it does where it may
# try again. It may here only where no byte went out and no node answered: with one attempt it would not hold the body.
_HOLD_BODY: Final = {
    "retry": {"attempts": 2, "status": ["599"], "retryNonIdempotentMethod": True, "maxRequestBodyBytes": 65_536}
}


def _static(port: int, dynamic: Path, write_timeout: str) -> dict[str, Any]:
    return {
        "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
        "log": {"level": "ERROR", "noColor": True},
        "ping": {"manualRouting": True},
        "entryPoints": {
            "web": {
                "address": f"127.0.0.1:{port}",
                "transport": {"respondingTimeouts": {"writeTimeout": write_timeout}},
            }
        },
        "providers": {"file": {"filename": str(dynamic), "watch": False}},
    }


def _dynamic(urls: Sequence[str], cookie: Mapping[str, Any] | None) -> dict[str, Any]:
    """The route to Traefik's own ping tells when all of this is in force: without it every path is 404."""
    balancer: dict[str, Any] = {"servers": [{"url": f"http://{urlsplit(url).netloc}"} for url in urls]}
    if cookie is not None:
        balancer["sticky"] = {"cookie": dict(cookie)}
    routers = {
        "ready": {"rule": f"Path(`{_READY}`)", "priority": 100, "service": "ping@internal"},
        "nodes": {"rule": "PathPrefix(`/`)", "priority": 1, "service": "nodes", "middlewares": ["hold-body"]},
    }
    services = {"nodes": {"loadBalancer": balancer}}
    return {"http": {"routers": routers, "services": services, "middlewares": {"hold-body": _HOLD_BODY}}}


@contextlib.asynccontextmanager
async def running_traefik(
    urls: Sequence[str], *, cookie: Mapping[str, Any] | None = None, write_timeout: str = "0s"
) -> AsyncIterator[str]:
    """Traefik in front of these nodes. Gives its URL, without a path.

    Args:
        urls: the nodes, with or without a path.
        cookie: the options of a sticky cookie; without them each request goes to the next node.
        write_timeout: how long after a request something may still be answered; 0s is for ever.
    """
    try:
        program = find_traefik()
    except ClusterError as error:
        missing(str(error))
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory(prefix="traefik-") as folder:
        static, dynamic = Path(folder) / "static.yml", Path(folder) / "dynamic.yml"
        static.write_text(yaml.safe_dump(_static(port, dynamic, write_timeout)))
        dynamic.write_text(yaml.safe_dump(_dynamic(urls, cookie)))
        # Asked to stop, it takes a second longer than anything that it has to do.
        async with listening([program, f"--configfile={static}"], port, what="traefik", ask_to_stop=False):
            async with aiohttp.ClientSession() as http:
                await until(lambda: _is_ready(http, base), what="Traefik to route")
            yield base


async def _is_ready(http: aiohttp.ClientSession, base: str) -> bool:
    async with http.get(base + _READY) as answer:
        return answer.status == 200


def round_robin(urls: Sequence[str]) -> Deployment:
    """Broken for sessions: each request goes to the next node."""
    return mcp_endpoint(running_traefik(urls))


def sticky_cookie(urls: Sequence[str]) -> Deployment:
    """Broken for clients without cookies: the cookie, as Traefik makes it by default, alone leads back to the node."""
    return mcp_endpoint(running_traefik(urls, cookie={}))


def cookie_elsewhere(urls: Sequence[str], path: str = "/other") -> Deployment:
    """Broken for all clients: the cookie is for another path, so none sends it back to the MCP endpoint."""
    return mcp_endpoint(running_traefik(urls, cookie={"name": "affinity", "path": path}))


def lifetime_limit(urls: Sequence[str], seconds: float = 6) -> Deployment:
    """Broken for long streams, however much they say: nothing can be written so long after the request came.

    Traefik notices at the next event, so that a silent stream looks alive until then.
    """
    return mcp_endpoint(running_traefik(urls, write_timeout=f"{seconds:g}s"))
