from __future__ import annotations

from typing import Any

import pytest
import yaml

from mooring.errors import ClusterError
from mooring.ingress.topology import Topology
from mooring.ingress.traefik import dump, dynamic_configuration, static_configuration
from tests.ingress.topologies import backend, three_nodes


def dynamic(topology: Topology) -> dict[str, Any]:
    http = dynamic_configuration(topology)["http"]
    assert isinstance(http, dict)
    return http


def test_what_is_dumped_is_the_data() -> None:
    configuration = dynamic_configuration(three_nodes())
    assert yaml.safe_load(dump(configuration)) == configuration


def test_there_is_no_empty_configuration() -> None:
    with pytest.raises(ClusterError, match="no node is alive"):
        dynamic_configuration(Topology(()))


def test_a_node_without_shards_has_no_router_and_takes_new_sessions() -> None:
    http = dynamic(Topology((backend(),)))
    assert set(http["routers"]) == {"mcp", "default"}
    assert set(http["services"]) == {"pool", "ready", "all", "ready-node-1", "any-node-1"}


def test_a_draining_node_keeps_its_sessions_and_gets_no_new_ones() -> None:
    http = dynamic(Topology((backend(), backend("node-2", "http://127.0.0.1:9102", ("aaaaa",), ready=False))))
    assert http["routers"]["mcp-node-2"]["service"] == "aff-node-2"
    assert [service["name"] for service in http["services"]["ready"]["weighted"]["services"]] == ["ready-node-1"]
    assert "ready-node-2" not in http["services"]


def test_the_cookie_is_for_new_sessions_alone() -> None:
    services = dynamic(three_nodes())["services"]
    sticky = {name for name, service in services.items() if "sticky" in str(service)}
    assert sticky == {"ready"}


def test_the_listening_side_can_be_chosen() -> None:
    configuration = static_configuration(
        address="127.0.0.1:9", admin_address="127.0.0.1:10", api=True, reuse_port=False, grace_seconds=12.5
    )
    web = configuration["entryPoints"]["web"]
    assert web["address"] == "127.0.0.1:9"
    assert web["reusePort"] is False
    assert web["transport"]["lifeCycle"]["graceTimeOut"] == "12.5s"
    assert configuration["api"] == {"insecure": True, "dashboard": True}
