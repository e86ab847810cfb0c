from __future__ import annotations

import asyncio

import pytest

from mooring.asgi import HeaderList, Message
from mooring.core.signing import BodyMac
from mooring.node.links.outgoing_body import look_for_body, signed


def messages(pieces: list[bytes]) -> list[Message]:
    last = len(pieces) - 1
    return [{"type": "http.request", "body": piece, "more_body": place < last} for place, piece in enumerate(pieces)]


@pytest.mark.parametrize(
    ("version", "headers", "pieces", "expected"),
    [
        ("2", [], [b""], False),
        ("2", [], [b"", b""], True),
        ("2", [], [b"{}"], True),
        ("3", [], [b"{", b"}"], True),
        ("2", [(b"content-length", b"0")], [b""], False),
        ("2", [(b"content-length", b"2")], [b"{}"], True),
        ("1.1", [], [b""], False),
        ("1.1", [(b"transfer-encoding", b"chunked")], [b""], True),
    ],
)
async def test_a_body_is_seen_where_nothing_announces_it(
    version: str, headers: HeaderList, pieces: list[bytes], expected: bool
) -> None:
    left = messages(pieces)

    async def receive() -> Message:
        return left.pop(0)

    brings, again = await look_for_body({"headers": headers, "http_version": version}, receive)
    assert brings is expected
    assert [await again() for _ in pieces] == messages(pieces)


@pytest.mark.parametrize("pieces", [[b""], [b"{}"], [b"{", b"", b"}"]])
async def test_a_body_is_followed_by_its_mac(pieces: list[bytes]) -> None:
    left = messages(pieces)

    async def receive() -> Message:
        return left.pop(0)

    mac = BodyMac(b"key", "nonce")
    mac.update(b"".join(pieces))
    assert b"".join([piece async for piece in signed(receive, BodyMac(b"key", "nonce"))]) == (
        b"".join(pieces) + mac.digest()
    )


async def test_a_body_that_takes_its_time_does_not_hold_back_what_goes_before_it() -> None:
    coming: asyncio.Queue[Message] = asyncio.Queue()
    body = signed(coming.get, BodyMac(b"key", "nonce"))
    assert await anext(body) == b""
    coming.put_nowait({"type": "http.request", "body": b"a", "more_body": True})
    assert await anext(body) == b"a"
    await body.aclose()


async def test_a_body_whose_client_leaves_ends_in_no_mac() -> None:
    async def receive() -> Message:
        return {"type": "http.disconnect"}

    with pytest.raises(ConnectionAbortedError):
        await anext(signed(receive, BodyMac(b"key", "nonce")))
