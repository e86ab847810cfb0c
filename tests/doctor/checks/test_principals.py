from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from mooring.doctor.checks import principals
from mooring.doctor.checks.principals import Replies
from mooring.doctor.client.reply import Reply
from mooring.doctor.findings import Finding, NotRun, Verdict
from tests.cluster_in_process import running_nodes
from tests.deployments.faults import Faults, running_faults
from tests.doctor.examined import examined
from tests.doctor.examples import LOST, REACHED, UNAVAILABLE
from tests.doctor.odd import running_odd
from tests.node.sdk_apps import protected_app
from tests.servers.tokens import ALICE_TOKEN, BOB_TOKEN

LOGIN = Reply(status=401)
BOTH = (ALICE_TOKEN, BOB_TOKEN)


@pytest.mark.parametrize(
    ("own", "other", "nobody", "control", "verdict", "says"),
    [
        (REACHED, LOST, LOGIN, REACHED, Verdict.OK, "the session is unknown to another principal's token: 404 Sessi"),
        (REACHED, LOST, LOGIN, LOST, Verdict.OK, "the session is unknown to another principal's token: 404 Session"),
        (REACHED, LOST, None, LOST, Verdict.OK, "the session is unknown to another principal's token: 404 Session"),
        (REACHED, Reply(status=403), LOGIN, REACHED, Verdict.OK, "another principal's token is refused: 403"),
        (REACHED, REACHED, LOGIN, REACHED, Verdict.BROKEN, "another principal's token can use a session that it did"),
        (REACHED, LOST, REACHED, REACHED, Verdict.BROKEN, "a session that was opened with a token can be used without"),
        (
            REACHED,
            REACHED,
            REACHED,
            REACHED,
            Verdict.BROKEN,
            "a session that was opened with a token can be used witho",
        ),
        (REACHED, LOGIN, LOGIN, LOGIN, Verdict.UNKNOWN, "the second token is refused altogether: 401"),
        (REACHED, LOST, LOGIN, LOGIN, Verdict.UNKNOWN, "the second token is refused altogether: 401"),
        (LOST, LOST, LOGIN, REACHED, Verdict.UNKNOWN, "its own token does not reach the session: 404 Session not"),
        (LOGIN, LOGIN, LOGIN, LOGIN, Verdict.UNKNOWN, "its own token does not reach the session: 401"),
        (REACHED, UNAVAILABLE, LOGIN, REACHED, Verdict.UNKNOWN, "the call with the second token failed: 502"),
    ],
)
def test_the_verdict(
    own: Reply, other: Reply, nobody: Reply | None, control: Reply, verdict: Verdict, says: str
) -> None:
    found = principals.judge(Replies(own, other, nobody, control), str)
    assert found.verdict is verdict
    assert found.says.startswith(says)
    assert bool(found.changes) == (verdict is Verdict.BROKEN)
    json.dumps(found.evidence)


@pytest.mark.parametrize("tokens", [(), (ALICE_TOKEN,), (ALICE_TOKEN, ALICE_TOKEN)])
async def test_it_takes_two_tokens_of_two_principals(tokens: tuple[str, ...]) -> None:
    async with running_odd() as odd, examined(odd.url, sessions=2, tokens=tokens) as exam:
        assert isinstance(await principals.run(exam), NotRun)


async def test_a_server_that_asks_for_no_token() -> None:
    async with running_odd() as odd, examined(odd.url, sessions=2, tokens=BOTH) as exam:
        found = await principals.run(exam)
    assert isinstance(found, Finding)
    assert (found.verdict, found.evidence["no_token"]) == (Verdict.BROKEN, "200")


async def test_no_call_goes_without_the_operators_own_login() -> None:
    """So nothing can be said of calls without any."""
    headers = (("Authorization", "Basic x"),)
    async with running_odd() as odd, examined(odd.url, sessions=2, tokens=BOTH, headers=headers) as exam:
        found = await principals.run(exam)
    assert isinstance(found, Finding)
    assert found.evidence["no_token"] is None


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def faults() -> AsyncIterator[Faults]:
    async with running_faults() as running:
        yield running


async def found_at(url: str, *tokens: str) -> Finding:
    async with examined(url, sessions=2, tokens=tokens) as exam:
        found = await principals.run(exam)
    assert isinstance(found, Finding)
    assert all(token not in repr(found) for token in tokens)
    return found


@pytest.mark.real
@pytest.mark.asyncio(loop_scope="module")
async def test_sessions_that_belong_to_their_users(faults: Faults) -> None:
    found = await found_at(faults.login, *BOTH)
    assert found.verdict is Verdict.OK
    assert found.evidence == {
        "own_token": "200",
        "other_token": "404",
        "no_token": "401",
        "other_token_elsewhere": "200",
    }


@pytest.mark.real
@pytest.mark.asyncio(loop_scope="module")
async def test_sessions_that_every_user_can_use(faults: Faults) -> None:
    found = await found_at(faults.shared_sessions, *BOTH)
    assert found.verdict is Verdict.BROKEN
    assert found.says == "another principal's token can use a session that it did not open"


@pytest.mark.real
@pytest.mark.asyncio(loop_scope="module")
async def test_a_second_token_that_is_no_good(faults: Faults) -> None:
    found = await found_at(faults.login, ALICE_TOKEN, "nobody-token-00")
    assert (found.verdict, found.says) == (
        Verdict.UNKNOWN,
        "the second token is refused altogether: 401 Unauthorized",
    )


async def test_sessions_on_nodes_of_ours_belong_to_a_person() -> None:
    async with running_nodes(protected_app, 2) as nodes:
        found = await found_at(f"{nodes[1].url}/mcp", "alice-1", "mallory")
    assert found.verdict is Verdict.OK
    assert (found.evidence["other_token"], found.evidence["no_token"]) == ("404", "401")


async def test_two_tokens_of_one_person_that_nobody_can_read() -> None:
    """It says when that is as it should be."""
    async with running_nodes(protected_app, 2) as nodes:
        found = await found_at(f"{nodes[1].url}/mcp", "alice-1", "alice-2")
    assert (found.verdict, found.evidence["other_token"]) == (Verdict.BROKEN, "200")
    assert "Where both tokens are of one principal, this is as it should be." in found.why
