"""All settings of a node, each with its default and its meaning.

A setting comes from, in this order: an argument or a flag, the environment (`MOORING_` and its name in capitals),
the file `mooring.toml` (or the one that `MOORING_SETTINGS_FILE` names), the default. A secret may be in a file of its
own, named in the environment: `MOORING_SECRET_FILE`.
"""

from __future__ import annotations

import os
import re
import socket
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from mooring.core.endpoints import Endpoints
from mooring.core.masking import masked_setting
from mooring.core.one_node import LOGIN
from mooring.errors import SettingsError
from mooring.secret_files import from_secret_files

ENV_PREFIX: Final = "MOORING_"
SETTINGS_FILE_VARIABLE: Final = "MOORING_SETTINGS_FILE"
DEFAULT_SETTINGS_FILE: Final = "mooring.toml"

SECRET_FILES: Final = ("secret", "status_token", "redis_url")
"""Those that may be in files of their own."""

_SECRETS: Final = frozenset({"secret", "status_token"})
_REDIS_SCHEMES: Final = frozenset(
    {"redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster"}
)
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_NODE_URL = re.compile(r"https?://[^\s/?#@]+/?", re.ASCII | re.IGNORECASE)
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^\s/?#@,]+", re.ASCII)
_TOKEN = re.compile(r"[!-~]{16,}", re.ASCII)
_ENDPOINT = re.compile(r"(/(\{[A-Za-z_][A-Za-z0-9_]*\}|[^\x00-\x20\x7f-\U0010ffff`?#/,{}])+)+")
_HOST = re.compile(r"[A-Za-z0-9._:-]+", re.ASCII)
_PORTS = re.compile(r"any|\d{1,5}(-\d{1,5})?", re.ASCII)
_ONE_NODE_PATH = re.compile(r"(/[^\x00-\x20\x7f-\U0010ffff`?#/,{}*]+)*(/[^\x00-\x20\x7f-\U0010ffff`?#/,{}*]+|/\*)")
_KEY_PREFIX = re.compile(r"[A-Za-z0-9_.-]+(:[A-Za-z0-9_.-]+)*", re.ASCII)


def _path(value: str) -> str:
    if not value.startswith("/") or value == "/" or value.endswith("/") or re.search(r"[^!-~]|[`?#]", value):
        raise ValueError("a path such as /mcp: it starts with a slash, does not end with one, and has no query")
    return value


def _endpoints(value: str) -> str:
    paths = [path.strip(" ") for path in value.split(",")]
    for path in paths:
        if path != "/" and not _ENDPOINT.fullmatch(path):
            raise ValueError(
                "a path such as /mcp, or several joined by commas (/a/mcp,/s/{id}/mcp): each starts with a slash, does "
                "not end with one, and has no query; {id} stands for one part of it"
            )
    return ",".join(paths)


def _one_node_paths(value: str) -> str:
    paths = [path.strip(" ") for path in value.split(",") if path.strip(" ")]
    for path in paths:
        if path != LOGIN and not _ONE_NODE_PATH.fullmatch(path):
            raise ValueError(
                "login, paths such as /upload, or both joined by commas (login,/upload,/jobs/*): each path starts with "
                "a slash, and has no query; /* at its end stands for all below it"
            )
    return ",".join(paths)


def _origins(value: str) -> str:
    origins = [origin.strip(" ") for origin in value.split(",") if value]
    for origin in origins:
        if origin != "*" and not _ORIGIN.fullmatch(origin):
            raise ValueError("origins such as https://app.example.org, joined by commas, or *")
    return ",".join(origins)


def _redis_url(value: str) -> str:
    if urlsplit(value).scheme not in _REDIS_SCHEMES:
        raise ValueError(
            "a URL such as redis://host:6379/0, rediss://host:6379, unix:///run/redis.sock, "
            "redis+sentinel://host:26379,host:26379/name or redis+cluster://host:6379"
        )
    return value


def _node_url(value: str) -> str:
    parts = urlsplit(value)
    try:
        port_is_right = parts.port is None or parts.port > 0
    except ValueError:
        port_is_right = False
    if not _NODE_URL.fullmatch(value) or not parts.hostname or not port_is_right:
        raise ValueError("where peers reach this node, without a path, such as http://10.0.0.7:8000")
    return value.rstrip("/")


def _secret(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if len(text) < 16 or not text.isprintable():
        raise ValueError(
            "at least 16 characters, all printable, the same on every node; `openssl rand -hex 32` makes a good one"
        )
    return value


def _token(value: SecretStr) -> SecretStr:
    if not _TOKEN.fullmatch(value.get_secret_value()):
        raise ValueError(
            "at least 16 characters, all printable ASCII and no spaces, since a header carries it; "
            "`openssl rand -hex 32` makes a good one"
        )
    return value


def _name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError("up to 63 lower-case letters, digits and hyphens, such as node-1")
    return value


def _host(value: str) -> str:
    if not _HOST.fullmatch(value):
        raise ValueError("a name or an address of this machine, such as 10.0.0.7")
    return value


def _peer_ports(value: str) -> str:
    first, _, last = value.partition("-")
    if not _PORTS.fullmatch(value) or (value != "any" and not 1 <= int(first) <= int(last or first) <= 65535):
        raise ValueError("any, a port, or a range of ports such as 9000-9015")
    return value


def _key_prefix(value: str) -> str:
    if not _KEY_PREFIX.fullmatch(value):
        raise ValueError("letters, digits, '_', '.', '-', in parts joined by ':', such as mcp or team:mcp")
    return value


def default_node_name() -> str:
    """The host's name, in the form that a node's name has."""
    name = re.sub(r"[^a-z0-9-]+", "-", socket.gethostname().lower())[:63].strip("-")
    return name or "node"


class Settings(BaseSettings):
    """What an operator can choose. `mooring settings` prints this with the values in force."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, extra="forbid", frozen=True, hide_input_in_errors=True)

    redis_url: Annotated[str, AfterValidator(_redis_url)] | None = Field(
        None,
        repr=False,
        description="Redis or Valkey that all nodes share: one server, one behind sentinels (redis+sentinel://) or a "
        "cluster (redis+cluster://). Without it `serve` runs a single node that keeps everything in memory, and `up` "
        "brings a Redis of its own.",
    )
    key_prefix: Annotated[str, AfterValidator(_key_prefix)] = Field(
        "mcp", description="Prefix of every key in Redis; clusters that share a Redis need one each."
    )
    secret: Annotated[SecretStr, AfterValidator(_secret)] | None = Field(
        None,
        description="Cluster secret, the same on every node: signs session ids and what nodes tell each other. "
        "Needed with redis_url.",
    )
    node_name: Annotated[str, AfterValidator(_name)] = Field(
        default_factory=default_node_name,
        description="What this node is called in tables and logs; by default the host's name.",
    )
    advertise_url: Annotated[str, AfterValidator(_node_url)] | None = Field(
        None,
        description="Where peers and the ingress reach this node, such as http://10.0.0.7:8000. `mooring serve` works "
        "it out from the host and port that it listens on. Under another server, peers come to a port of the "
        "process's own where it is not set, and no generated ingress routes to the node.",
    )
    peer_host: Annotated[str, AfterValidator(_host)] | None = Field(
        None,
        description="Where a port of the process's own for its peers listens, and is reached; by default the address "
        "from which this machine speaks to Redis.",
    )
    peer_ports: Annotated[str, AfterValidator(_peer_ports)] | None = Field(
        None,
        description="Have peers come to a port of the process's own: any free one (any), or the first free one of a "
        "range such as 9000-9015, one for each process. By default only where it is needed: advertise_url is not set, "
        "or several processes share it.",
    )
    mcp_path: Annotated[str, AfterValidator(_endpoints)] = Field(
        "/mcp",
        description="The path of the MCP endpoint, or several joined by commas; `{id}` in a path stands for any one "
        "part of it. Mooring handles them and all below them. A server object gets the first one.",
    )
    find_endpoints: bool = Field(
        True,
        description="Whether a path at which the app gives out a session becomes an endpoint as well, from then on. "
        "Without it Mooring handles those of mcp_path alone, and passes all else through.",
    )
    one_node_paths: Annotated[str, AfterValidator(_one_node_paths)] = Field(
        LOGIN,
        description="Paths, joined by commas, whose requests all go to one node, the same for the whole cluster; /x/* "
        "is all below /x. `login` stands for the routes of a login, where the app has one: its clients, codes and "
        "tokens are in the memory of one process.",
    )
    cors_origins: Annotated[str, AfterValidator(_origins)] = Field(
        "",
        description="Which web pages may read Mooring's own answers: origins joined by commas, or `*`. Without it, "
        "those that the app allows. The app's own answers are the app's to open.",
    )
    health_path: Annotated[str, AfterValidator(_path)] = Field(
        "/healthz", description="Answers 200 while the process is alive."
    )
    ready_path: Annotated[str, AfterValidator(_path)] = Field(
        "/readyz", description="Answers 200 while the node takes new sessions, otherwise 503 and why not."
    )
    status_path: Annotated[str, AfterValidator(_path)] = Field(
        "/mooring/status",
        description="Answers anyone who sends status_token with the status page in JSON; the app's where none is set.",
    )
    status_token: Annotated[SecretStr, AfterValidator(_token)] | None = Field(
        None,
        description="Anyone who sends it as a bearer token may read the status page; without it there is no such page.",
    )
    capacity: int = Field(
        10_000,
        ge=1,
        description="How many sessions this node wants to hold; beyond that, new ones go to the least loaded peer.",
    )
    shards: int = Field(8, ge=1, le=64, description="How many fresh shards a node starts with.")
    heartbeat_seconds: float = Field(0.5, gt=0, le=60, description="Time between two renewals of the node's lease.")
    lease_seconds: float = Field(
        5.0,
        gt=0,
        le=600,
        description="A node that has not renewed its lease for this long is dead; at least two heartbeats.",
    )
    hang_seconds: float = Field(
        30.0,
        gt=0,
        le=3600,
        description="A node whose event loop is blocked counts as busy, and keeps its lease, for this long. After "
        "that it counts as hung, and its lease ends.",
    )
    when_isolated: Literal["stop", "go_on"] = Field(
        "stop",
        description="What a node does whose lease ends while neither Redis nor enough of its peers answer, so that it "
        "cannot know whether they go on without it: stop serving, or go on, and risk that a session lives twice.",
    )
    session_ttl_seconds: int = Field(
        30 * 24 * 3600,
        ge=60,
        le=10 * 365 * 24 * 3600,
        description="How long the record of a session that nobody uses stays in Redis.",
    )
    touch_seconds: float = Field(
        60.0,
        ge=0,
        le=24 * 3600,
        description="A session's record is renewed at most this often, in one batch with the heartbeat.",
    )
    forget_seconds: float = Field(
        24 * 3600.0,
        gt=0,
        le=365 * 24 * 3600.0,
        description="How long a dead node and its shards are remembered, to answer owner_lost for them.",
    )
    redis_timeout_seconds: float = Field(
        1.0, gt=0, le=30, description="How long Redis may take for one answer before it counts as away."
    )
    connect_seconds: float = Field(
        1.0, gt=0, le=60, description="How long a peer may take to accept a forwarded request's connection."
    )
    hold_seconds: float = Field(
        10.0,
        ge=0,
        le=300,
        description="How long a request is held while the node that owns its session does not answer though its lease "
        "lives, before it is answered unreachable.",
    )
    peer_age_seconds: float = Field(
        30.0, gt=0, le=600, description="How old a signed peer request may be; the nodes' clocks must agree this well."
    )

    gc: Literal["server", "python"] = Field(
        "server",
        description="Python's garbage collector in `mooring serve`, once the app has started: set for a server, for "
        "fewer and shorter pauses, or left as Python sets it.",
    )

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.lease_seconds < 2 * self.heartbeat_seconds:
            raise ValueError("lease_seconds: at least twice heartbeat_seconds")
        pages = [self.health_path, self.ready_path, self.status_path]
        if len({*pages, *self.endpoints}) < len(pages) + len(self.endpoints):
            raise ValueError("mcp_path: its paths, health_path, ready_path and status_path must all be different")
        known = Endpoints(self.endpoints, finds=False)
        for name in ("health_path", "ready_path", "status_path"):
            if known.of(getattr(self, name)) is not None:
                raise ValueError(f"{name}: must lie outside mcp_path")
        return self

    @property
    def endpoints(self) -> tuple[str, ...]:
        """The paths and patterns of `mcp_path`."""
        return tuple(self.mcp_path.split(","))

    @property
    def bound_paths(self) -> tuple[str, ...]:
        """The entries of `one_node_paths`."""
        return tuple(self.one_node_paths.split(",")) if self.one_node_paths else ()

    @property
    def main_endpoint(self) -> str:
        """The first of them that is one path: where a server object's endpoint comes out."""
        return next((path for path in self.endpoints if "{" not in path), "/mcp")

    @property
    def peer_port_range(self) -> range:
        """What `peer_ports` says; 0 is any port."""
        first, _, last = (self.peer_ports or "any").partition("-")
        return range(1) if first == "any" else range(int(first), int(last or first) + 1)

    @classmethod
    def load(cls, **overrides: Any) -> Self:
        """The settings in force, with `overrides` (those that are not None) before all other sources.

        Raises:
            SettingsError: names the first setting that is wrong, its value and what would be right.
        """
        given = {name: value for name, value in overrides.items() if value is not None}
        try:
            return cls(**given)
        except ValidationError as error:
            raise _explain(error) from error

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        secrets = dict(from_secret_files(ENV_PREFIX, SECRET_FILES))
        sources = (InitSettingsSource(settings_cls, given) for given in (secrets, dict(settings_file())))
        return init_settings, env_settings, *sources


def settings_file() -> Mapping[str, Any]:
    """What the settings file says; nothing where there is none.

    Raises:
        SettingsError: it cannot be read, or the one that the environment names is missing.
    """
    path = Path(os.environ.get(SETTINGS_FILE_VARIABLE, DEFAULT_SETTINGS_FILE))
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if SETTINGS_FILE_VARIABLE in os.environ:
            raise SettingsError(
                "settings_file", str(path), f"{SETTINGS_FILE_VARIABLE} names a file that does not exist"
            ) from None
        return {}
    except (OSError, ValueError) as error:
        raise SettingsError("settings_file", str(path), f"it cannot be read as TOML: {error}") from error


def _explain(error: ValidationError) -> SettingsError:
    """The first of pydantic's complaints, in the operator's words."""
    first = error.errors(include_url=False)[0]
    said = first["msg"].removeprefix("Value error, ")
    name = str(first["loc"][0]) if first["loc"] else said.partition(":")[0]
    if not first["loc"]:
        said = said.partition(": ")[2]
        value = (
            first["input"].get(name, Settings.model_fields[name].default) if isinstance(first["input"], dict) else None
        )
    else:
        value = first["input"]
    if name not in Settings.model_fields:
        said = "there is no such setting; `mooring settings` lists them all"
    if name == "redis_url":
        value = masked_setting(str(value))
    elif name in _SECRETS or name not in Settings.model_fields:
        value = "(hidden)"
    return SettingsError(name, value, said)
