"""`docs/shapes.md`, made from what the tests try: `python -m tests.shapes.page > docs/shapes.md`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from tests.e2e import test_browsers, test_workers
from tests.shapes.book import CANNOT, CELLS, SERVERS, SHAPES, THROUGH_TRAEFIK

_INTRO: Final = """\
# The shapes that work

Made from the tests that hold it: `python -m tests.shapes.page > docs/shapes.md`.

## Where the endpoint is

Each cell was tried with three nodes, no cookies, a random node for each request, ten sessions, and nothing set. A
session counts in the node that opened it, whichever node a request reaches, and is gone everywhere once it was closed.
"""

_SET: Final = """
Nothing has to be set: a path at which the app gives out a session is an endpoint from then on. The last column tells
the nodes and the ingress before that, and opens it to the web pages of `cors_origins`, which ask first.
`find_endpoints = false` keeps to that list. The cells marked **T** were tried through the Traefik of `mooring up`, too.
"""

_OTHERS: Final = """
## What else servers have

| | tried with | what to set |
|---|---|---|
"""


def markdown() -> str:
    """The whole page."""
    return _INTRO + "\n" + _endpoints() + _SET + _OTHERS + "\n".join(_others()) + "\n"


def _endpoints() -> str:
    head = ["endpoint", *SERVERS.values(), "`mcp_path`"]
    rows = (
        [shape.what, *(_cell(kind, name) for kind in SERVERS), f"`{shape.mcp_path}`"] for name, shape in SHAPES.items()
    )
    return "\n".join([_row(head), _row(["---"] * len(head)), *map(_row, rows)]) + "\n"


def _cell(kind: str, shape: str) -> str:
    if (kind, shape) not in CELLS:
        return CANNOT[kind, shape]
    return "works **T**" if (kind, shape) in THROUGH_TRAEFIK else "works"


def _others() -> Iterable[str]:
    """Each with the tests that hold it, as a link."""
    kinds = ", ".join(SERVERS[kind] for kind in test_browsers.KINDS)
    yield _other(
        "the older HTTP+SSE transport (2024-11-05)",
        "SDK v1, SDK v2, FastMCP 4",
        ("tests/node/requests/test_streaming_sdks.py", "tests/e2e/test_http_sse.py"),
        "nothing; [what to know](embedding.md#the-older-httpsse-transport)",
    )
    yield _other(
        "logins in the app (OAuth)",
        "the SDK's and FastMCP's own routes",
        ("tests/node/requests/test_gathering.py",),
        "nothing for the login; [the tokens](embedding.md#logins-in-your-app) may need a store",
    )
    yield _other(
        "web pages as clients",
        f"Chromium, with {kinds}",
        ("tests/e2e/test_browsers.py",),
        "CORS middleware in the app, or [`cors_origins`](embedding.md#web-pages)",
    )
    yield _other(
        "several workers on one port",
        ", ".join("`mooring serve --workers`" if name == "mooring" else name for name in test_workers.SERVERS),
        ("tests/e2e/test_workers.py",),
        "`redis_url` and `secret`; [more](embedding.md#several-workers-on-one-port)",
    )
    yield _other(
        "addresses of IPv6, from a variable or from an interface",
        "`mooring serve`",
        ("tests/e2e/test_addresses.py",),
        "[`advertise_url`](embedding.md#a-nodes-address), where it is not worked out",
    )


def _other(what: str, tried_with: str, tests: Sequence[str], setting: str) -> str:
    links = ", ".join(f"[{path.rpartition('/')[2]}](../{path})" for path in tests)
    return _row([what, f"{tried_with} ({links})", setting])


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    print(markdown(), end="")
