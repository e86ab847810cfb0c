"""Traefik's routers as objects of Kubernetes, against Traefik's own definitions of them. None was ever applied."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from mooring.errors import ClusterError
from mooring.ingress import traefik_kubernetes
from mooring.ingress.proxy import Choice
from mooring.ingress.topology import Topology
from mooring.ingress.traefik import dynamic_configuration
from tests.ingress.topologies import backend, replacing, three_nodes

HERE = Path(__file__).parent
DEFINED: dict[str, Any] = json.loads((HERE / "traefik_objects.json").read_text())
FILE = Path("traefik-objects.yaml")
SEVERAL = Topology(
    (
        backend("web_1", "http://10.0.0.1:8001", ("aaaaa",)),
        backend("a" * 80, "http://[fd00::2]:8000", ("bbbbb",), ready=False),
        backend("a" * 79, "http://10.0.0.3"),
    ),
    endpoints=("/a/mcp", "/s/{id}/mcp"),
)
KINDS: dict[str, Any] = {"integer": int, "string": str, "boolean": bool, "integer or string": (int, str)}


def objects(topology: Topology, choice: Choice | None = None) -> list[dict[str, Any]]:
    [text] = traefik_kubernetes.whole(topology, choice or Choice(), FILE).values()
    return list(yaml.safe_load_all(text))


def of_kind(kind: str, topology: Topology) -> list[dict[str, Any]]:
    return [one for one in objects(topology) if one["kind"] == kind]


def fits(value: Any, defined: Any, at: str) -> None:
    """Each field is one that Traefik defines, and of its type."""
    if isinstance(defined, list):
        assert isinstance(value, list), at
        for one in value:
            fits(one, defined[0], at)
    elif isinstance(defined, dict):
        for name, inner in value.items():
            assert name in defined, f"{at}.{name}"
            fits(inner, defined[name], f"{at}.{name}")
    else:
        assert isinstance(value, KINDS[defined]), (at, value)


@pytest.mark.parametrize("topology", [three_nodes(), SEVERAL], ids=["three", "several"])
def test_each_object_is_as_it_is_defined(topology: Topology) -> None:
    found = objects(topology)
    for one in found:
        if one["apiVersion"] == "traefik.io/v1alpha1":
            fits(one["spec"], DEFINED[one["kind"]], one["kind"])
        else:
            kubernetes_validate.validate(one, "1.34", strict=True)
    assert {one["metadata"]["labels"]["app.kubernetes.io/managed-by"] for one in found} == {"mooring-ingress"}
    names = [(one["kind"], one["metadata"]["name"]) for one in found]
    assert len(set(names)) == len(names)
    assert all(len(name) <= 63 for _, name in names)


def test_a_field_that_there_is_not_is_found() -> None:
    with pytest.raises(AssertionError, match=r"retry\.atempts"):
        fits({"retry": {"atempts": 1}}, DEFINED["Middleware"], "Middleware")
    with pytest.raises(AssertionError):
        fits({"retry": {"attempts": "x"}}, DEFINED["Middleware"], "Middleware")


def test_the_routers_are_those_of_the_dynamic_file() -> None:
    [route] = of_kind("IngressRoute", three_nodes())
    routers = dynamic_configuration(three_nodes())["http"]["routers"].values()
    assert [(one["match"], one["priority"]) for one in route["spec"]["routes"]] == [
        (router["rule"], router["priority"]) for router in routers
    ]


def test_whatever_is_referred_to_is_there() -> None:
    found = {(one["kind"], one["metadata"]["name"]) for one in objects(SEVERAL)}
    [route], [ready] = of_kind("IngressRoute", SEVERAL), of_kind("TraefikService", SEVERAL)
    services = [one for rule in route["spec"]["routes"] for one in rule["services"]]
    services += ready["spec"]["weighted"]["services"]
    for service in services:
        assert (service["kind"], service["name"]) in found
        assert ("ServersTransport", service.get("serversTransport", "mooring")) in found
    for rule in route["spec"]["routes"]:
        assert {("Middleware", one["name"]) for one in rule["middlewares"]} <= found
    slices = {one["metadata"]["labels"]["kubernetes.io/service-name"] for one in of_kind("EndpointSlice", SEVERAL)}
    assert slices == {one["metadata"]["name"] for one in of_kind("Service", SEVERAL)}


def test_a_node_that_takes_no_new_sessions_is_in_its_own_router_alone() -> None:
    [ready] = of_kind("TraefikService", SEVERAL)
    assert len(ready["spec"]["weighted"]["services"]) == 2
    [cookie] = [ready["spec"]["weighted"]["sticky"]["cookie"]]
    assert (cookie["name"], cookie["path"], cookie["secure"]) == ("_mcp_backend", "/", True)


def test_addresses_of_both_kinds() -> None:
    found = {one["addressType"]: one["endpoints"][0]["addresses"] for one in of_kind("EndpointSlice", SEVERAL)}
    assert found["IPv6"] == ["fd00::2"]
    assert found["IPv4"] == ["10.0.0.3"]


@pytest.mark.parametrize("topology", [replacing(), replacing(is_https=False), Topology(())])
def test_what_kubernetes_cannot_hold_is_refused(topology: Topology) -> None:
    with pytest.raises(ClusterError):
        objects(topology)
