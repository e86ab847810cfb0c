"""Ending a session in the app from our side, as its client would: by DELETE.

For apps whose sessions we do not hold in our hands; the SDK's are ended by `mooring.node.membership.inner_ids`.
"""

from __future__ import annotations

from mooring.asgi import App, Message, Scope, WholeBody, without
from mooring.core.request import SESSION_HEADER

_OF_A_BODY = (b"content-length", b"content-type", b"transfer-encoding", b"expect")
_ENDED = frozenset({200, 202, 204, 404})


async def end_in_app(app: App, opened_by: Scope, inner_id: str) -> bool:
    """Send the app a DELETE for its session, in the name of whoever opened it; returns whether the app has ended it.

    Args:
        opened_by: the scope of the request that opened the session, with its credentials.
    """
    headers = without(opened_by["headers"], SESSION_HEADER, *_OF_A_BODY)
    headers.append((SESSION_HEADER, inner_id.encode()))
    body = WholeBody(b"")
    body.leave()
    statuses: list[int] = []

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    await app({**opened_by, "method": "DELETE", "headers": headers, "query_string": b""}, body.receive, send)
    return not _ENDED.isdisjoint(statuses)
