"""What is written for each load balancer is as reviewed.

To accept a change, write it over the files, and read the difference: `python -m tests.ingress.test_golden`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mooring.ingress.catalogue import PROXIES
from mooring.ingress.proxy import Choice, Proxy
from mooring.ingress.topology import Topology
from tests.ingress.topologies import backend, replacing, three_nodes

GOLDEN = Path(__file__).parent / "golden"
LISTED = [pytest.param(proxy, id=proxy.NAME) for proxy in PROXIES]


def written(proxy: Proxy) -> Iterator[tuple[Path, str]]:
    """Three nodes as a whole, one that is being replaced as a part, and one with endpoints of all kinds."""
    plain = replacing(is_https=proxy.NAME == "traefik")
    several = Topology((backend(shards=("aaaaa",)),), endpoints=("/", "/a.b/mcp", "/s/{id}/mcp"))
    for name, files in {
        "three": proxy.whole(three_nodes(), Choice(), Path(proxy.FILE)),
        "replacing": proxy.part(plain, Choice(":443", secure_cookie=False), Path(proxy.FILE)),
        "several": proxy.whole(several, Choice("[::1]:8080"), Path(proxy.FILE)),
    }.items():
        for file, text in files.items():
            yield GOLDEN / name / file.name, text


@pytest.mark.parametrize("proxy", LISTED)
def test_the_configuration_is_as_reviewed(proxy: Proxy) -> None:
    for file, text in written(proxy):
        assert text == file.read_text(encoding="utf-8"), file


def test_no_file_is_left_over() -> None:
    files = {file for proxy in PROXIES for file, _ in written(proxy)}
    assert {file for file in GOLDEN.rglob("*") if file.is_file()} == files


if __name__ == "__main__":
    for one in PROXIES:
        for path, content in written(one):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
