from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from mooring.doctor.evidence.token_claims import same_principal


def jwt(**claims: Any) -> str:
    parts = ({"alg": "none"}, claims)
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    return ".".join([*encoded, "signature"])


ALICE = {"iss": "https://issuer", "sub": "alice", "client_id": "vscode"}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("opaque", "opaque", True),
        ("opaque", "other", False),
        (jwt(**ALICE, exp=1), jwt(**ALICE, exp=2), True),
        (jwt(**ALICE), jwt(**{**ALICE, "sub": "bob"}), False),
        (jwt(**ALICE), jwt(**{**ALICE, "client_id": "other"}), False),
        (jwt(**ALICE), jwt(**{**ALICE, "iss": "https://other"}), False),
        (jwt(iss="x"), jwt(iss="x", exp=1), False),
        ("a.b.c", "a.b.d", False),
        ("a.MTI.c", "a.MTI.d", False),
        ("a." + "W" * 9000 + ".c", "a.\xff.d", False),
        (jwt(**ALICE), "opaque", False),
    ],
)
def test_whether_two_tokens_are_of_one_principal(one: str, other: str, same: bool) -> None:
    assert same_principal(one, other) is same
