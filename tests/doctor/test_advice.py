"""How a text becomes a change; what the texts say is tested in `texts/`."""

from __future__ import annotations

from importlib.resources import files

import pytest

from mooring.doctor.advice import ANY, Topic, _texts, advice
from mooring.doctor.proxies import Proxy


def test_every_topic_has_its_file_and_every_file_its_topic() -> None:
    names = {path.name for path in (files("mooring.doctor") / "texts").iterdir()}
    assert names == {f"{topic}.toml" for topic in Topic}


@pytest.mark.parametrize("topic", Topic)
def test_every_file_has_a_text_for_all_proxies_and_others_for_known_ones(topic: Topic) -> None:
    assert ANY in _texts(topic)
    assert set(_texts(topic)) <= {ANY, *(proxy.key for proxy in Proxy)}


def test_a_proxy_without_a_text_of_its_own_gets_that_for_all() -> None:
    assert advice(Topic.MISSING_SESSION, Proxy.CADDY) == advice(Topic.MISSING_SESSION, None)
    assert advice(Topic.BODY_LIMIT, Proxy.CADDY) != advice(Topic.BODY_LIMIT, None)


def test_braces_are_filled_in_and_others_are_left() -> None:
    change = advice(Topic.COOKIE, Proxy.CADDY, path="/mcp", attribute="; Secure")
    assert 'Set-Cookie "Path=/" "Path=/mcp; HttpOnly; Secure"' in change.config
    assert change.config.startswith("header {\n")
