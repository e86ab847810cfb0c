from __future__ import annotations

import pytest

from mooring.doctor.checks.idle import judge
from mooring.doctor.evidence.heard import Heard
from mooring.doctor.evidence.stream_probes import Probes
from mooring.doctor.findings import Finding
from mooring.doctor.proxies import Proxy
from tests.doctor.heard import cut, pings, refused

NO_PROBES = Probes()


def judged(heard: Heard, probes: Probes = NO_PROBES, proxy: Proxy | None = None) -> Finding:
    found = judge(heard, probes, proxy, str)
    assert isinstance(found, Finding)
    assert len(found.says) <= 90
    return found


@pytest.mark.parametrize(
    ("heard", "probes", "proxy", "lines"),
    [
        (cut(60.0), NO_PROBES, Proxy.NGINX, ["proxy_read_timeout 1h"]),
        (cut(60.0), NO_PROBES, Proxy.HAPROXY, ["timeout server 1h"]),
        (cut(60.0), NO_PROBES, Proxy.TRAEFIK, ["writeTimeout: 0s"]),
        (cut(15.0), NO_PROBES, Proxy.ENVOY, ["idle_timeout: 0s", "timeout: 0s"]),
        (cut(60.0), NO_PROBES, Proxy.ALB, ["idle_timeout.timeout_seconds"]),
        (cut(30.0), NO_PROBES, Proxy.GCLB, ["--timeout=86400"]),
        (cut(60.0), NO_PROBES, None, ["", ""]),
        (cut(29.0, *pings(15.0)), NO_PROBES, Proxy.CADDY, ["write 0"]),
        (refused(504, seconds=5.0), NO_PROBES, Proxy.NGINX, ["proxy_read_timeout 1h", "proxy_buffering off"]),
    ],
)
def test_what_to_change(heard: Heard, probes: Probes, proxy: Proxy | None, lines: list[str]) -> None:
    found = judged(heard, probes, proxy)
    assert len(found.changes) == len(lines)
    for change, line in zip(found.changes, lines, strict=True):
        assert line in change.config


def test_a_time_that_is_not_the_fronts_own_may_be_of_what_is_behind_it() -> None:
    assert "or something behind nginx has it" in judged(cut(20.0), proxy=Proxy.NGINX).why
    assert "behind nginx" not in judged(cut(60.0), proxy=Proxy.NGINX).why
    assert "default of" not in judged(cut(20.0), proxy=Proxy.HAPROXY).why, "it has none"
