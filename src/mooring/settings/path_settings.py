"""Which paths Mooring handles, and whose requests go to one node; its pages."""

from __future__ import annotations

from pydantic import BaseModel, Field

from mooring.core.one_node import LOGIN
from mooring.settings.kinds import EndpointPaths, OneNodePathList, Origins, PagePath, Token


class PathSettings(BaseModel):
    """What is served where."""

    mcp_path: EndpointPaths = Field(
        "/mcp",
        description="The path of the MCP endpoint, or several joined by commas; `{id}` in a path stands for any one "
        "part of it. Mooring handles them and all below them. A server object gets the first one.",
    )
    find_endpoints: bool = Field(
        True,
        description="Whether a path at which the app gives out a session becomes an endpoint as well, from then on. "
        "Without it Mooring handles those of mcp_path alone, and passes all else through.",
    )
    one_node_paths: OneNodePathList = Field(
        LOGIN,
        description="Paths, joined by commas, whose requests all go to one node, the same for the whole cluster; /x/* "
        "is all below /x. `login` stands for the routes of a login, where the app has one: its clients, codes and "
        "tokens are in the memory of one process.",
    )
    cors_origins: Origins = Field(
        "",
        description="Which web pages may call the MCP endpoints and read what is answered, by Mooring or by an app "
        "that says nothing of CORS itself: origins joined by commas, or `*`. Without it, those that the app allows.",
    )
    health_path: PagePath = Field("/healthz", description="Answers 200 while the process is alive.")
    ready_path: PagePath = Field(
        "/readyz", description="Answers 200 while the node takes new sessions, otherwise 503 and why not."
    )
    status_path: PagePath = Field(
        "/mooring/status",
        description="Answers anyone who sends status_token with the status page in JSON; the app's where none is set.",
    )
    status_token: Token | None = Field(
        None,
        description="Anyone who sends it as a bearer token may read the status page, and Traefik its configuration; "
        "without it there are no such pages.",
    )
    traefik_path: PagePath = Field(
        "/mooring/traefik",
        description="Answers anyone who sends status_token with a configuration of Traefik, for its HTTP provider.",
    )

    @property
    def endpoints(self) -> tuple[str, ...]:
        """The paths and patterns of `mcp_path`."""
        return tuple(self.mcp_path.split(","))

    @property
    def bound_paths(self) -> tuple[str, ...]:
        """The entries of `one_node_paths`."""
        return tuple(self.one_node_paths.split(",")) if self.one_node_paths else ()

    @property
    def web_origins(self) -> tuple[str, ...]:
        """The entries of `cors_origins`."""
        return tuple(self.cors_origins.split(",")) if self.cors_origins else ()

    @property
    def main_endpoint(self) -> str:
        """The first of them that is one path: where a server object's endpoint comes out."""
        return next((path for path in self.endpoints if "{" not in path), "/mcp")
