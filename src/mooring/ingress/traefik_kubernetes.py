"""Traefik's routers as objects of Kubernetes, for a Traefik that takes everything from there.

    object                            is
    Service and EndpointSlice         one pair for each node, at its address
    IngressRoute                      the same routers as in the dynamic file
    TraefikService                    the nodes that take new sessions, with the sticky cookie
    Middleware, ServersTransport      as there

Checked against Traefik's own definitions of these objects, and never applied: there is no Kubernetes here.

What it cannot do: look after a node's health. Kubernetes' provider has neither health checks for such services nor a
fallback from one to another. So a dead node's requests fail until the objects follow, within two seconds of its lease's
end. A Traefik that asks the nodes itself (`--from-nodes`) has none of this.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any, Final

import yaml

from mooring.errors import ClusterError
from mooring.ingress.proxy import Choice, Files, need_plain_nodes
from mooring.ingress.topology import COOKIE, Backend, Topology
from mooring.ingress.traefik import dynamic_configuration

Object = dict[str, Any]

NAME: Final = "traefik"
PROGRAM: Final = "Traefik 3.7.12 or later on Kubernetes"
FILE: Final = "traefik-objects.yaml"
LABEL: Final = "app.kubernetes.io/managed-by: mooring-ingress"
RELOAD: Final = (
    "kubectl apply --filename {file} --prune --selector app.kubernetes.io/managed-by=mooring-ingress "
    "--prune-allowlist=core/v1/Service --prune-allowlist=discovery.k8s.io/v1/EndpointSlice"
)

_HEAD: Final = """\
# Written by `mooring ingress traefik --kubernetes`. Checked against Traefik's definitions of these objects, and never
# applied by us. Nothing here looks after a node's health: what goes to one that died fails until these objects follow.
"""

_API: Final = "traefik.io/v1alpha1"
_PORT: Final = 80
_ROUTER: Final = "mooring"
_READY: Final = "mooring-ready"


def whole(topology: Topology, choice: Choice, file: Path) -> Files:
    """All objects, in the namespace that whoever applies them is in."""
    need_plain_nodes(topology, "Traefik on Kubernetes")
    objects = [*_shared(topology), *(one for backend in topology.backends for one in _node(backend))]
    objects += [_ready(topology, choice), _routes(topology)]
    texts = [yaml.safe_dump(one, sort_keys=False, allow_unicode=True, width=1_000_000) for one in objects]
    return {file: _HEAD + "---\n".join(texts)}


part = whole
"""There is nothing else in it."""


def _object(kind: str, name: str, spec: Object, api: str = _API, **more: Any) -> Object:
    label, _, value = LABEL.partition(": ")
    body = {"spec": spec} if spec else {}
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name, "labels": {label: value, **more}}, **body}


def _name(backend: Backend) -> str:
    """As Kubernetes takes one: no underscore, and at most 63 letters; the mark tells those apart that are cut."""
    return f"mooring-{backend.name.replace('_', '-')[:30].strip('-')}-{backend.mark[:8]}"


def _shared(topology: Topology) -> list[Object]:
    http = dynamic_configuration(topology)["http"]
    [retry], [transport] = http["middlewares"].values(), http["serversTransports"].values()
    return [_object("Middleware", _ROUTER, retry), _object("ServersTransport", _ROUTER, transport)]


def _node(backend: Backend) -> list[Object]:
    """A Service that selects nothing, and the node's address as what it leads to.

    Raises:
        ClusterError: the node is at a name, which an EndpointSlice cannot have.
    """
    try:
        version = ipaddress.ip_address(backend.host).version
    except ValueError:
        raise ClusterError(
            f"{backend.name} is at {backend.host}, but objects of Kubernetes hold addresses: set advertise_url to one"
        ) from None
    name = _name(backend)
    ports = [{"name": "http", "port": _PORT, "targetPort": backend.port, "protocol": "TCP"}]
    service = _object("Service", name, {"clusterIP": "None", "ports": ports}, api="v1")
    slice_ = _object("EndpointSlice", name, {}, api="discovery.k8s.io/v1", **{"kubernetes.io/service-name": name})
    slice_ |= {
        "addressType": f"IPv{version}",
        "ports": [{"name": "http", "port": backend.port, "protocol": "TCP"}],
        "endpoints": [{"addresses": [backend.host], "conditions": {"ready": True}}],
    }
    return [service, slice_]


def _ready(topology: Topology, choice: Choice) -> Object:
    """The nodes that take new sessions in turn, with the sticky cookie: a hash of the name of one of the services."""
    cookie = {
        "name": COOKIE,
        "path": topology.cookie_path,
        "httpOnly": True,
        "secure": choice.secure_cookie,
        "sameSite": "strict",
    }
    services = [_service(backend) for backend in topology.ready]
    return _object("TraefikService", _READY, {"weighted": {"services": services, "sticky": {"cookie": cookie}}})


def _routes(topology: Topology) -> Object:
    """The routers of the dynamic file."""
    places = {f"mcp-{holder.name}": [_service(holder)] for holder in topology.holders}
    places["mcp"] = [{"kind": "TraefikService", "name": _READY}]
    places["default"] = [_service(backend) for backend in topology.backends]
    routes = [
        {
            "kind": "Rule",
            "match": router["rule"],
            "priority": router["priority"],
            "middlewares": [{"name": _ROUTER}],
            "services": places[name],
        }
        for name, router in dynamic_configuration(topology)["http"]["routers"].items()
    ]
    return _object("IngressRoute", _ROUTER, {"routes": routes})


def _service(backend: Backend) -> Object:
    return {"kind": "Service", "name": _name(backend), "port": _PORT, "serversTransport": _ROUTER}
