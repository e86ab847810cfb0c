"""Envoy's configuration against its published API types: no Envoy runs here.

`envoy-data-plane` has a class for each message. Reading one refuses fields that there are not, and values of the wrong
kind; what was read is written out again and compared, so that nothing was passed over. The rules that Envoy checks
beyond the types, and what it then does, are not tried.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import betterproto2
import pytest
import yaml

from mooring.errors import ClusterError
from mooring.ingress import envoy
from mooring.ingress.proxy import Choice
from mooring.ingress.topology import Topology
from tests.ingress.topologies import backend, replacing, three_nodes

_DEFAULTS: tuple[Any, ...] = ({}, [], "", 0, None, False, "ROUND_ROBIN")
TYPE = "type.googleapis.com/"

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the package's own


def checked(message: Any) -> Any:
    """The message without its typed parts, each of which was checked by itself."""
    if isinstance(message, list):
        return [checked(one) for one in message]
    if not isinstance(message, dict):
        return message
    inner = {name: checked(value) for name, value in message.items()}
    if "@type" not in inner:
        return inner
    check(inner.pop("@type"), inner)
    return {}


def check(kind: str, message: dict[str, Any]) -> None:
    package, _, name = kind.removeprefix(TYPE).rpartition(".")
    found: type[betterproto2.Message] = getattr(importlib.import_module(f"envoy_data_plane.{package}"), name)
    bare = without_empty(message)
    read = found.from_dict(bare)
    assert without_empty(read.to_dict(casing=betterproto2.Casing.SNAKE)) == bare, kind


def without_empty(message: Any) -> Any:
    """A field that has its default value is the same as none; JSON has long numbers as text."""
    if isinstance(message, str) and message.isdecimal():
        return int(message)
    if isinstance(message, list):
        return [without_empty(one) for one in message]
    if not isinstance(message, dict):
        return message
    bare = {name: without_empty(value) for name, value in message.items()}
    return {name: value for name, value in bare.items() if value not in _DEFAULTS}


@pytest.mark.parametrize(
    "topology", [three_nodes(), replacing(is_https=False), Topology((backend(),), ("/", "/s/{id}/mcp"))]
)
@pytest.mark.parametrize("secure", [True, False])
def test_every_file_is_of_the_published_types(topology: Topology, secure: bool) -> None:
    files = envoy.whole(topology, Choice(secure_cookie=secure), Path("envoy.yaml"))
    clusters, routes, bootstrap = (yaml.safe_load(text) for text in files.values())
    for resource in (*clusters["resources"], *routes["resources"]):
        assert checked(resource) == {}
    check("envoy.config.bootstrap.v3.Bootstrap", checked(bootstrap))


def test_a_field_that_there_is_not_is_found() -> None:
    with pytest.raises(KeyError, match="no_such_field"):
        check("envoy.config.bootstrap.v3.Bootstrap", {"no_such_field": 1})


def test_the_bootstrap_names_the_files_beside_it() -> None:
    files = envoy.whole(three_nodes(), Choice(), Path("/etc/envoy/envoy.yaml"))
    clusters, routes, last = files
    text = files[last]
    assert (clusters.name, routes.name, last.name) == ("envoy-clusters.yaml", "envoy-routes.yaml", "envoy.yaml")
    assert f"path: {clusters}\n" in text
    assert f"path: {routes}\n" in text


def test_every_cluster_that_is_routed_to_is_there() -> None:
    clusters = {one["name"] for one in envoy.clusters_of(three_nodes())["resources"]}
    [routes] = envoy.routes_of(three_nodes(), Choice())["resources"]
    used = [route["route"]["cluster"] for route in routes["virtual_hosts"][0]["routes"]]
    assert set(used) <= clusters
    assert used == ["mooring-node-1", "mooring-node-2", "mooring-node-3", "mooring_new", "mooring_all"]
    for one in envoy.clusters_of(three_nodes())["resources"]:
        assert set(one.get("cluster_type", {}).get("typed_config", {}).get("clusters", [])) <= clusters


def test_nodes_over_https_are_refused() -> None:
    with pytest.raises(ClusterError, match="configured for nodes over http"):
        envoy.clusters_of(replacing())


def patterns(message: Any) -> list[str]:
    """Every regular expression in it."""
    if isinstance(message, list):
        return [pattern for one in message for pattern in patterns(one)]
    if not isinstance(message, dict):
        return []
    own = [message["safe_regex"]["regex"]] if "safe_regex" in message else []
    return [*own, *(pattern for one in message.values() for pattern in patterns(one))]


def test_no_pattern_is_longer_than_envoy_takes() -> None:
    """By default it refuses all routes where one pattern compiles to more than 100 steps: a letter is one."""
    shards = tuple(f"{first}{second}aaa" for first in "abcdefgh" for second in "abcdefgh")
    [routes] = envoy.routes_of(Topology((backend(shards=shards),)), Choice())["resources"]
    assert max(map(len, patterns(routes))) < 80
    headers = str([route["match"].get("headers") for route in routes["virtual_hosts"][0]["routes"]])
    assert all(shard in headers for shard in shards)


def test_files_are_watched_by_paths_with_a_folder() -> None:
    """Envoy watches the folder of a file, and refuses a path that names none."""
    files = envoy.whole(three_nodes(), Choice(), Path("envoy.yaml"))
    assert "path: ./envoy-clusters.yaml\n" in files[Path("envoy.yaml")]
    assert "path: ./envoy-routes.yaml\n" in files[Path("envoy.yaml")]


def test_a_listener_is_at_an_address_and_not_at_a_name() -> None:
    with pytest.raises(ClusterError, match=r"Envoy listens at an address.* not at localhost"):
        envoy.whole(three_nodes(), Choice("localhost:8080"), Path("envoy.yaml"))
