from __future__ import annotations

import json
from typing import Any

from aiohttp import web

from mooring.doctor.checks import body_limit
from mooring.doctor.client.reply import Reply
from mooring.doctor.evidence.body_sizes import SIZES, SMALL
from mooring.doctor.findings import Finding, Verdict
from tests.doctor.examined import examined
from tests.doctor.odd import refusal, running_odd


async def found_at(url: str, **fields: Any) -> Finding:
    async with examined(url, **{"sessions": 2, **fields}) as exam:
        found = await body_limit.run(exam)
    assert isinstance(found, Finding)
    return found


async def test_nothing_larger_is_sent_once_something_was_refused() -> None:
    async with running_odd(largest_body=100 * 1024) as odd:
        found = await found_at(odd.url)
        lengths = [int(request.headers.get("Content-Length", 0)) for request in odd.seen]
    assert (found.verdict, found.evidence["smallest_refused_bytes"]) == (Verdict.WARNING, 256 * 1024)
    assert max(lengths) == 256 * 1024


async def test_a_slow_line_is_given_its_time_or_left_alone() -> None:
    """Each size is waited for as long as the one before lets expect, and left out where that is too long."""
    given: list[tuple[int, float]] = []

    async with running_odd() as odd, examined(odd.url, sessions=2, timeout_seconds=1.0) as exam:
        send = exam.wire.send

        async def slowly(method: str, **options: Any) -> Reply:
            reply = await send(method, **options)
            size = len(json.dumps(options["message"])) if options.get("message") else 0
            given.append((size, options.get("timeout_seconds") or 0.0))
            return Reply(reply.status, reply.headers, message=reply.message, seconds=size / 100_000)

        vars(exam.wire)["send"] = slowly
        found = await body_limit.run(exam)
        del vars(exam.wire)["send"]
    assert isinstance(found, Finding)
    assert (found.verdict, found.evidence["largest_accepted_bytes"]) == (Verdict.OK, SIZES[1])
    assert [size for size, _ in given] == [SMALL, *SIZES[:2]]
    assert given[2][1] > 3 * 15


async def test_a_request_that_fails_once_is_sent_again() -> None:
    failures = iter([True])

    def once(request: web.Request) -> web.Response | None:
        is_large = int(request.headers.get("Content-Length", 0)) == SIZES[1]
        return refusal(503) if is_large and next(failures, False) else None

    async with running_odd(guard=once) as odd:
        found = await found_at(odd.url)
    assert (found.verdict, found.says) == (Verdict.OK, "requests of 5 MiB are taken")
