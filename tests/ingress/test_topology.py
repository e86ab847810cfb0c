from __future__ import annotations

import pytest

from mooring.errors import SettingsError
from mooring.ingress.topology import Backend, Topology
from tests.ingress.topologies import backend, three_nodes


def test_keeps_what_it_was_given() -> None:
    topology = three_nodes()
    assert [node.name for node in topology.backends] == ["node-1", "node-2", "node-3"]
    assert topology.backends[0].shards == ("aaaaa", "bbbbb")


@pytest.mark.parametrize(
    "name", ["", "Node", "node 1", "node`", "-node", "node.1", "n" * 129, "node@file", "nöde", "node\n"]
)
def test_refuses_a_name_that_is_no_service_name(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        backend(name=name)


@pytest.mark.parametrize("shard", ["", "aaaa", "aaaaaa", "aaaa1", "AAAAA", "a|b|c", "aaaa.", "aaaa`", "aaaaa\n"])
def test_refuses_a_shard_of_another_form(shard: str) -> None:
    with pytest.raises(ValueError, match="shard"):
        backend(shards=(shard,))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:80",
        "ftp://127.0.0.1",
        "unix:///tmp/x",
        "http://",
        "http://:80",
        "http://127.0.0.1:0",
        "http://127.0.0.1:99999",
        "http://127.0.0.1/mcp",
        "http://127.0.0.1?x",
        "http://127.0.0.1#x",
        "http://user:secret@127.0.0.1",
        "http://127.0.0.1 ",
        "http://127.0.0.1\n",
        "http://a`b",
        "http://[::1",
    ],
)
def test_refuses_a_url_that_is_more_or_less_than_an_origin(url: str) -> None:
    with pytest.raises(ValueError, match="URL"):
        backend(url=url)


@pytest.mark.parametrize(
    "url", ["http://10.0.0.7:8000", "https://node-1.nodes.svc", "http://[::1]:8000", "http://my_node:80"]
)
def test_takes_hosts_of_all_kinds(url: str) -> None:
    assert backend(url=url).url == url


@pytest.mark.parametrize(
    "path",
    ["", "mcp", "/mcp/", "/m`cp", "/mcp;x", "/mcp?x", "/mcp x", "/a//b", "/m%63p", "/mcp\n", "/{x", "/{}", "/{a/b}"],
)
def test_refuses_a_path_that_has_no_place_in_a_rule_or_a_cookie(path: str) -> None:
    with pytest.raises(SettingsError, match="mcp_path"):
        Topology((), endpoints=(path,))


def test_refuses_the_same_name_twice() -> None:
    with pytest.raises(ValueError, match="'node-1' is there twice"):
        Topology((backend(), backend(url="http://127.0.0.1:9102")))


def test_refuses_the_same_shard_twice() -> None:
    with pytest.raises(ValueError, match="'aaaaa' is there twice"):
        Topology((backend(shards=("aaaaa",)), Backend("node-2", "http://127.0.0.1:9102", ("aaaaa",), True)))


def test_new_sessions_go_to_ready_backends() -> None:
    draining = backend("node-2", ready=False)
    assert Topology((backend(), draining)).ready == (backend(),)


def test_new_sessions_may_go_anywhere_where_none_says_it_is_ready() -> None:
    draining = backend(ready=False)
    assert Topology((draining,)).ready == (draining,)
