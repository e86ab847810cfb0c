"""What is said where no answer comes that could be read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mooring.doctor.checks.endpoint import cannot_examine
from mooring.doctor.client.reply import Reply, Trouble
from mooring.doctor.findings import Verdict
from tests.doctor.examinations import examination


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (Reply(trouble=Trouble.HANG), "no answer within 10 s"),
        (Reply(trouble=Trouble.REFUSED), "nothing listens at h:443"),
        (Reply(trouble=Trouble.NAME), "the host name h cannot be resolved"),
        (Reply(trouble=Trouble.CUT), "the connection is closed without an answer"),
        (Reply(trouble=Trouble.NO_WAY), "no connection to h:443"),
        (Reply(trouble=Trouble.NOT_HTTP), "what answers does not speak HTTP"),
        (
            Reply(trouble=Trouble.TLS, detail="certificate verify failed: certificate has expired (_ssl.c:1)"),
            "TLS fails: certificate has expired",
        ),
        (
            Reply(trouble=Trouble.TLS, detail="[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1)"),
            "TLS fails: what answers does not speak it (wrong version number)",
        ),
    ],
)
async def test_what_is_said(answer: Reply, says: str) -> None:
    found = cannot_examine(await examination(), answer)
    assert (found.check, found.verdict, found.says) == ("endpoint", Verdict.BROKEN, says)
    assert found.changes


@given(st.sampled_from([None, *Trouble]), st.integers(0, 599), st.binary(max_size=50), st.text(max_size=50))
async def test_no_answer_is_too_strange(trouble: Trouble | None, status: int, body: bytes, detail: str) -> None:
    found = cannot_examine(await examination(), Reply(status, body=body, trouble=trouble, detail=detail))
    assert found.verdict is Verdict.BROKEN
    assert found.says.isprintable()
