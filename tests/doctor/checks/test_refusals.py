from __future__ import annotations

import json

import pytest

from mooring.doctor.checks.refusals import judge_refusals
from mooring.doctor.client.reply import Reply
from mooring.doctor.findings import Verdict
from mooring.doctor.proxies import Proxy
from tests.doctor.examples import HANG, LOST, REACHED, THROTTLED, UNAVAILABLE

BAD = Reply(status=400, body=b"Invalid or missing session ID")
LOGIN = Reply(status=401)
HIDDEN = Reply(status=200, message={"jsonrpc": "2.0", "id": 1, "error": {"code": 1, "message": "Session not found"}})
FORGED = Reply(
    status=404,
    message={"jsonrpc": "2.0", "id": 1, "error": {"code": 1, "message": "gone", "data": {"reason": "forged"}}},
)
NOT_ALLOWED = Reply(status=405)


@pytest.mark.parametrize(
    ("posts", "gets", "control", "verdict", "says"),
    [
        ([LOST] * 6, [LOST] * 6, REACHED, Verdict.OK, "it is answered with 404, 6 of 6 times"),
        ([FORGED] * 6, [NOT_ALLOWED] * 6, REACHED, Verdict.OK, "it is answered with 404, 6 of 6 times"),
        ([LOST] * 6, [BAD] * 6, REACHED, Verdict.WARNING, "a GET in it is answered with 400; 404 is due"),
        ([LOST] * 6, [Reply(status=200)], REACHED, Verdict.WARNING, "a GET in it is answered with 200; 404 is due"),
        ([LOST] * 6, [THROTTLED] * 6, REACHED, Verdict.OK, "it is answered with 404, 6 of 6 times"),
        ([BAD] * 6, [BAD], REACHED, Verdict.BROKEN, "it is answered with 400; 404 is due"),
        ([LOGIN] * 6, [], REACHED, Verdict.BROKEN, "it is answered with 401; 404 is due"),
        ([UNAVAILABLE] * 6, [], REACHED, Verdict.BROKEN, "it is answered with 502; 404 is due"),
        ([HANG] * 6, [], REACHED, Verdict.BROKEN, "it is answered with no answer in time; 404 is due"),
        ([HIDDEN] * 6, [], REACHED, Verdict.BROKEN, "it is answered with 200; 404 is due"),
        (
            [LOST, LOST, LOST, LOST, BAD, BAD],
            [],
            REACHED,
            Verdict.BROKEN,
            "it is answered in different ways: 404 (4), 400 (2)",
        ),
        ([REACHED, LOST], [], REACHED, Verdict.BROKEN, "it is answered in different ways: 200 (1), 404 (1)"),
        ([THROTTLED, LOST], [], REACHED, Verdict.UNKNOWN, "the server limits the rate of requests (429)"),
        ([UNAVAILABLE] * 6, [], UNAVAILABLE, Verdict.UNKNOWN, "calls fail in a session that is there, too: 502"),
        ([LOGIN] * 6, [], LOGIN, Verdict.UNKNOWN, "calls fail in a session that is there, too: 401"),
        ([BAD] * 6, [], LOST, Verdict.BROKEN, "it is answered with 400; 404 is due"),
    ],
)
def test_the_verdict(posts: list[Reply], gets: list[Reply], control: Reply, verdict: Verdict, says: str) -> None:
    found = judge_refusals("check", "it", {"POST": posts, "GET": gets}, control, str)
    assert (found.verdict, found.says) == (verdict, says)
    assert bool(found.changes) == (verdict in (Verdict.WARNING, Verdict.BROKEN))
    assert bool(found.why) == bool(found.changes)
    json.dumps(found.evidence)


def test_what_is_said_of_each_wrong_manner_is_about_clients() -> None:
    found = judge_refusals("check", "it", {"POST": [LOST, BAD, LOGIN]}, REACHED, str)
    assert "mcp-remote" in found.why
    assert "login loop" in found.why


def test_the_evidence_counts_by_method_and_names_moorings_reasons() -> None:
    found = judge_refusals("check", "it", {"POST": [FORGED, FORGED], "DELETE": [NOT_ALLOWED, HANG]}, REACHED, str)
    assert found.evidence["answers"] == {"POST": {"404": 2}, "DELETE": {"405": 1, "hang": 1}}
    assert found.evidence["reasons"] == ["forged"]
    assert found.evidence["said"] == ["404 forged"]


def test_foreign_text_is_shown_hidden() -> None:
    found = judge_refusals("check", "it", {"POST": [BAD]}, REACHED, lambda _: "***")
    assert found.evidence["said"] == ["***"]
    assert "Invalid" not in json.dumps(found.evidence) + found.says + found.why


def test_a_502_without_json_is_most_likely_of_a_proxy() -> None:
    page = Reply(status=502, body=b"Bad Gateway")
    found = judge_refusals("check", "it", {"POST": [page] * 6}, REACHED, str, Proxy.CADDY)
    assert "most likely something on the way turns the server's 404 into it" in found.why
    assert "handle_response" in found.changes[0].what
    failed = Reply(status=500, body=b"Internal Server Error")
    assert "on the way" not in judge_refusals("check", "it", {"POST": [failed] * 6}, REACHED, str).why
