"""Advice is for the hop that does it."""

from __future__ import annotations

import pytest

from mooring.doctor.checks.hops import buffering_changes, compression_changes
from mooring.doctor.proxies import Proxy


@pytest.mark.parametrize("proxy", [None, *Proxy])
def test_there_is_always_a_change(proxy: Proxy | None) -> None:
    for changes in (buffering_changes(proxy), compression_changes(proxy)):
        assert changes
        assert all(change.what.endswith(".") or change.what.endswith(")") for change in changes)


def test_nobody_is_told_to_change_haproxy_for_what_it_never_does() -> None:
    first, second = buffering_changes(Proxy.HAPROXY, (Proxy.NGINX,))
    assert "the fault is behind it" in first.what
    assert "proxy_buffering off" in second.config


def test_nginx_may_have_what_is_advised() -> None:
    own, behind = buffering_changes(Proxy.NGINX)
    assert "proxy_buffering off" in own.config
    assert behind.what.startswith("Where nginx has this already, the fault is behind it")


def test_traefik_does_it_only_where_it_was_told_to() -> None:
    behind, own = buffering_changes(Proxy.TRAEFIK)
    assert "look behind it first" in behind.what
    assert "buffering" in own.what


def test_compression_may_be_the_servers_own() -> None:
    own, others = compression_changes(Proxy.NGINX)
    assert "gzip_types" in own.config
    assert "the server" in others.what
    assert len(compression_changes(None)) == 1
