"""Deployments as strangers have them: three of real parts for each kind of fault, differing in proxy, SDK and status.

`says` is what has to be said, check by check, as regular expressions; `may` are checks that may say something as well,
since it follows from the fault or is the server's own. Nothing else may be said but `ok` and `unknown`.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
import pytest_asyncio

from mooring.doctor.report import Report
from tests.bare import bare_server, listening, uvicorn_command
from tests.cli.doctor.process import running_doctor
from tests.deployments import apache, caddy, haproxy, nginx, traefik
from tests.deployments.certificate import self_signed_pem
from tests.deployments.forgetful import forgetful
from tests.deployments.oddities import running_oddities
from tests.deployments.servers import replica_urls
from tests.doctor.runs import is_called_healthy, problems, run
from tests.ports import free_port

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="module")]

Running = AbstractAsyncContextManager[str]
IN_TURN: Final = "balance roundrobin"
STICKY: Final = haproxy._STICKY
TYPESCRIPT: Final = ("unknown-session", "deleted-session", "origin", "host", "body-limit")
"""What that SDK's example does in its own way: it is told whatever is in front."""


@dataclass(frozen=True)
class Nodes:
    """The servers that deployments are made of: MCP endpoints."""

    v2: list[str]
    v1: list[str]
    typescript: list[str]
    odd: Mapping[str, str]
    dead: str


@dataclass(frozen=True)
class Case:
    """
    Attributes:
        deploy: gives the base URL of the deployment.
        not_said: words that nothing in the report may have.
    """

    deploy: Callable[[Nodes], Running]
    says: dict[str, str]
    may: tuple[str, ...] = ()
    fields: dict[str, Any] = field(default_factory=dict)
    not_said: tuple[str, ...] = ()
    left: int = 0


@contextlib.asynccontextmanager
async def uvicorn(*options: str) -> AsyncIterator[str]:
    """A server without anything before it, run with these options."""
    port = free_port()
    command = [*uvicorn_command("tests.servers.small:app", port, python=sys.executable), *options]
    async with listening(command, port, what="uvicorn"):
        yield f"http://127.0.0.1:{port}"


@contextlib.asynccontextmanager
async def workers(*command: str) -> AsyncIterator[str]:
    """Several processes on one port, of another server than uvicorn."""
    port = free_port()
    filled = [word.format(port=port) for word in command]
    base = f"http://127.0.0.1:{port}"
    async with (
        listening([sys.executable, "-m", *filled, "tests.servers.small:app"], port, what=command[0]),
        aiohttp.ClientSession() as client,
    ):
        async with client.get(base):  # the port is open before any worker is there
            pass
        yield base


def ha(urls: list[str], *backend: str, rules: tuple[str, ...] = (), **more: Any) -> Running:
    return haproxy.running_haproxy(urls, IN_TURN, *backend, frontend=rules, **more)


@contextlib.asynccontextmanager
async def behind(front: Callable[[list[str]], Running], hop: Running) -> AsyncIterator[str]:
    """Something between the proxy and the nodes."""
    async with hop as url, front([url]) as base:
        yield base


@contextlib.asynccontextmanager
async def unchanged(url: str) -> AsyncIterator[str]:
    """Nothing more in front of it."""
    yield url.removesuffix("/mcp")


def page(status: int) -> tuple[str, ...]:
    html = '"<html><h1>oops</h1></html>"'
    return (f"http-response return status {status} content-type text/html string {html} if {{ status 404 }}",)


def refuse_body(words: str, status: int) -> tuple[str, ...]:
    """As a firewall does that looks for words in what is posted."""
    return ("option http-buffer-request", f"http-request deny deny_status {status} if {{ req.body -m sub {words} }}")


def nginx_then(urls: list[str], rules: tuple[str, ...]) -> Running:
    return behind(lambda inner: nginx.running_nginx(inner), ha(urls, rules=rules))


DROPPED: Final = r"Mcp-Session-Id does not reach the server: \d+ of \d+ calls opened new sessions"
LOST_OUT: Final = r"the session id is lost on its way out: .*"
REFUSED: Final = r"\d+ of \d+ new sessions could not be opened: {}.*"
FAILS_WITH_TWO: Final = r"works with one replica, fails with two: \d\d% of calls miss their session"
BY_CONNECTION: Final = r"affinity by connection(, as with several workers on one port)?: .*"
"""On a busy machine the kernel may give them their connections in turn, as a load balancer does."""
MANY: Final = {"sessions": 40}
"""Enough that not one worker alone has them, however the kernel gives them their connections."""
RATE: Final = {"only": frozenset({"eras", "openings", "affinity", "unknown-session"}), "sessions": 8, "calls": 2}
CALL: Final = {"tool": "work", "arguments": {"steps": 4, "seconds": 0.4}, "calls": 1, "sessions": 2}
CALL_ONLY: Final = {**CALL, "only": frozenset({"eras", "affinity", "buffering", "compression"})}
# Beside other checks, or on a machine that is slow, a short pause is none for the proxy.
ALONE: Final = {"idle_seconds": 12.0, "only": frozenset({"eras", "affinity", "pause"})}

CASES: Final[dict[str, Case]] = {
    # The session id is lost on the way in.
    "nginx drops the id, v2": Case(
        lambda n: nginx.running_nginx(n.v2[:1], {"proxy_set_header Mcp-Session-Id": '""'}),
        {"affinity": DROPPED},
        left=9,
    ),
    "nginx drops the id, v1": Case(
        lambda n: nginx.running_nginx(n.v1[:1], {"proxy_set_header Mcp-Session-Id": '""'}),
        {"affinity": DROPPED},
        left=9,
    ),
    "HAProxy drops the id, v2": Case(
        lambda n: ha(n.v2[:1], rules=("http-request del-header Mcp-Session-Id",)), {"affinity": DROPPED}, left=9
    ),
    "HAProxy drops the id, TypeScript": Case(
        lambda n: ha(n.typescript[:1], rules=("http-request del-header Mcp-Session-Id",)),
        {"affinity": r"no call reaches its session: 400.*"},
        left=9,
    ),
    "Apache unsets the id, v1": Case(
        lambda n: apache.running_apache(n.v1[:1], "RequestHeader unset Mcp-Session-Id"), {"affinity": DROPPED}, left=9
    ),
    # The session id is lost on the way out.
    "Caddy takes the id out, v1": Case(
        lambda n: caddy.running_caddy(n.v1[:1], "header_down -Mcp-Session-Id"),
        {"affinity": LOST_OUT},
        not_said=("stateless",),
        left=4,
    ),
    "nginx hides the id": Case(
        lambda n: nginx.running_nginx(n.v2[:1], {"proxy_hide_header": "Mcp-Session-Id"}),
        {"affinity": LOST_OUT},
        not_said=("stateless",),
        left=4,
    ),
    "HAProxy hides the id, v1": Case(
        lambda n: ha(n.v1[:1], rules=("http-response del-header Mcp-Session-Id",)),
        {"affinity": LOST_OUT},
        not_said=("stateless",),
        left=4,
    ),
    "HAProxy renames the id, TypeScript": Case(
        lambda n: ha(
            n.typescript[:1],
            rules=(
                "http-response set-header X-Sid %[res.hdr(Mcp-Session-Id)] if { res.hdr(Mcp-Session-Id) -m found }",
                "http-response del-header Mcp-Session-Id",
            ),
        ),
        {"affinity": LOST_OUT + "X-Sid"},
        not_said=("stateless",),
        left=4,
    ),
    # Some openings are refused.
    "a node at another path": Case(
        lambda n: ha([*n.v2[:2], n.odd["other_path"]], *STICKY),
        {"openings": REFUSED.format("404 Not Found")},
        may=("modern-headers", "modern-clients"),
    ),
    "a node at another path, without affinity": Case(
        lambda n: caddy.running_caddy([n.v2[0], n.odd["other_path"]], "lb_policy round_robin"),
        {
            "openings": REFUSED.format("404 Not Found"),
            "affinity": r"\d+ of \d+ calls met what is no MCP server: 404 Not Found",
        },
        may=("modern-headers", "modern-clients"),
        not_said=("fails with two",),
    ),
    "a node at another path, v1": Case(
        lambda n: ha([n.v1[0], n.odd["other_path"]], *STICKY),
        {"openings": REFUSED.format("404 Not Found")},
        may=("modern-headers", "modern-clients"),
    ),
    "a node that wants another token, without affinity": Case(
        lambda n: nginx.running_nginx([n.odd["token"], n.odd["other_token"]]),
        {"openings": REFUSED.format("401 Unauthorized"), "affinity": r".*401 Unauthorized"},
        may=("modern-headers", "modern-clients"),
        fields={"tokens": ("a-token",)},
        not_said=("token is refused", "Pass DELETE on", "Pass GET on"),
        left=9,
    ),
    "a node that is down, Caddy": Case(
        lambda n: caddy.running_caddy([n.v1[0], n.dead], "lb_policy round_robin"),
        {"openings": REFUSED.format("502"), "affinity": r".*502"},
        may=("modern-headers", "modern-clients"),
        left=9,
    ),
    "a node that is down, HAProxy": Case(
        lambda n: ha([n.v2[0], n.dead], *STICKY),
        {"openings": REFUSED.format("503")},
        may=("modern-headers", "modern-clients"),
        fields={"most_seconds": 75.0},
        not_said=("out of time", "at a time"),
    ),
    "a limit on sessions, Caddy": Case(
        lambda n: caddy.running_caddy([n.odd["few_sessions"]]),
        {"openings": REFUSED.format("503 Too many open sessions")},
    ),
    "a node that wants another token": Case(
        lambda n: ha([n.odd["token"], n.odd["other_token"]], *STICKY),
        {"openings": REFUSED.format("401 Unauthorized")},
        may=("modern-headers", "modern-clients"),
        fields={"tokens": ("a-token",)},
        not_said=("token is refused",),
    ),
    "a node that is down, Traefik": Case(
        lambda n: traefik.running_traefik([n.v2[0], n.dead]),
        {"affinity": r"\d+ of \d+ calls failed: 502 Bad Gateway"},
        may=("openings", "modern-headers", "modern-clients", "unknown-session", "forged-session", "deleted-session"),
    ),
    "a limit on sessions": Case(
        lambda n: ha([n.odd["few_sessions"]]), {"openings": REFUSED.format("503 Too many open sessions")}
    ),
    "one client at a time": Case(
        lambda n: nginx.running_nginx([n.odd["one_client"]]),
        {"openings": REFUSED.format("200 Invalid Request: Server already initialized")},
    ),
    # The doctor's own load is no finding.
    "uvicorn limits connections": Case(lambda n: uvicorn("--limit-concurrency", "6"), {}, fields=RATE),
    "HAProxy limits the rate": Case(
        lambda n: ha(
            n.v2[:1],
            rules=(
                "stick-table type ip size 1k expire 1m store http_req_rate(1s)",
                "http-request track-sc0 src",
                "http-request deny deny_status 429 if { sc_http_req_rate(0) gt 15 }",
            ),
        ),
        {},
        fields=RATE,
    ),
    "HAProxy takes few connections": Case(
        lambda n: ha(n.v2[:1], rules=("maxconn 4",)),
        {"openings": r"only about \d connections are served at a time: others wait"},
        fields={**RATE, "timeout_seconds": 2.0},
        not_said=("tied to its connection", "A node that is down"),
    ),
    # A 404 that is none any more.
    "404 becomes a 502": Case(
        lambda n: ha(n.v2, rules=page(502)),
        {"affinity": FAILS_WITH_TWO, "unknown-session": r".*502; 404 is due"},
        may=("deleted-session", "idle", "compression"),
    ),
    "404 becomes a page, v1": Case(
        lambda n: ha(n.v1, rules=page(200)),
        {"affinity": FAILS_WITH_TWO, "unknown-session": r".*200; 404 is due"},
        may=("deleted-session", "idle", "compression"),
    ),
    "404 becomes a 503": Case(
        lambda n: ha(n.v2[:1], rules=page(503)),
        {"unknown-session": r".*503; 404 is due", "deleted-session": r".*503; 404 is due"},
        may=("forged-session",),
    ),
    "404 becomes a 502 in words": Case(
        lambda n: caddy.running_caddy(
            n.v2[:1], "@gone status 404", "handle_response @gone {", 'respond "Bad Gateway" 502', "}"
        ),
        {"unknown-session": r".*502; 404 is due", "deleted-session": r".*502; 404 is due"},
        may=("forged-session",),
    ),
    # Affinity by other means.
    "in turn, Apache": Case(lambda n: apache.running_apache(n.v2), {"affinity": FAILS_WITH_TWO}),
    "a cookie alone, Caddy": Case(
        lambda n: caddy.running_caddy(n.v1, "lb_policy cookie lb"),
        {"affinity": r"only clients that keep cookies work: .*", "cookie": r".*other paths.*"},
    ),
    "two workers": Case(
        lambda n: uvicorn("--workers", "2"),
        {"affinity": BY_CONNECTION},
        may=("resumption",),
        fields=MANY,
    ),
    "three workers, gunicorn": Case(
        lambda n: workers("gunicorn", "-w", "3", "-k", "uvicorn.workers.UvicornWorker", "-b", "127.0.0.1:{port}"),
        {"affinity": BY_CONNECTION},
        may=("resumption",),
        fields=MANY,
    ),
    "two workers, granian": Case(
        lambda n: workers("granian", "--interface", "asgi", "--workers", "2", "--port", "{port}"),
        {"affinity": BY_CONNECTION},
        may=("resumption",),
        fields=MANY,
    ),
    "a table that is too small, HAProxy": Case(
        lambda n: ha(n.v2, STICKY[0].replace("10k", "8"), *STICKY[1:]),
        {"affinity": r"sessions are reached at first, and later \d\d% of calls miss them"},
        fields={"sessions": 18},
        not_said=("Nothing keeps", "learn which node"),
    ),
    "sessions in turn, TypeScript": Case(
        lambda n: nginx.running_nginx(n.typescript), {"affinity": FAILS_WITH_TWO}, may=TYPESCRIPT
    ),
    # Something on the way reads what is in the body, or changes what is in the headers.
    "a firewall refuses notifications": Case(
        lambda n: ha(n.v2[:1], rules=refuse_body("notifications/initialized", 403)),
        {"openings": r"`notifications/initialized` is refused in each session: 403"},
    ),
    "a firewall refuses notifications, v1": Case(
        lambda n: ha(n.v1[:1], rules=refuse_body("notifications/initialized", 502)),
        {"openings": r"`notifications/initialized` is refused in each session: 502"},
        not_said=("answered when sent once more", "A node that is down"),
    ),
    "a firewall refuses lists of tools": Case(
        lambda n: ha(n.v2[:1], rules=refuse_body("tools/list", 403)),
        {"affinity": r"pings are answered, and `tools/list` is not: 403"},
        may=("modern-headers",),
    ),
    "a firewall refuses lists of tools, TypeScript": Case(
        lambda n: nginx_then(n.typescript[:1], refuse_body("tools/list", 500)),
        {"affinity": r"pings are answered, and `tools/list` is not: 500"},
        may=TYPESCRIPT,
    ),
    "no way for DELETE": Case(
        lambda n: ha(n.v1[:1], rules=("http-request deny deny_status 404 if { method DELETE }",)),
        {"deleted-session": r"clients cannot end their sessions: DELETE is answered with 404"},
        left=9,
    ),
    # What comes after a pause.
    "idle sessions end": Case(
        lambda n: ha([n.odd["ends_idle_sessions"]]),
        {"pause": r"a session that is silent for (2 s to )?5 s is gone: 404 .*"},
        fields={"idle_seconds": 6.0},
    ),
    "Apache keeps connections that are dead": Case(
        lambda n: behind(lambda urls: apache.running_apache(urls), forgetful(n.v2[0], 1.5)),
        # Where the client's connection was in use before, Apache closes it in place of a 502.
        {"pause": r"after \d+ s of silence .*(502|connection closed before the answer was whole)"},
        fields=ALONE,
    ),
    "nginx keeps connections that are dead": Case(
        lambda n: behind(
            lambda urls: nginx.running_nginx(urls, balance="keepalive 16"),
            forgetful(n.v1[0], 1.5),
        ),
        {"pause": r"after \d+ s of silence .*502"},
        fields=ALONE | {"sessions": 12},
        not_said=("client's own connection",),
    ),
    "a firewall forgets connections": Case(
        lambda n: behind(lambda urls: unchanged(urls[0]), forgetful(n.v2[0], 1.5)),
        {"pause": r"after 5 s of silence the first call fails, and the next does not: connection closed .*"},
        fields={"idle_seconds": 6.0},
    ),
    # Streams.
    "a buffer behind Caddy": Case(
        lambda n: caddy.running_caddy([n.odd["buffering"]]),
        {"buffering": r"all 5 events of a call of .* came at its end"},
        fields=CALL_ONLY,
    ),
    "Apache cuts silence": Case(
        lambda n: apache.running_apache(n.v2[:1], "ProxyTimeout 4"),
        {"idle": r"a silent stream is cut after 4(\.\d)? s"},
        fields={"idle_seconds": 6.0},
        may=("body-limit",),
    ),
    "gzip lets events pass, Caddy": Case(
        lambda n: caddy.running_caddy(
            n.v2[:1],
            "header_down -Cache-Control",  # with `no-transform`, as the SDK has it, nothing is compressed
            site=["encode gzip {", "minimum_length 1", "match {", "header Content-Type text/*", "}", "}"],
        ),
        {},
        fields=CALL_ONLY,
    ),
    "a buffer behind HAProxy": Case(
        lambda n: ha([n.odd["buffering"]]),
        {"buffering": r"all 5 events of a call of .* came at its end"},
        fields=CALL_ONLY,
        not_said=("option http-no-delay",),
    ),
    "a buffer behind nginx": Case(
        lambda n: nginx.running_nginx([n.odd["buffering"]]),
        {"buffering": r"all 5 events of a call of .* came at its end"},
        fields=CALL_ONLY,
    ),
    "gzip holds events back": Case(
        lambda n: nginx.running_nginx(n.v2[:1], {**nginx._COMPRESSES, **nginx._BUFFERS, "proxy_http_version": "1.1"}),
        {"compression": r"compressed streams hold events back: .*"},
        fields=CALL_ONLY,
    ),
    # Pages, redirects, and what is beside.
    "pages do not see the id": Case(
        lambda n: nginx.running_nginx([n.odd["hides_id_from_pages"]]),
        {"cors": r"web pages cannot read Mcp-Session-Id.*"},
    ),
    "pages do not see the id, Caddy": Case(
        lambda n: caddy.running_caddy([n.odd["hides_id_from_pages"]]),
        {"cors": r"web pages cannot read Mcp-Session-Id.*"},
    ),
    "no route for GET, Caddy": Case(
        lambda n: caddy.running_caddy(n.v2[:1], site=["@get method GET", "respond @get 404"]),
        {"idle": r"the standalone stream cannot be opened: 404.*"},
        may=("resumption",),
    ),
    "no route for GET, v1": Case(
        lambda n: ha(n.v1[:1], rules=("http-request deny deny_status 501 if METH_GET",)),
        {
            "idle": r"the standalone stream cannot be opened: 501.*",
            "resumption": r"event ids are given, and a GET with one is refused: 501.*",
        },
    ),
    "a page in place of GET, TypeScript": Case(
        lambda n: ha(
            n.typescript[:1],
            rules=('http-request return status 200 content-type text/html string "<html>app</html>" if METH_GET',),
        ),
        {"idle": r"the standalone stream cannot be opened: 200 \(text/html\)"},
        may=TYPESCRIPT,
    ),
    "HAProxy cuts silence, v1": Case(
        lambda n: ha(n.v1[:1], "timeout server 3s"),
        {"idle": r"a silent stream is cut after 3(\.\d)? s"},
        fields={"idle_seconds": 6.0},
    ),
    "nginx cuts silence, TypeScript": Case(
        lambda n: nginx.running_nginx(n.typescript[:1], {"proxy_read_timeout": "3s"}),
        {"idle": r"a silent stream is cut after 3(\.\d)? s"},
        fields={"idle_seconds": 6.0},
        may=TYPESCRIPT,
    ),
    "a redirect loses the port, Apache": Case(
        lambda n: apache.running_apache([n.odd["slash"]], "ProxyPreserveHost Off"),
        {"endpoint": r"redirected to http://127.0.0.1:\d+/mcp/: the port of .* is lost"},
        may=("host",),
    ),
    "pages are let in": Case(lambda n: ha([n.odd["open_to_pages"]]), {}),
    "CORS comes twice": Case(
        lambda n: nginx.running_nginx([n.odd["open_to_pages"]], {"add_header Access-Control-Allow-Origin": "* always"}),
        {"cors": r"Access-Control-Allow-Origin comes twice.*"},
    ),
    "a redirect to a slash": Case(
        lambda n: nginx.running_nginx([n.odd["slash"]]),
        {"endpoint": r"every request is redirected to .*/mcp/"},
    ),
    "a redirect loses the port": Case(
        lambda n: nginx.running_nginx([n.odd["slash"]], {"proxy_set_header Host": "$host"}),
        {"endpoint": r"redirected to http://127.0.0.1/mcp/: the port of .* is lost"},
    ),
    "HTTP+SSE beside it": Case(lambda n: ha([n.odd["with_sse"]]), {}),
    "HTTP+SSE beside it, nginx": Case(lambda n: nginx.running_nginx([n.odd["with_sse"]]), {}),
    "HTTP+SSE beside it, Caddy": Case(lambda n: caddy.running_caddy([n.odd["with_sse"]]), {}),
    "answers without streams": Case(lambda n: ha([n.odd["json"]]), {}),
    "nodes of two eras": Case(
        lambda n: ha([n.v2[0], n.v1[0]], *STICKY),
        {"eras": r"sessions met different server versions: .*"},
        may=("modern-clients", "modern-headers"),
    ),
}

KINDS: Final[dict[str, tuple[str, ...]]] = {
    "the id is lost on the way in": (
        "nginx drops the id, v1",
        "HAProxy drops the id, TypeScript",
        "Apache unsets the id, v1",
    ),
    "the id is lost on the way out": (
        "nginx hides the id",
        "HAProxy renames the id, TypeScript",
        "Caddy takes the id out, v1",
    ),
    "a node at another path": (
        "a node at another path",
        "a node at another path, v1",
        "a node at another path, without affinity",
    ),
    "a node that is no good": (
        "a node that wants another token",
        "a node that wants another token, without affinity",
        "a node that is down, Traefik",
        "a node that is down, Caddy",
        "a node that is down, HAProxy",
    ),
    "only so many sessions": (
        "a limit on sessions",
        "a limit on sessions, Caddy",
        "one client at a time",
    ),
    "a 404 that is none any more": (
        "404 becomes a 502",
        "404 becomes a page, v1",
        "404 becomes a 503",
        "404 becomes a 502 in words",
    ),
    "a firewall that reads methods": (
        "a firewall refuses notifications",
        "a firewall refuses notifications, v1",
        "a firewall refuses lists of tools",
        "a firewall refuses lists of tools, TypeScript",
    ),
    "no affinity, or a poor one": (
        "sessions in turn, TypeScript",
        "in turn, Apache",
        "a cookie alone, Caddy",
    ),
    "workers on one port": ("two workers", "three workers, gunicorn", "two workers, granian"),
    "a GET without a route": ("no route for GET, Caddy", "no route for GET, v1", "a page in place of GET, TypeScript"),
    "silence is cut": ("Apache cuts silence", "HAProxy cuts silence, v1", "nginx cuts silence, TypeScript"),
    "HTTP+SSE beside it": ("HTTP+SSE beside it", "HTTP+SSE beside it, nginx", "HTTP+SSE beside it, Caddy"),
    "what a pause ends": (
        "idle sessions end",
        "Apache keeps connections that are dead",
        "nginx keeps connections that are dead",
        "a firewall forgets connections",
    ),
    "events come late": (
        "a buffer behind HAProxy",
        "a buffer behind nginx",
        "a buffer behind Caddy",
        "gzip holds events back",
    ),
    "web pages": ("pages do not see the id", "pages do not see the id, Caddy", "CORS comes twice"),
    "redirects": ("a redirect to a slash", "a redirect loses the port", "a redirect loses the port, Apache"),
    "nothing is wrong": (
        "uvicorn limits connections",
        "HAProxy limits the rate",
        "pages are let in",
        "answers without streams",
        "gzip lets events pass, Caddy",
    ),
}
"""Each kind of fault, and the deployments that have it: at least three."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def nodes() -> AsyncIterator[Nodes]:
    async with contextlib.AsyncExitStack() as stack:
        v2 = await stack.enter_async_context(replica_urls("stateful"))
        typescript = await stack.enter_async_context(replica_urls("typescript", 2))
        odd = await stack.enter_async_context(running_oddities())
        v1 = [await stack.enter_async_context(bare_server("v1")) for _ in range(2)]
        yield Nodes(v2, v1, typescript, odd, f"http://127.0.0.1:{free_port()}/mcp")


@pytest.mark.parametrize("name", CASES)
async def test_what_is_said_and_what_is_not(nodes: Nodes, name: str) -> None:
    case = CASES[name]
    async with case.deploy(nodes) as base:
        report = await run(f"{base}/mcp", **{"sessions": 9, "calls": 3, "timeout_seconds": 5.0, **case.fields})
    found = problems(report)
    assert set(case.says) <= set(found) <= set(case.says) | set(case.may), found
    for check, says in case.says.items():
        assert re.fullmatch(says, found[check]), found[check]
    assert_nothing_is_said(report, case.not_said)
    assert report.sessions <= case.fields.get("sessions", 9)
    assert report.left <= case.left, report.why_left
    assert is_called_healthy(report) == (not case.says)


async def test_each_kind_has_three_deployments() -> None:
    assert {kind for kind, names in KINDS.items() if len(set(names)) < 3} == set()
    assert {name for names in KINDS.values() for name in names} <= set(CASES)


def assert_nothing_is_said(report: Report, words: tuple[str, ...]) -> None:
    said = " ".join(
        " ".join((one.says, one.why, *(change.what + change.config for change in one.changes)))
        for one in report.findings
    )
    assert not [word for word in words if word in said], said


async def test_slow_servers_are_named_behind_each_proxy(nodes: Nodes) -> None:
    """At the same time: most of it is waiting."""
    fields: dict[str, Any] = {"only": frozenset({"openings", "speed"}), "sessions": 2, "calls": 1}

    async def examine(deployed: Running) -> dict[str, str]:
        async with deployed as base:
            return problems(await run(f"{base}/mcp", timeout_seconds=5.0, **fields), with_speed=True)

    slow = [nodes.odd["slow"]]
    proxies = (ha(slow), nginx.running_nginx(slow), caddy.running_caddy(slow), apache.running_apache(slow))
    for found in await asyncio.gather(*map(examine, proxies)):
        assert set(found) == {"openings", "speed"}
        assert re.fullmatch(r"a session takes \d\.\d s to open", found["openings"])
        assert re.fullmatch(r"a ping takes \d\.\d s, also when nothing else is asked", found["speed"])


async def test_a_redirect_behind_tls_gives_nobody_a_url_in_clear(
    nodes: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(haproxy, "self_signed_pem", lambda _: self_signed_pem(tmp_path))
    environment = {"SSL_CERT_FILE": str(tmp_path / "certificate.pem")}
    async with (
        ha([nodes.odd["slash"]], tls=True) as base,
        running_doctor(f"{base}/mcp", "--quick", "--json", environment=environment) as doctor,
    ):
        said = (await doctor.end()).json
    [found] = [one for one in said["findings"] if one["check"] == "endpoint"]
    assert re.fullmatch(r"redirected to http://.*: the scheme of https://.*/mcp is lost", found["says"]), found
    assert "X-Forwarded-Proto" in found["changes"][0]["what"]
    assert not any("Give clients the URL http:" in change["what"] for change in found["changes"])
    assert said["url"] == f"{base}/mcp"
    assert said["outlook"] == "broken", "the rest was examined, at the origin that was typed"
