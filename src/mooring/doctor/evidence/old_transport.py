"""Whether the older HTTP+SSE transport (2024-11-05) is served, at the endpoint itself or at the usual path beside."""

from __future__ import annotations

from typing import Final

from yarl import URL

from mooring.doctor.client import protocol
from mooring.doctor.client.held_stream import HeldStream
from mooring.doctor.examination import Examination

_SECONDS: Final = 3.0
_ENDPOINT: Final = b"event: endpoint"
USUAL: Final = ("/sse",)


def paths_beside(url: URL) -> list[str]:
    """Where such a server usually is, next to that endpoint."""
    folder = url.path.rstrip("/").rpartition("/")[0]
    return list(dict.fromkeys(path for path in (f"{folder}{USUAL[0]}", *USUAL) if path != url.path))


async def find_old_transport(exam: Examination) -> str | None:
    """The path at which it is served; None where it is not."""
    for path in (exam.wire.url.path, *([] if exam.plan.read_only else paths_beside(exam.wire.url))):
        if await is_old_transport(exam, exam.wire.url.with_path(path)):
            return path
    return None


async def is_old_transport(exam: Examination, url: URL) -> bool:
    """Whether a GET there opens a stream that names another endpoint for messages."""
    try:
        response = await exam.wire.open(
            "GET", headers={"Accept": protocol.EVENT_STREAM}, url=url, timeout_seconds=_SECONDS
        )
    except Exception:
        return False
    stream = HeldStream(response)
    try:
        return await stream.until(lambda: stream.is_stream and _ENDPOINT in stream.body, _SECONDS)
    finally:
        await stream.close()
