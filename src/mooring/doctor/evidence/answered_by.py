"""Who has answered: a node, or the load balancer in its place, as far as the answer gives it away."""

from __future__ import annotations

import enum
import re
from collections.abc import Collection
from typing import Final

from mooring.doctor.client.reply import Reply

_BALANCERS: Final = re.compile(
    r"^(bad gateway|service unavailable|gateway time-?out|no available server|404 page not found"
    r"|no healthy upstream|upstream (connect|request).*|<html.*|<!doctype.*|default backend - 404)$",
    re.IGNORECASE | re.DOTALL,
)


class AnsweredBy(enum.StrEnum):
    """
    NODE      a node of the server
    BALANCER  whatever stands before the nodes
    NOBODY    there is no answer
    UNKNOWN   it may be either
    """

    NODE = "a node"
    BALANCER = "the load balancer"
    NOBODY = "nobody"
    UNKNOWN = "somebody"


def answered_by(reply: Reply, usual_servers: Collection[str] = ()) -> AnsweredBy:
    """Who it was.

    Args:
        usual_servers: the values of `Server` with which calls were answered that arrived.
    """
    if reply.trouble is not None or reply.status == 0:
        return AnsweredBy.NOBODY
    if reply.message is not None:
        return AnsweredBy.NODE
    if _BALANCERS.match(reply.text.strip()) or reply.is_page:
        return AnsweredBy.BALANCER
    server = reply.headers.get("Server", "")
    if reply.status in (502, 503, 504) and usual_servers and server not in usual_servers:
        return AnsweredBy.BALANCER
    return AnsweredBy.UNKNOWN
