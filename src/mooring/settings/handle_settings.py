"""Handles of the modern era (revision 2026-07-28): how they are found, wrapped, and how long they last."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from mooring.core.marking import plain
from mooring.core.wrap_rules import WrapRule, read_rules
from mooring.settings.kinds import HandleRules, ParameterNames, PlacementKey


class HandleSettings(BaseModel):
    """What names state where there are no sessions."""

    handles: HandleRules = Field(
        "",
        description="Ids that the server gives out by itself, to be wrapped so that calls with them come back: in "
        'mooring.toml handles = [{mint = "create_session", field = "session_id", use = ["session_id"]}], elsewhere the '
        "same in JSON. mint is a tool, field is where in its result the id stands (names joined by dots, * for each of "
        "a list; none where the whole text is the id), use are the arguments that take it.",
    )
    tasks: Literal["node", "shared"] = Field(
        "shared",
        description="Where the server's tasks are: in the process that began them (node), whose ids are wrapped so "
        "that requests for them come back, or in a store that all nodes share. A FastMCP app whose docket is in memory "
        "is seen to be the former, unless this is set.",
    )
    request_state: Literal["node", "shared"] = Field(
        "shared",
        description="Who can open the requestState that a server hands to clients: the process that sealed it (node), "
        "to which it is brought back, or all nodes. Servers of SDK v2 and FastMCP are given one key for all.",
    )
    handle_params: ParameterNames = Field(
        "",
        description="Headers Mcp-Param-NAME that carry handles, by their NAME, joined by commas: what the tools' "
        "schemas say with x-mcp-header. A generated ingress routes by them.",
    )
    mark_handle_params: bool = Field(
        False,
        description="Whether arguments of tools that have the name of a header in handle_params are marked with "
        "x-mcp-header in tools/list answers of revision 2026-07-28, where the server does not do it itself.",
    )
    placement_key: PlacementKey = Field(
        "",
        description="What keeps the calls of one conversation together before any handle exists, where a host says it: "
        "a header (header:X-Conversation-Id) or a name in _meta (meta:example.org/conversation).",
    )
    placement_idle_seconds: float = Field(
        3600.0,
        ge=1,
        le=30 * 24 * 3600,
        description="How long a placement key that no call has is remembered.",
    )
    handle_idle_seconds: float = Field(
        1800.0,
        gt=0,
        le=30 * 24 * 3600,
        description="How long a handle that the server minted (new_handle) may go unused before it ends.",
    )
    handle_search_bytes: int = Field(
        1024 * 1024,
        ge=1024,
        le=64 * 1024**2,
        description="How large the body of a request on no session may be for handles to be looked for in it; it is "
        "held in memory for that.",
    )
    mixed_handles: Literal["first", "refuse"] = Field(
        "first",
        description="What becomes of a call that names handles of several nodes: it goes to the node of the first one, "
        "or it is refused.",
    )

    @property
    def wrap_rules(self) -> tuple[WrapRule, ...]:
        """What `handles` says."""
        return read_rules(self.handles)

    @property
    def handle_headers(self) -> tuple[str, ...]:
        """The headers that carry handles."""
        return tuple(f"Mcp-Param-{name}" for name in self.handle_names)

    @property
    def handle_names(self) -> tuple[str, ...]:
        """What the schemas of tools call these headers."""
        return tuple(name for name in self.handle_params.split(",") if name)

    @property
    def hidden_arguments(self) -> tuple[str, ...]:
        """Arguments of `handles` that no header of `handle_params` says: an ingress cannot route by them."""
        said = {plain(name) for name in self.handle_names}
        taken = {argument for rule in self.wrap_rules for argument in rule.use}
        return tuple(sorted(argument for argument in taken if plain(argument) not in said))
