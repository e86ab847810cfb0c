"""What a setting's value may be, and what is said where it is something else.

Each kind is a type for a field. Its check answers the value as it is kept, or raises ValueError with what would be
right: the setting's name and its value are added where the error is made (`complaint`).
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, SecretStr

from mooring.advertised import with_sample
from mooring.core.one_node import LOGIN
from mooring.core.wrap_rules import read_rules

_REDIS_SCHEMES: Final = frozenset(
    {"redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster"}
)
_SECRET_LENGTH: Final = 16
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_NODE_URL = re.compile(r"https?://[^\s/?#@${}]+/?", re.ASCII | re.IGNORECASE)
_ORIGIN = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://((?![/?#@,])[!-~])+", re.ASCII)
_DEFAULT_PORTS: Final = {"http": ":80", "https": ":443"}
_TOKEN = re.compile(r"[!-~]{16,}", re.ASCII)
_ENDPOINT = re.compile(r"(/(\{[A-Za-z_][A-Za-z0-9_]*\}|[^\x00-\x20\x7f-\U0010ffff`?#/,{}])+)+")
_HOST = re.compile(r"[A-Za-z0-9._:-]+", re.ASCII)
_PORTS = re.compile(r"any|\d{1,5}(-\d{1,5})?", re.ASCII)
_ONE_NODE_PATH = re.compile(r"(/[^\x00-\x20\x7f-\U0010ffff`?#/,{}*]+)*(/[^\x00-\x20\x7f-\U0010ffff`?#/,{}*]+|/\*)")
_PLACEMENT_KEY = re.compile(r"header:[A-Za-z0-9_-]{1,64}|meta:[!-~]{1,200}", re.ASCII)
_PARAMETER_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
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


def _on_node_loss(value: str) -> str:
    parts = [part.strip(" ") for part in value.split(",")]
    for part in parts:
        path, _, choice = part.rpartition("=")
        if choice not in ("revive", "reinitialize") or (path and path != "/" and not _ENDPOINT.fullmatch(path)):
            raise ValueError(
                "revive or reinitialize, for all or for an endpoint (/a/mcp=reinitialize), joined by commas"
            )
    return ",".join(parts)


def _joined(value: Any) -> Any:
    """Several values of a file's array, as one text."""
    is_several = isinstance(value, list | tuple) and all(isinstance(one, str) for one in value)
    return ",".join(value) if is_several else value


def _listed(value: Any) -> Any:
    """The same of a list in JSON, as other programs take it in a variable."""
    if isinstance(value, str) and value.lstrip(" ").startswith("["):
        with suppress(ValueError):
            value = json.loads(value)
    return _joined(value)


def _origins(value: str) -> str:
    return ",".join(dict.fromkeys(_origin(origin.strip(" ")) for origin in value.split(",") if value))


def _origin(value: str) -> str:
    """As browsers write it: in lower case, and without the port that the scheme has anyway."""
    origin = value if value == "*" else value.lower()
    match = _ORIGIN.fullmatch(origin)
    if origin != "*" and match is None:
        raise ValueError("origins such as https://app.example.org, joined by commas, or *")
    return origin.removesuffix(_DEFAULT_PORTS.get(match["scheme"], "")) if match else origin


def _as_json(value: Any) -> Any:
    """A file's array of tables, as one text."""
    return json.dumps(value) if isinstance(value, list | tuple) else value


def _handle_rules(value: str) -> str:
    try:
        read_rules(value)
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(
            'a list such as [{"mint": "create_session", "field": "session_id", "use": ["session_id"]}]: of each tool '
            "that gives out ids, where they are in its result, and which arguments take them"
        ) from error
    return value


def _placement_key(value: str) -> str:
    if value and not _PLACEMENT_KEY.fullmatch(value):
        raise ValueError("header:NAME, such as header:X-Conversation-Id, or meta:NAME of a member of _meta")
    return value


def _parameter_names(value: str) -> str:
    names = [name.strip(" ") for name in value.split(",") if name.strip(" ")]
    if not all(_PARAMETER_NAME.fullmatch(name) for name in names):
        raise ValueError("names such as Session, joined by commas: what follows Mcp-Param- in the headers")
    return ",".join(names)


def _redis_url(value: str) -> str:
    if value.partition(":")[0].lower() not in _REDIS_SCHEMES:
        raise ValueError(
            "a URL such as redis://host:6379/0, rediss://host:6379, unix:///run/redis.sock, "
            "redis+sentinel://host:26379,host:26379/name or redis+cluster://host:6379"
        )
    return value


def checked_node_url(value: str) -> str:
    shown = with_sample(value)
    try:
        parts = urlsplit(shown)
        is_right = bool(_NODE_URL.fullmatch(shown) and parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        is_right = False
    if not is_right:
        raise ValueError(
            "where peers reach this node, without a path, such as http://10.0.0.7:8000, http://[fd00::7]:8000, "
            "http://$POD_IP:8000 (a variable) or http://{eth0}:8000 (an interface)"
        )
    # As an ingress writes it: schemes are the same in capitals, and an empty port is none (RFC 3986, 3.1 and 3.2.3).
    scheme, mark, rest = value.rstrip("/").partition("://")
    return f"{scheme.lower()}{mark}{rest.removesuffix(':')}"


def _secret(value: SecretStr) -> SecretStr:
    parts = secret_parts(value)
    if not parts or any(len(part) < _SECRET_LENGTH or not part.isprintable() for part in parts):
        raise ValueError(
            "at least 16 characters, all printable, the same on every node; `openssl rand -hex 32` makes a good one"
        )
    return value


def secret_parts(value: SecretStr) -> tuple[str, ...]:
    """The secrets in a text: one a line, or joined by commas.

    A comma where no secret could end is part of one: "a secret of mine, with a comma" was always a secret.
    """
    lines = [line for line in re.split(r"[\r\n]+", value.get_secret_value()) if line]
    return tuple(part for line in lines for part in _parts_of_line(line))


def _parts_of_line(line: str) -> list[str]:
    parts = [part.strip(" ") for part in line.strip(",").split(",")]
    return [line] if len(parts) == 1 or any(len(part) < _SECRET_LENGTH for part in parts) else parts


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


RedisUrl = Annotated[str, AfterValidator(_redis_url)]
KeyPrefix = Annotated[str, AfterValidator(_key_prefix)]
Secret = Annotated[SecretStr, BeforeValidator(_joined), AfterValidator(_secret)]
NodeName = Annotated[str, AfterValidator(_name)]
NodeUrl = Annotated[str, AfterValidator(checked_node_url)]
Host = Annotated[str, AfterValidator(_host)]
PeerPorts = Annotated[str, AfterValidator(_peer_ports)]
PagePath = Annotated[str, AfterValidator(_path)]
Token = Annotated[SecretStr, AfterValidator(_token)]
OnNodeLoss = Annotated[str, AfterValidator(_on_node_loss)]
EndpointPaths = Annotated[str, BeforeValidator(_listed), AfterValidator(_endpoints)]
OneNodePathList = Annotated[str, BeforeValidator(_listed), AfterValidator(_one_node_paths)]
PlacementKey = Annotated[str, AfterValidator(_placement_key)]
HandleRules = Annotated[str, BeforeValidator(_as_json), AfterValidator(_handle_rules)]
ParameterNames = Annotated[str, BeforeValidator(_listed), AfterValidator(_parameter_names)]
Origins = Annotated[str, BeforeValidator(_listed), AfterValidator(_origins)]
