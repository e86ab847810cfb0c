"""The shapes of endpoints, and the servers that have them: what is tried here, and what `docs/shapes.md` shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Shape:
    """
    Attributes:
        what: the shape in words.
        endpoints: the paths that are tried, each with what its server calls itself.
        mcp_path: what tells it to the nodes and the ingress before they find out.
    """

    what: str
    endpoints: tuple[tuple[str, str], ...]
    mcp_path: str


SHAPES: Final = {
    "one": Shape("one endpoint, at `/mcp`", (("/mcp", "one"),), "/mcp"),
    "two": Shape("several in one app", (("/alpha/mcp", "alpha"), ("/beta/mcp", "beta")), "/alpha/mcp,/beta/mcp"),
    "dynamic": Shape(
        "one for each of many ids",
        (("/servers/7/mcp", "server"), ("/servers/eight/mcp", "server")),
        "/servers/{id}/mcp",
    ),
    "root": Shape("at `/`, with pages beside it", (("/", "root"),), "/"),
    "prefix": Shape("below a prefix, in an app within an app", (("/api/v1/mcp", "prefix"),), "/api/v1/mcp"),
}
"""By SHAPE of `tests/servers/shapes.py`."""

SERVERS: Final = {
    "v1": "SDK v1",
    "v2": "SDK v2",
    "fastmcp": "FastMCP 4",
    "fastapi-v1": "fastapi-mcp",
}
"""By SDK of `tests/servers/shapes.py`."""

CANNOT: Final = {("fastapi-v1", "root"): "fastapi-mcp itself takes no `/`"}

CELLS: Final = tuple((kind, shape) for shape in SHAPES for kind in SERVERS if (kind, shape) not in CANNOT)

THROUGH_TRAEFIK: Final = (
    ("v2", "two"),
    ("fastmcp", "dynamic"),
    ("v2", "root"),
    ("v1", "prefix"),
    ("fastapi-v1", "one"),
)
"""Each shape once, and each server."""
