"""The one verdict on what opens no session, whatever it is that answers."""

from __future__ import annotations

import pytest

from mooring.doctor.checks.endpoint import cannot_examine
from mooring.doctor.client.reply import Reply
from mooring.doctor.findings import Verdict
from tests.doctor.examinations import examination, reply


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (reply(401), "`initialize` is answered with 401: a login seems to be needed"),
        (reply(403), "`initialize` is answered with 403: a login seems to be needed"),
        (reply(403, b"Invalid Host header"), "the server refuses its own host name: 403 Invalid Host header"),
        (reply(406), "`initialize` is refused for its Accept: 406"),
        (
            reply(406, b"Not Acceptable: Client must accept both"),
            "`initialize` is refused for its Accept: 406 Not Acceptable: Client must accept both",
        ),
        (reply(415), "`initialize` is refused for its Content-Type: 415"),
        (
            reply(400, b"Invalid Content-Type header"),
            "`initialize` is refused for its Content-Type: 400 Invalid Content-Type header",
        ),
        (reply(406, b"<html>not acceptable</html>"), "`initialize` is refused: 406"),
        (reply(421), "the server refuses its own host name: 421"),
        (reply(429, Retry_After="9"), "the server limits the rate of requests: 429"),
        (reply(503), "`initialize` is answered with 503"),
        (reply(404), "no MCP endpoint: POST is answered with 404"),
        (
            reply(200, Content_Type="text/event-stream"),
            "`initialize` is answered with 200 and a stream without the answer",
        ),
        (reply(200, Content_Type="text/html"), "no MCP endpoint: POST is answered with 200 (text/html)"),
    ],
)
async def test_what_is_said(answer: Reply, says: str) -> None:
    found = cannot_examine(await examination(), answer)
    assert (found.check, found.verdict, found.says) == ("endpoint", Verdict.BROKEN, says)
    assert found.changes


async def test_a_login_that_was_tried_was_refused() -> None:
    found = cannot_examine(await examination(tokens=("abc",)), reply(401, WWW_Authenticate="Bearer"))
    assert found.says == "the token is refused: 401"
    assert found.why.startswith("The answer asks for: Bearer. It names no error, as a server does that saw no token")
    assert "passes on Authorization" in found.changes[0].what


async def test_a_token_that_was_seen_is_not_said_to_be_lost() -> None:
    found = cannot_examine(await examination(tokens=("abc",)), reply(401, WWW_Authenticate='Bearer error="invalid"'))
    assert found.why == 'The answer asks for: Bearer error="invalid".'


@pytest.mark.parametrize(
    ("tokens", "body", "why"),
    [
        ((), b"<html>Request forbidden by administrative rules.</html>", "or a login that is wanted"),
        (
            ("abc",),
            b"<html>Request forbidden by administrative rules.</html>",
            "or a token that does not have the right",
        ),
        (("abc",), b"Forbidden", "or a token that does not have the right"),
    ],
)
async def test_a_403_may_be_a_firewalls(tokens: tuple[str, ...], body: bytes, why: str) -> None:
    found = cannot_examine(await examination(tokens=tokens), reply(403, body))
    assert found.says.startswith("`initialize` is refused: 403")
    assert "a firewall" in found.why
    assert why in found.why
    assert ("something before the server gave it" in found.why) is body.startswith(b"<")
