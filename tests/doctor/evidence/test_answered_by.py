from __future__ import annotations

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from mooring.doctor.client.reply import Reply, Trouble
from mooring.doctor.evidence.answered_by import AnsweredBy, answered_by
from tests.doctor.examples import LOST, REACHED


def said(status: int, body: bytes, server: str = "") -> Reply:
    return Reply(status, headers=CIMultiDictProxy(CIMultiDict({"Server": server})), body=body)


@pytest.mark.parametrize(
    ("reply", "by"),
    [
        (REACHED, AnsweredBy.NODE),
        (LOST, AnsweredBy.NODE),
        (said(502, b"Bad Gateway"), AnsweredBy.BALANCER),
        (said(503, b"no available server\n"), AnsweredBy.BALANCER),
        (said(404, b"404 page not found\n"), AnsweredBy.BALANCER),
        (said(503, b"<html><body><h1>503 Service Unavailable</h1>"), AnsweredBy.BALANCER),
        (said(502, b"", "Caddy"), AnsweredBy.BALANCER),
        (said(500, b"Internal Server Error", "uvicorn"), AnsweredBy.UNKNOWN),
        (said(404, b"Not Found", "uvicorn"), AnsweredBy.UNKNOWN),
        (Reply(trouble=Trouble.CUT), AnsweredBy.NOBODY),
        (Reply(), AnsweredBy.NOBODY),
    ],
)
def test_who_it_was(reply: Reply, by: AnsweredBy) -> None:
    assert answered_by(reply, {"uvicorn"}) is by
