"""Envoy's configuration, as data: what it reads once (bootstrap), and what follows the nodes (clusters and routes).

Checked against Envoy's published API types, and not run: no release of Envoy can be installed from a package registry.

    route                                             cluster
    endpoint, a session id on one of a node's shards  mooring-<name>: that node, else any that lives
    endpoint                                          mooring_new: those that take new sessions, by the sticky cookie;
                                                      where none does, any that lives
    everything else                                   mooring_all: in turn

No node's cluster can be called like one of ours: what follows `mooring` there is a hyphen, whatever its name is.

Both files are watched by Envoy, which wants them replaced by rename. New routes cut no stream, since the listener,
which would be drained, is in the bootstrap and never changes.

What Envoy cannot do: name a node in the cookie. It makes the cookie itself, and finds the node by a hash of it: so some
clients get another node when nodes come or go.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import yaml

from mooring.errors import ClusterError
from mooring.ingress.proxy import IDLE_SECONDS, SILENT_MINUTES, Choice, Files, beside, need_plain_nodes
from mooring.ingress.topology import COOKIE, SESSION_HEADER, Backend, Topology

Message = dict[str, Any]

NAME: Final = "envoy"
PROGRAM: Final = "Envoy 1.31 or later"
FILE: Final = "envoy.yaml"
RELOAD: Final = ""

_HEAD: Final = (
    "# Written by `mooring ingress envoy`, checked against Envoy's published API, and never run in an Envoy by us.\n"
)
_TYPES: Final = "type.googleapis.com/"
_ROUTES: Final = "mooring"
_MANY: Final = 1_000_000
"""In place of Envoy's default limit of 1,024 requests at once, each open stream being one."""

_SHARDS_IN_A_PATTERN: Final = 8
"""By default Envoy refuses a pattern that compiles to more than 100 steps, and all routes with it: a letter is one."""

_ANY_PATTERN: Final = {"re2.max_program_size.error_level": 1_000_000}
"""For paths of any length, in the bootstrap; whoever takes the parts has Envoy's default."""


def whole(topology: Topology, choice: Choice, file: Path) -> Files:
    """The bootstrap, which names the two files beside it."""
    clusters, routes = beside(file, "clusters"), beside(file, "routes")
    return {
        clusters: _dump(clusters_of(topology)),
        routes: _dump(routes_of(topology, choice)),
        file: _dump(bootstrap(choice, clusters, routes)),
    }


def part(topology: Topology, choice: Choice, file: Path) -> Files:
    """The clusters (CDS) and the routes (RDS)."""
    return {
        beside(file, "clusters"): _dump(clusters_of(topology)),
        beside(file, "routes"): _dump(routes_of(topology, choice)),
    }


def _dump(message: Message) -> str:
    return _HEAD + yaml.safe_dump(message, sort_keys=False, allow_unicode=True, width=1_000_000)


def bootstrap(choice: Choice, clusters: Path, routes: Path) -> Message:
    """The listener, and where the rest is found.

    Raises:
        ClusterError: clients are to connect at a name.
    """
    router = {"@type": f"{_TYPES}envoy.extensions.filters.http.router.v3.Router"}
    manager = {
        "@type": f"{_TYPES}envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "mooring",
        "use_remote_address": True,
        # `Mcp_Session_Id` is not `Mcp-Session-Id`, though some servers would read it so.
        "common_http_protocol_options": {"headers_with_underscores_action": "DROP_HEADER", "idle_timeout": "180s"},
        "stream_idle_timeout": _seconds(SILENT_MINUTES * 60),
        "rds": {"route_config_name": _ROUTES, "config_source": _watched(routes)},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": router}],
    }
    listener = {
        "name": "mooring",
        "address": _address(_listened_at(choice.host), int(choice.port), of_both_kinds=choice.is_of_both_kinds),
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        ],
    }
    return {
        "node": {"id": "mooring-ingress", "cluster": "mooring-ingress"},
        "static_resources": {"listeners": [listener]},
        "dynamic_resources": {"cds_config": _watched(clusters)},
        "layered_runtime": {"layers": [{"name": "mooring", "static_layer": dict(_ANY_PATTERN)}]},
    }


def _listened_at(host: str) -> str:
    try:
        return str(ipaddress.ip_address(host or "0.0.0.0"))
    except ValueError:
        raise ClusterError(
            f"Envoy listens at an address, such as 127.0.0.1:8080 or :8080 for all, and not at {host}: see --address"
        ) from None


def _watched(file: Path) -> Message:
    """Envoy watches the folder of a file, and refuses a path without one."""
    path = str(file) if file.parent.name or file.is_absolute() else f"./{file}"
    return {"path_config_source": {"path": path}, "resource_api_version": "V3"}


def clusters_of(topology: Topology) -> Message:
    """Every cluster, as an answer to Envoy's question for them (CDS)."""
    need_plain_nodes(topology, "Envoy")
    found = [_node_cluster(holder, topology) for holder in topology.holders]
    found += [_failover(f"mooring-{holder.name}", f"mooring_only-{holder.name}") for holder in topology.holders]
    found.append(_failover("mooring_new", "mooring_ready"))
    found.append(_cluster("mooring_ready", topology.ready, topology.ready_path, lb_policy="RING_HASH"))
    found.append(_cluster("mooring_all", topology.backends, topology.health_path, lb_policy="ROUND_ROBIN"))
    return {"resources": [{"@type": f"{_TYPES}envoy.config.cluster.v3.Cluster", **one} for one in found]}


def _node_cluster(holder: Backend, topology: Topology) -> Message:
    return _cluster(f"mooring_only-{holder.name}", (holder,), topology.health_path, lb_policy="ROUND_ROBIN")


def _failover(name: str, cluster: str) -> Message:
    """That cluster, or any node that lives where it has none."""
    first = {
        "@type": f"{_TYPES}envoy.extensions.clusters.aggregate.v3.ClusterConfig",
        "clusters": [cluster, "mooring_all"],
    }
    return {
        "name": name,
        "connect_timeout": "1s",
        "lb_policy": "CLUSTER_PROVIDED",
        "cluster_type": {"name": "envoy.clusters.aggregate", "typed_config": first},
    }


def _cluster(name: str, backends: tuple[Backend, ...], check_path: str, *, lb_policy: str) -> Message:
    endpoints = [{"endpoint": {"address": _address(one.host, one.port)}} for one in backends]
    options = {
        "@type": f"{_TYPES}envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        # Connections end before the 5 s after which uvicorn by itself closes them.
        "common_http_protocol_options": {"idle_timeout": _seconds(IDLE_SECONDS)},
        "explicit_http_config": {"http_protocol_options": {}},
    }
    limits = dict.fromkeys(("max_connections", "max_pending_requests", "max_requests", "max_retries"), _MANY)
    return {
        "name": name,
        "type": "STRICT_DNS",
        "connect_timeout": "1s",
        "lb_policy": lb_policy,
        # Where no node passes its check, none is asked all the same: another cluster is.
        "common_lb_config": {"healthy_panic_threshold": {"value": 0.0}},
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]},
        "health_checks": [_health_check(check_path)],
        "outlier_detection": _outlier_detection(),
        "circuit_breakers": {"thresholds": [limits]},
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options},
    }


def _health_check(path: str) -> Message:
    return {
        "timeout": "1s",
        "interval": "1s",
        "no_traffic_interval": "1s",
        "unhealthy_threshold": 1,
        "healthy_threshold": 1,
        "http_health_check": {"path": path},
    }


def _outlier_detection() -> Message:
    """A node whose connections fail is out for a second; answers of 500 and above are the app's, and say nothing."""
    return {
        "split_external_local_origin_errors": True,
        "consecutive_local_origin_failure": 1,
        "enforcing_consecutive_local_origin_failure": 100,
        "enforcing_consecutive_5xx": 0,
        "enforcing_consecutive_gateway_failure": 0,
        "enforcing_success_rate": 0,
        "enforcing_local_origin_success_rate": 0,
        "interval": "1s",
        "base_ejection_time": "1s",
        "max_ejection_time": "1s",
        "max_ejection_percent": 100,
    }


def routes_of(topology: Topology, choice: Choice) -> Message:
    """The routes, as an answer to Envoy's question for them (RDS); the first that matches wins."""
    need_plain_nodes(topology, "Envoy")
    at_endpoint = {"safe_regex": {"regex": _all_of_it(topology.path_pattern)}}
    routes = [
        _route(
            {**at_endpoint, "headers": [_header(SESSION_HEADER, _all_of_it(some.session_ids))]},
            f"mooring-{holder.name}",
        )
        for holder in topology.holders
        for some in _in_pieces(holder)
    ]
    routes.append(_route(at_endpoint, "mooring_new", hash_policy=[{"cookie": _cookie(topology, choice)}]))
    routes.append(_route({"prefix": "/"}, "mooring_all"))
    configuration = {
        "name": _ROUTES,
        "virtual_hosts": [{"name": "mooring", "domains": ["*"], "routes": routes}],
    }
    return {"resources": [{"@type": f"{_TYPES}envoy.config.route.v3.RouteConfiguration", **configuration}]}


def _in_pieces(holder: Backend) -> Iterator[Backend]:
    """The same node, with some of its shards each time."""
    for start in range(0, len(holder.shards), _SHARDS_IN_A_PATTERN):
        yield replace(holder, shards=holder.shards[start : start + _SHARDS_IN_A_PATTERN])


def _all_of_it(pattern: str) -> str:
    """Envoy's patterns have to match the whole text."""
    return f"{pattern}.*"


def _header(name: str, pattern: str) -> Message:
    return {"name": name.lower(), "string_match": {"safe_regex": {"regex": pattern}}}


def _cookie(topology: Topology, choice: Choice) -> Message:
    """Made by Envoy where a client has none. With a time to live of 0 it holds for the browser's session."""
    attributes = {"HttpOnly": "", **({"Secure": ""} if choice.secure_cookie else {}), "SameSite": "Strict"}
    return {
        "name": COOKIE,
        "ttl": "0s",
        "path": topology.cookie_path,
        "attributes": [{"name": name, **({"value": value} if value else {})} for name, value in attributes.items()],
    }


def _route(match: Message, cluster: str, hash_policy: Iterable[Message] = ()) -> Message:
    """No limit on how long a tool may run. Only a connection that failed is tried again, and elsewhere."""
    action: Message = {
        "cluster": cluster,
        "timeout": "0s",
        "idle_timeout": _seconds(SILENT_MINUTES * 60),
        "retry_policy": {
            "retry_on": "connect-failure",
            "num_retries": 5,
            "retry_back_off": {"base_interval": "0.050s", "max_interval": "0.250s"},
            "retry_host_predicate": [
                {
                    "name": "envoy.retry_host_predicates.previous_hosts",
                    "typed_config": {
                        "@type": f"{_TYPES}envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
                    },
                }
            ],
            "host_selection_retry_max_attempts": 5,
        },
    }
    if policies := list(hash_policy):
        action["hash_policy"] = policies
    return {"match": match, "route": action}


def _address(host: str, port: int, *, of_both_kinds: bool = False) -> Message:
    return {"socket_address": {"address": host, "port_value": port, **({"ipv4_compat": True} if of_both_kinds else {})}}


def _seconds(seconds: float) -> str:
    return f"{seconds:g}s"
