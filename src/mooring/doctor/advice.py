"""What to change, in the words and the configuration lines of the proxy that was recognised.

The texts are in `texts/`: a file for each topic, with a table for each proxy, and `any` for all others.
"""

from __future__ import annotations

import enum
import tomllib
from functools import cache
from importlib.resources import files
from typing import Any, Final

from mooring.doctor.findings import Change
from mooring.doctor.proxies import Proxy

ANY: Final = "any"


class Topic(enum.StrEnum):
    """What can be wrong with a proxy's configuration."""

    AFFINITY = "affinity"
    COOKIE = "cookie"
    BUFFERING = "buffering"
    IDLE = "idle"
    LIFETIME = "lifetime"
    BODY_LIMIT = "body_limit"
    COMPRESSION = "compression"
    SPREAD = "spread"
    HEADERS = "headers"
    MISSING_SESSION = "missing_session"
    ORIGIN = "origin"
    HOST = "host"
    OVERSIZED_BODY = "oversized_body"
    SURVIVAL = "survival"
    FAILOVER = "failover"
    SESSION_HEADER = "session_header"
    ERROR_PAGES = "error_pages"


def advice(topic: Topic, proxy: Proxy | None, **values: object) -> Change:
    """The change to make; `values` fill the braces in the text."""
    texts = _texts(topic)
    text = texts.get(proxy.key, texts[ANY]) if proxy is not None else texts[ANY]
    what, config = text["what"], text.get("config", "").strip("\n")
    for name, value in values.items():
        what, config = (part.replace(f"{{{name}}}", str(value)) for part in (what, config))
    return Change(what, config)


@cache
def _texts(topic: Topic) -> dict[str, dict[str, Any]]:
    return tomllib.loads((files("mooring.doctor") / "texts" / f"{topic}.toml").read_text(encoding="utf-8"))
