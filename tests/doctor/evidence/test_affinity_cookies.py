from __future__ import annotations

import pytest

from mooring.doctor.evidence.affinity_cookies import is_affinity, owner_of
from mooring.doctor.evidence.set_cookie import SetCookie, parse
from mooring.doctor.proxies import Proxy

NOW = 1_800_000_000.0


def cookie(line: str) -> SetCookie:
    parsed = parse(line, NOW)
    assert parsed is not None
    return parsed


@pytest.mark.parametrize(
    ("line", "owner"),
    [
        ("AWSALB=x", Proxy.ALB),
        ("AWSALBCORS=x", Proxy.ALB),
        ("AWSALBAPP-0=x", Proxy.ALB),
        ("AWSALBUM=x", None),
        ("ARRAffinity=x", Proxy.AZURE),
        ("acaAffinity=x", Proxy.AZURE),
        ("GCLB=x", Proxy.GCLB),
        ("__cflb=x", Proxy.CLOUDFLARE),
        ("__cf_bm=x", None),
        ("_7d571=3eb75654c8788677", Proxy.TRAEFIK),
        ("_7d571=hello world", None),
        ("_abcdef=3eb75654c8788677", None),
        ("SERVERID=node-1", None),
    ],
)
def test_whose_cookie_it_is(line: str, owner: Proxy | None) -> None:
    assert owner_of(cookie(line)) is owner


@pytest.mark.parametrize(
    ("line", "values", "helps", "others", "expected"),
    [
        ("AWSALB=x", ["a", "b"], False, [], True),
        ("SERVERID=node-1", ["node-1"], False, [], True),
        ("_mcp_backend=x", ["x"], False, [], True),
        ("mcp-node=x", ["x"], False, [], True),
        ("session_affinity=x", ["x"], False, [], True),
        ("lb=x", ["x"], False, [], True),
        ("theme=x", ["x", "x", "y", "y"], False, [], False),
        ("session=x", ["x", "x", "y", "y"], True, [], False),
        ("__cf_bm=x", ["x", "x", "y", "y"], True, [], False),
        ("X=x", ["x", "x", "y", "y"], False, [], True),
        ("X=x", ["x", "y", "z", "x"], False, [], False),
        ("X=x", ["x", "x", "x", "x"], False, [], False),
        ("X=x", ["x", "y"], True, [], True),
        ("X=x", ["x", "y"], True, ["Y"], False),
        ("obfuscated=x", ["x"], False, [], False),
    ],
)
def test_what_the_load_balancer_goes_by(
    line: str, values: list[str], helps: bool, others: list[str], expected: bool
) -> None:
    one = cookie(line)
    assert is_affinity(one, values, helps=helps, names=[one.name, *others]) is expected
