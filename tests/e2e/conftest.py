from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.bare import ServerKind
from tests.e2e.clusters import Cluster, running_cluster
from tests.node.conftest import raw

__all__ = ["raw"]


@pytest.fixture(scope="session", params=["v1", "v2", "fastmcp"])
def any_cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Three nodes of a test server of each SDK generation; shared, so nothing in it may be killed."""
    kind: ServerKind = request.param
    with running_cluster(kind, "--insecure-cookies") as cluster:
        yield cluster


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Three nodes of the SDK v2 server, for one module; whoever kills something waits until it is whole again."""
    with running_cluster("v2") as running:
        yield running
