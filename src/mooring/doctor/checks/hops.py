"""For which hop an advice is: the one that meets clients, where it can do what was seen, or whatever is behind it.

in front                     holds answers back
nginx, Apache, IIS, Kong     by default, or often: its own advice first, and then what is behind it
Traefik, Envoy, Caddy and    only where it was told to: what is behind it first
the clouds
HAProxy                      never: what is behind it
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mooring.doctor.advice import Topic, advice
from mooring.doctor.findings import Change
from mooring.doctor.proxies import Proxy

_BUFFER: Final = frozenset({Proxy.NGINX, Proxy.APACHE, Proxy.IIS, Proxy.KONG, Proxy.AZURE})
_NEVER: Final = frozenset({Proxy.HAPROXY})


def buffering_changes(proxy: Proxy | None, behind: Sequence[Proxy] = ()) -> tuple[Change, ...]:
    """What to change where answers are held back until they are complete."""
    others = [advice(Topic.BUFFERING, one) for one in behind]
    if proxy is None:
        return tuple(dict.fromkeys((*others, advice(Topic.BUFFERING, None))))
    own = advice(Topic.BUFFERING, proxy)
    if proxy in _NEVER:
        return (_behind(f"{proxy} holds no answer back, so the fault is behind it"), *others)
    if proxy in _BUFFER:
        return (own, _behind(f"Where {proxy} has this already, the fault is behind it"), *others)
    return (_behind(f"{proxy} holds answers back only where it is told to, so look behind it first"), *others, own)


def _behind(what: str) -> Change:
    return Change(
        f"{what}: in another proxy, or in the server itself, such as a middleware that reads whole answers to log, "
        "change or compress them, or a tool that blocks the event loop. A call straight to a node tells which."
    )


def compression_changes(proxy: Proxy | None) -> tuple[Change, ...]:
    """What to change where streams are compressed: any hop, and the server too, may do it."""
    own, others = advice(Topic.COMPRESSION, proxy), advice(Topic.COMPRESSION, None)
    if proxy is None or own == others:
        return (own,)
    return own, Change(f"Where {proxy} does not compress, it is the server, or something between. {others.what}")
