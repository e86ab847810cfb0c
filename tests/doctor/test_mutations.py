"""The mutation table: healthy deployments, broken in one way at a time, and the doctor names that one way.

Each row is a fault of the breaking proxy, the checks that may say something of it, and what has to be said. Whatever
else is said is `ok` or `unknown`.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Final

import pytest
import pytest_asyncio

from mooring.doctor.report import Outlook
from tests.bare import bare_server
from tests.deployments import haproxy
from tests.deployments.servers import replica_urls
from tests.doctor.breaking import SESSION, Break, Seen, breaking
from tests.doctor.runs import finding, is_called_healthy, problems, run

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="module")]

PAGE: Final = ("text/html", "<html><body><h1>Something went wrong</h1></body></html>")
FEW: Final = {"sessions": 9, "calls": 2, "timeout_seconds": 5.0, "skip": frozenset({"body-limit"})}
"""What is too large for a node is refused while it is still on its way, which the breaking proxy does not pass on."""


def error(text: str, code: int = -32000) -> tuple[str, str]:
    return "application/json", f'{{"jsonrpc": "2.0", "id": null, "error": {{"code": {code}, "message": "{text}"}}}}'


def opening_at(node: int) -> Callable[[Seen], bool]:
    return lambda seen: seen.is_opening and seen.node == node


def every(turn: int) -> Callable[[Seen], bool]:
    return lambda seen: seen.is_call and seen.number % turn == 0


def elsewhere(seen: Seen) -> bool:
    return seen.is_call and not seen.opened_here


@dataclass
class EndsIdle:
    """Sessions end after so many seconds without a request."""

    seconds: float

    def __post_init__(self) -> None:
        self.ended: set[str | None] = set()

    def __call__(self, seen: Seen) -> bool:
        if seen.is_call and seen.idle_seconds > self.seconds:
            self.ended.add(seen.session)
        return seen.session in self.ended


@dataclass(frozen=True)
class Row:
    """
    Attributes:
        says: check -> what has to be said, as a regular expression.
        may: checks that may say something as well: what follows from the fault.
        with_nodes: it goes by node, so that one node alone cannot show it.
    """

    broken: Break
    says: dict[str, str]
    may: tuple[str, ...] = ()
    fields: dict[str, Any] | None = None
    with_nodes: bool = False


DROPPED: Final = r"Mcp-Session-Id does not reach the server: .*"
LOST_OUT: Final = r"the session id is lost on its way out: .*"
REFUSED: Final = r"\d+ of \d+ new sessions could not be opened: {}.*"
ROWS: Final[dict[str, Row]] = {
    "none": Row(Break(), {}),
    "id dropped on the way in": Row(Break(drop_in=[SESSION]), {"affinity": DROPPED}),
    "id dropped by one node": Row(
        Break(lambda seen: seen.node == 1, drop_in=[SESSION]), {"affinity": DROPPED}, with_nodes=True
    ),
    "id dropped on the way out": Row(Break(drop_out=[SESSION]), {"affinity": LOST_OUT}),
    "id renamed": Row(Break(rename_out={SESSION: "X-Session"}), {"affinity": LOST_OUT + "X-Session"}),
    "404 becomes a 502": Row(
        Break(lambda seen: seen.session is not None, rewrite={404: (502, *PAGE)}),
        {"unknown-session": r".*502; 404 is due", "deleted-session": r".*502; 404 is due"},
    ),
    "404 becomes a page": Row(
        Break(lambda seen: seen.session is not None, rewrite={404: (200, *PAGE)}),
        {"unknown-session": r".*200; 404 is due", "deleted-session": r".*200; 404 is due"},
    ),
    "404 becomes a 401": Row(
        Break(lambda seen: seen.session is not None, rewrite={404: (401, "text/plain", "no")}),
        {"unknown-session": r".*401; 404 is due", "deleted-session": r".*401; 404 is due"},
    ),
    "one node wants another token": Row(
        Break(opening_at(1), answer=(401, "text/plain", "no")),
        {"openings": REFUSED.format("401")},
        with_nodes=True,
    ),
    "one node is down": Row(
        Break(opening_at(1), answer=(502, *PAGE)), {"openings": REFUSED.format("502")}, with_nodes=True
    ),
    "one node is elsewhere": Row(
        Break(opening_at(1), answer=(404, "text/plain", "Not Found")),
        {"openings": REFUSED.format("404 Not Found")},
        with_nodes=True,
    ),
    "a limit on sessions": Row(
        Break(lambda seen: seen.is_opening and seen.sessions >= 4, answer=(400, *error("Too many sessions"))),
        {"openings": REFUSED.format("400 Too many sessions")},
    ),
    "one session at a time": Row(
        Break(lambda seen: seen.is_opening and seen.sessions >= 1, answer=(200, *error("Server already initialized"))),
        {"openings": REFUSED.format("200 Server already initialized")},
    ),
    "other connections are refused": Row(
        Break(elsewhere, answer=(421, "text/plain", "Misdirected Request")),
        {"affinity": r"calls fail on every connection but the one that opened the session: 421.*"},
    ),
    "every second call fails": Row(Break(every(2), answer=(502, *PAGE)), {"affinity": r".*502"}),
    "some calls are cut": Row(
        Break(every(5), cut=True), {"affinity": r".*connection closed before the answer was whole"}, may=("resumption",)
    ),
    "no route for GET": Row(
        Break(lambda seen: seen.method == "GET", answer=(404, "text/plain", "Not Found")),
        {"idle": r"the standalone stream cannot be opened: 404.*"},
        may=("resumption",),
    ),
    "no route for DELETE": Row(
        Break(lambda seen: seen.method == "DELETE", answer=(403, "text/plain", "Forbidden")),
        {"deleted-session": r"clients cannot end their sessions: DELETE is answered with 403.*"},
    ),
    "the modern era meets an error": Row(
        Break(lambda seen: seen.method == "server/discover", answer=(502, *PAGE)),
        {"modern-clients": r"`server/discover` fails on \d of \d tries: 502"},
    ),
    "the modern era meets a cut connection": Row(
        Break(lambda seen: seen.method == "server/discover", cut=True),
        {"modern-clients": r"clients that try the modern era first fail on \d of \d tries: connection closed .*"},
    ),
    "half of CORS": Row(
        Break(add_out={"Access-Control-Allow-Origin": "*"}), {"cors": r"pages may read answers, but the preflight .*"}
    ),
    "slow": Row(
        Break(delay_seconds=1.1),
        {"speed": r"a ping takes 1\.\d s, also when nothing else is asked"},
        fields={"only": frozenset({"speed", "eras"}), "sessions": 2, "calls": 1},
    ),
    "idle sessions end": Row(
        Break(EndsIdle(3.0), answer=(404, *error("Session not found", -32600))),
        {"pause": r"a session that is silent for (2 s to )?5 s is gone: 404.*"},
        fields={"idle_seconds": 6.0, "only": frozenset({"eras", "affinity", "pause"})},
    ),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def healthy() -> AsyncIterator[dict[str, list[str]]]:
    """Deployments with which nothing is wrong, each by the nodes that the breaking proxy stands before."""
    async with contextlib.AsyncExitStack() as stack:
        nodes = await stack.enter_async_context(replica_urls("stateful"))
        older = [await stack.enter_async_context(bare_server("v1")) for _ in range(2)]
        learned = await stack.enter_async_context(haproxy.learned_session_id(nodes))
        yield {"SDK v2": nodes, "SDK v1": older, "SDK v2 behind HAProxy": [learned]}


@pytest.mark.parametrize("base", ["SDK v2", "SDK v1", "SDK v2 behind HAProxy"])
@pytest.mark.parametrize("name", ROWS)
async def test_the_doctor_names_what_was_broken(healthy: dict[str, list[str]], name: str, base: str) -> None:
    row = ROWS[name]
    if (row.with_nodes and len(healthy[base]) == 1) or (row.fields and base != "SDK v2"):
        pytest.skip("it shows with several nodes, or takes long and does not go by the server")
    async with breaking(healthy[base], row.broken) as url:
        report = await run(url, **{**FEW, **(row.fields or {})})
    found = problems(report, with_speed="speed" in row.says)
    assert set(row.says) <= set(found) <= set(row.says) | set(row.may), found
    for check, says in row.says.items():
        assert re.fullmatch(says, found[check]), found[check]
        assert finding(report, check).changes
    assert report.sessions <= 9
    assert report.outlook is not Outlook.HEALTHY if row.says else is_called_healthy(report)
