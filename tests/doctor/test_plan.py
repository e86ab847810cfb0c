"""What is a secret in what the operator asks for."""

from __future__ import annotations

import pytest
from yarl import URL

from mooring.doctor.plan import Plan

HOST = URL("https://mcp.example.com/mcp")


@pytest.mark.parametrize(
    ("plan", "secrets"),
    [
        (Plan(HOST), set()),
        (Plan(HOST, tokens=("a", "b"), status_token="c"), {"a", "b", "c"}),
        (Plan(HOST, headers=(("X-Tenant", "7"), ("X-Mode", "on"))), set()),
        (Plan(HOST, headers=(("X-Anything", "longer-than-it looks"),)), {"longer-than-it looks", "longer-than-it"}),
        (Plan(HOST, headers=(("Authorization", "Basic dTpw"),)), {"Basic dTpw", "dTpw"}),
        (Plan(HOST, headers=(("X-Api-Key", "k1x2"), ("X-Token", "no"))), {"k1x2"}),
        (Plan(URL("https://h/mcp?api_key=a%2Fb%20c&transport=streamable-http")), {"a/b c", "a/b%20c"}),
        (Plan(HOST, status_url=URL("https://h/status?token=s3cr3t&n=1")), {"s3cr3t"}),
        (Plan(URL("https://h/mcp?k=9f8e7d6c5b4a&page=1234567890")), {"9f8e7d6c5b4a"}),
    ],
)
def test_what_is_a_secret_in_a_plan(plan: Plan, secrets: set[str]) -> None:
    assert set(plan.secrets) == secrets
