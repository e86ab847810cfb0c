"""Traefik's configuration, as data: what it reads once (static) and what follows the nodes (dynamic).

Written for Traefik 3.7. Each value that is not a default was measured; `docs/ingress.md` has the reasons.

A request meets three routers, the first match wins:

    priority  router      matches                                      goes to
    1000      mcp-<name>  MCP path, a session id or a handle on one    aff-<name>: that node, else `pool`
                          of its shards
    100       mcp         MCP path                                     pool: `ready`, else `all`
    1         default     everything else                              all

    service  is
    ready    the nodes that take new sessions in turn, with the sticky cookie
    all      the nodes that are alive in turn, without one

So where no node takes new sessions, requests still reach a node, which knows what to answer, and other traffic goes on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from mooring.ingress.proxy import Choice, Files, beside, need_nodes
from mooring.ingress.topology import COOKIE, NAME_HEADER, SESSION_HEADER, Backend, Topology

Configuration = dict[str, Any]

NAME: Final = "traefik"
PROGRAM: Final = "Traefik 3.7.12 or later"
FILE: Final = "traefik.yml"
RELOAD: Final = ""

INSECURE_COOKIES: Final = "insecure_cookies"
"""In the query of nodes' page for Traefik, where the ingress is plain http."""

_VARIABLE: Final = re.compile(r"\{[^{}]+\}")
_NO_ALIASES: Final = {"aliasHeadersStrategy": "delete"}
"""`Mcp_Session_Id` is not `Mcp-Session-Id`, though some servers would read it so."""

_RETRY: Final = "retry-connect"
_TRANSPORT: Final = "nodes"
_ATTEMPTS: Final = 30
_BUFFERED_BODY_BYTES: Final = 65_536


def whole(topology: Topology, choice: Choice, file: Path) -> Files:
    """The static file, and the dynamic one beside it, which Traefik watches."""
    return {**part(topology, choice, beside(file, "dynamic")), **static_file(choice, file)}


def static_file(choice: Choice, file: Path, dynamic: Path | None = None, from_nodes: FromNodes | None = None) -> Files:
    """What Traefik is started with; it needs no node."""
    static = static_configuration(
        address=choice.address, dynamic_file=str(dynamic or beside(file, "dynamic")), from_nodes=from_nodes
    )
    return {file: dump(static)}


def part(topology: Topology, choice: Choice, file: Path) -> Files:
    """The dynamic file alone."""
    return {file: dump(dynamic_configuration(topology, secure_cookie=choice.secure_cookie))}


def dump(configuration: Configuration) -> str:
    """The configuration as YAML; the same text for the same configuration."""
    return yaml.safe_dump(configuration, sort_keys=False, allow_unicode=True, width=1_000_000)


@dataclass(frozen=True, slots=True)
class FromNodes:
    """Where Traefik asks the nodes for the dynamic configuration: a name that leads to any of them, and the path there.

    Attributes:
        token: the status token.
    """

    url: str
    token: str


def static_configuration(
    *,
    address: str = "127.0.0.1:8080",
    admin_address: str = "127.0.0.1:8081",
    dynamic_file: str = "traefik-dynamic.yml",
    from_nodes: FromNodes | None = None,
    api: bool = False,
    reuse_port: bool = True,
    grace_seconds: float = 600,
    log_level: str = "INFO",
) -> Configuration:
    """What Traefik reads when it starts.

    Args:
        address: where clients come in, as `host:port`.
        admin_address: where `/ping` is answered, and the API if it is wanted; no client needs to reach it.
        dynamic_file: the file that `dynamic_configuration` is written to, by rename.
        from_nodes: where it is asked for instead.
        api: answer Traefik's own API there, without a password: for loopback.
        reuse_port: let a second Traefik listen before the first one stops.
        grace_seconds: how long open streams may go on once Traefik was asked to stop.
    """
    return {
        "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
        "log": {"level": log_level, "noColor": True},
        "api": {"insecure": api, "dashboard": api},
        "ping": {"entryPoint": "traefik"},
        "entryPoints": {
            "web": {
                "address": address,
                "reusePort": reuse_port,
                "http": dict(_NO_ALIASES),
                "transport": {
                    "respondingTimeouts": {"readTimeout": "60s", "writeTimeout": "0s", "idleTimeout": "180s"},
                    "lifeCycle": {"requestAcceptGraceTimeout": "0s", "graceTimeOut": f"{grace_seconds:g}s"},
                },
            },
            "traefik": {"address": admin_address, "http": dict(_NO_ALIASES)},
        },
        "providers": {
            "providersThrottleDuration": "100ms",
            **({"file": {"filename": dynamic_file, "watch": True}} if from_nodes is None else _http(from_nodes)),
        },
    }


def _http(from_nodes: FromNodes) -> Configuration:
    """Asked twice a second. While nobody answers, Traefik keeps what it has, and asks ever more rarely."""
    headers = {"Authorization": f"Bearer {from_nodes.token}"}
    endpoint = {"endpoint": from_nodes.url, "pollInterval": "500ms", "pollTimeout": "2s", "headers": headers}
    return {"http": endpoint}


def dynamic_configuration(topology: Topology, *, secure_cookie: bool = True) -> Configuration:
    """What follows the nodes.

    Args:
        secure_cookie: clients send the cookie over https alone; off only where the ingress is plain http.

    Raises:
        ClusterError: no node is alive. Traefik applies an empty configuration as "404 everywhere", which clients read
            as "your session is gone"; so there is none.
    """
    need_nodes(topology)
    holders = topology.holders
    return {
        "http": {
            "routers": _routers(topology, holders),
            "middlewares": {_RETRY: {"retry": _retry()}},
            "services": _services(topology, holders, secure_cookie),
            "serversTransports": {_TRANSPORT: _servers_transport()},
        }
    }


def _routers(topology: Topology, holders: tuple[Backend, ...]) -> Configuration:
    on_path = f"({' || '.join(_at(endpoint) for endpoint in topology.endpoints)})"
    routers = {
        f"mcp-{holder.name}": _router(
            f"{on_path} && ({_names_its_own(holder, topology.handle_headers)})",
            1000,
            f"aff-{holder.name}",
        )
        for holder in holders
    }
    routers["mcp"] = _router(on_path, 100, "pool")
    routers["default"] = _router("PathPrefix(`/`)", 1, "all")
    return routers


def _names_its_own(holder: Backend, handle_headers: tuple[str, ...]) -> str:
    """A rule for requests on its sessions, and for those with its handles, as far as headers say."""
    by_session = f"HeaderRegexp(`{SESSION_HEADER}`, `{holder.session_ids}`)"
    by_handle = (f"HeaderRegexp(`{name}`, `{holder.handles}`)" for name in (NAME_HEADER, *handle_headers))
    return " || ".join((by_session, *by_handle))


def _at(endpoint: str) -> str:
    """A rule for an endpoint and all below it; below `/` is everything, so nothing belongs to that one."""
    if endpoint == "/":
        return "Path(`/`)"
    if "{" not in endpoint:
        return f"Path(`{endpoint}`) || PathPrefix(`{endpoint}/`)"
    parts = [re.escape(part) for part in _VARIABLE.split(endpoint)]
    return f"PathRegexp(`^{'[^/]+'.join(parts)}(/|$)`)"


def _router(rule: str, priority: int, service: str) -> Configuration:
    return {"rule": rule, "priority": priority, "middlewares": [_RETRY], "service": service}


def _retry() -> Configuration:
    """Tries again only where no byte of a request went out: its status list names one that never occurs.

    That list is there for what comes with it: bodies are held in memory, without which up to 0.8% of the streams that
    begin at once are cut short. The attempts last 1.4 to 4.2 s: a dead node is passed over after three of them, and
    where no node is there at all, one that comes up within that time still answers.
    """
    return {
        "attempts": _ATTEMPTS,
        "initialInterval": "50ms",
        "status": ["599"],
        "retryNonIdempotentMethod": True,
        "maxRequestBodyBytes": _BUFFERED_BODY_BYTES,
    }


def _services(topology: Topology, holders: tuple[Backend, ...], secure_cookie: bool) -> Configuration:
    services: Configuration = {}
    for holder in holders:
        services[f"aff-{holder.name}"] = _failover(f"node-{holder.name}", "pool")
    services["pool"] = _failover("ready", "all")
    services["ready"] = _weighted("ready", topology.ready)
    services["ready"]["weighted"]["sticky"] = {"cookie": _cookie(topology.cookie_path, secure_cookie)}
    services["all"] = _weighted("any", topology.backends)
    for holder in holders:
        services[f"node-{holder.name}"] = _watched(_load_balancer(holder.url, topology.health_path))
    for backend in topology.ready:
        services[f"ready-{backend.name}"] = _watched(_load_balancer(backend.url, topology.ready_path))
    for backend in topology.backends:
        services[f"any-{backend.name}"] = _load_balancer(backend.url, topology.health_path)
    return services


def _failover(service: str, fallback: str) -> Configuration:
    return {"failover": {"service": service, "fallback": fallback}}


def _weighted(kind: str, backends: tuple[Backend, ...]) -> Configuration:
    """Services in turn. Its cookie is a hash of a service's name; that of a load balancer would give away the URL."""
    services = [{"name": f"{kind}-{backend.name}", "weight": 1} for backend in backends]
    return {"weighted": {"services": services, "healthCheck": {}}}


def _cookie(path: str, secure: bool) -> Configuration:
    return {"name": COOKIE, "path": path, "httpOnly": True, "secure": secure, "sameSite": "strict"}


def _load_balancer(url: str, check_path: str) -> Configuration:
    """One node, with an active health check: a dead one is out within a second."""
    return {
        "loadBalancer": {
            "serversTransport": _TRANSPORT,
            "servers": [{"url": url}],
            "healthCheck": {"path": check_path, "interval": "1s", "unhealthyInterval": "1s", "timeout": "500ms"},
        }
    }


def _watched(service: Configuration) -> Configuration:
    """The same, out after three failed attempts too, so that the fourth attempt of one request goes elsewhere.

    Each reload takes every node for alive until the next active check, and a node that dies is soon followed by one; so
    without this, requests bound to it fail for seconds. Traefik counts answers of 500 and above as failures as well:
    a node that is out for these still gets its sessions' requests, from its peers, and other traffic is not watched.
    """
    service["loadBalancer"]["passiveHealthCheck"] = {"failureWindow": "10s", "maxFailedAttempts": 3}
    return service


def _servers_transport() -> Configuration:
    """No limit on how long a tool may run; idle connections end before the 5 s after which uvicorn closes them."""
    return {
        "maxIdleConnsPerHost": 200,
        "forwardingTimeouts": {"dialTimeout": "1s", "responseHeaderTimeout": "0s", "idleConnTimeout": "4s"},
    }
