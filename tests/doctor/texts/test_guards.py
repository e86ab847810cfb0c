"""The texts on refusals, guards, bodies and headers: whole, for proxies that there are, and readable by them."""

from __future__ import annotations

import json
import re
from typing import Final

import pytest
import yaml

from mooring.doctor.advice import ANY, Topic, _texts, advice
from mooring.doctor.proxies import Proxy
from tests.deployments import haproxy
from tests.doctor.odd import running_odd

OURS: Final = (Topic.MISSING_SESSION, Topic.ORIGIN, Topic.HOST, Topic.BODY_LIMIT, Topic.HEADERS, Topic.OVERSIZED_BODY)
FILLED: Final = {
    Topic.ORIGIN: {"origin": "https://mcp.example.com"},
    Topic.HOST: {"authority": "mcp.example.com"},
}


@pytest.mark.parametrize("topic", OURS)
def test_each_table_is_of_a_proxy_that_is_recognised(topic: Topic) -> None:
    assert ANY in _texts(topic)
    assert set(_texts(topic)) <= {ANY, *(proxy.key for proxy in Proxy)}


@pytest.mark.parametrize("topic", OURS)
@pytest.mark.parametrize("proxy", [None, *Proxy])
def test_each_text_is_filled_in_whole(topic: Topic, proxy: Proxy | None) -> None:
    change = advice(topic, proxy, **FILLED.get(topic, {}))
    assert re.fullmatch(r"[A-Z].*\.", change.what)
    assert not re.search(r"\{(origin|authority)\}", change.what + change.config)


@pytest.mark.parametrize("topic", [Topic.BODY_LIMIT, Topic.HEADERS])
def test_every_proxy_has_a_text_of_its_own(topic: Topic) -> None:
    assert set(_texts(topic)) == {ANY, *(proxy.key for proxy in Proxy)}


@pytest.mark.parametrize("topic", [Topic.BODY_LIMIT, Topic.HEADERS, Topic.HOST])
@pytest.mark.parametrize("proxy", [Proxy.TRAEFIK, Proxy.ENVOY])
def test_what_is_written_in_yaml(topic: Topic, proxy: Proxy) -> None:
    if proxy.key in _texts(topic):
        assert yaml.safe_load(advice(topic, proxy, **FILLED.get(topic, {})).config)


def test_the_rule_of_aws_waf_is_json() -> None:
    assert json.loads(advice(Topic.BODY_LIMIT, Proxy.ALB).config)["Name"] == "SizeRestrictions_BODY"


@pytest.mark.real
@pytest.mark.parametrize("topic", [Topic.BODY_LIMIT, Topic.HEADERS, Topic.ORIGIN, Topic.HOST, Topic.OVERSIZED_BODY])
async def test_what_is_advised_is_read_by_haproxy(topic: Topic) -> None:
    lines = advice(topic, Proxy.HAPROXY, **FILLED.get(topic, {})).config.splitlines()
    async with running_odd() as odd, haproxy.running_haproxy([odd.url], frontend=lines) as base:
        assert base
