"""The configuration lines on streams, as the programs themselves read them."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from mooring.doctor.advice import Topic, advice
from mooring.doctor.proxies import Proxy
from tests.deployments.configuration import check, find
from tests.ports import free_port

TOPICS = (Topic.IDLE, Topic.LIFETIME, Topic.BUFFERING, Topic.COMPRESSION)


@pytest.mark.parametrize("topic", TOPICS)
@pytest.mark.parametrize("proxy", [*Proxy, None])
def test_there_is_a_text_for_everyone(topic: Topic, proxy: Proxy | None) -> None:
    change = advice(topic, proxy)
    assert change.what.endswith((".", ".)"))
    assert all(len(line) <= 80 for line in change.config.splitlines())
    assert "{" not in change.what


@pytest.mark.parametrize(
    ("topic", "proxy"),
    [
        (Topic.IDLE, Proxy.ENVOY),
        (Topic.LIFETIME, Proxy.ENVOY),
        (Topic.LIFETIME, Proxy.TRAEFIK),
        (Topic.BUFFERING, Proxy.TRAEFIK),
        (Topic.COMPRESSION, Proxy.TRAEFIK),
        (Topic.COMPRESSION, Proxy.ENVOY),
    ],
)
def test_what_is_yaml_can_be_read(topic: Topic, proxy: Proxy) -> None:
    assert isinstance(yaml.safe_load(advice(topic, proxy).config), dict)


@pytest.mark.real
@pytest.mark.parametrize("topic", [Topic.IDLE, Topic.BUFFERING, Topic.COMPRESSION])
async def test_nginx_takes_it(topic: Topic, tmp_path: Path) -> None:
    written = tmp_path / "nginx.conf"
    config = advice(topic, Proxy.NGINX).config
    written.write_text(
        "pid nginx.pid;\nevents {\n}\nhttp {\n"
        + "".join(f"{name}_temp_path {name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        + f"server {{\nlisten 127.0.0.1:{free_port()};\n{config}\n}}\n}}\n"
    )
    await check(find("nginx"), "-e", "stderr", "-p", tmp_path, "-c", written, "-t")


@pytest.mark.real
@pytest.mark.parametrize("topic", [Topic.IDLE, Topic.BUFFERING, Topic.COMPRESSION])
async def test_haproxy_takes_it(topic: Topic, tmp_path: Path) -> None:
    written = tmp_path / "haproxy.cfg"
    config = advice(topic, Proxy.HAPROXY).config
    times = "timeout connect 2s\ntimeout client 1m\ntimeout server 1m\n"
    written.write_text(
        f"defaults base\nmode http\n{times}{config.replace('defaults', 'defaults more from base')}\n"
        f"frontend web\nbind 127.0.0.1:{free_port()}\nmode http\n{times.replace('timeout connect 2s', '')}"
    )
    await check(find("haproxy"), "-c", "-f", written)
