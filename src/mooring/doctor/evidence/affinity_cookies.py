"""Which cookies a load balancer sets to find the node again: by their names, or by how they behave."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Final

from mooring.doctor.evidence.set_cookie import SetCookie
from mooring.doctor.proxies import Proxy

OWNERS: Final[tuple[tuple[re.Pattern[str], Proxy], ...]] = tuple(
    (re.compile(pattern), proxy)
    for pattern, proxy in (
        (r"AWSALB(CORS|TG|TGCORS|APP-\d+)?", Proxy.ALB),
        (
            r"ARRAffinity(SameSite)?|acaAffinity|ApplicationGatewayAffinity(CORS)?|AGCAffinity|ASLBSA(CORS)?",
            Proxy.AZURE,
        ),
        (r"GC(I)?LB", Proxy.GCLB),
        (r"__cflb", Proxy.CLOUDFLARE),
        (r"_[0-9a-f]{5}", Proxy.TRAEFIK),
    )
)
"""Names that one load balancer uses, and nobody else is known to. Traefik's is `_` and the beginning of a hash."""

_ANY_BALANCER: Final = re.compile(
    r"AWSELB(CORS)?|INGRESSCOOKIE|"
    r"(.*[_.-])?(affinity|sticky|backend|upstream|replica|lb|srv|route|node|server_?id)([_.-].*)?",
    re.IGNORECASE,
)
"""Names that several use, such as HAProxy's SERVERID, or that say what they are for."""
_NO_BALANCER: Final = re.compile(
    r"__cf_bm|_cfuvid|__cfruid|cf_clearance|.*(session|csrf|xsrf|token|lang|locale|theme|consent).*|sid|.*\.sid",
    re.IGNORECASE,
)
_ENOUGH_SESSIONS: Final = 4


def owner_of(cookie: SetCookie) -> Proxy | None:
    """The load balancer that alone sets cookies of that name; None where there is no such one."""
    for name, proxy in OWNERS:
        if name.fullmatch(cookie.name):
            is_hash = re.fullmatch(r"[0-9a-f]{6,64}", cookie.value) is not None
            return proxy if proxy is not Proxy.TRAEFIK or is_hash else None
    return None


def is_affinity(cookie: SetCookie, values: Sequence[str], *, helps: bool, names: Collection[str]) -> bool:
    """Whether the load balancer goes by it, as far as a client can tell.

    By its name; else sessions share its values, which name nodes then; else it is the only one, and calls with cookies
    reach their session more often.

    Args:
        values: what it was for each session.
        helps: calls do better with cookies.
        names: of all cookies that were set.
    """
    if owner_of(cookie) is not None or _ANY_BALANCER.fullmatch(cookie.name):
        return True
    if _NO_BALANCER.fullmatch(cookie.name):
        return False
    distinct = len(set(values))
    if len(values) >= _ENOUGH_SESSIONS and 2 <= distinct <= len(values) / 2:
        return True
    return helps and len(names) == 1
