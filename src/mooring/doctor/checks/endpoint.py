"""The verdict on an endpoint that redirects, or that nothing can be examined at.

It is given before any check runs, so it is in no list of checks: there is nothing to choose.
"""

from __future__ import annotations

from typing import Any, Final

from yarl import URL

from mooring.doctor.client.reply import Outcome, Reply, Trouble
from mooring.doctor.examination import Examination
from mooring.doctor.findings import Change, Finding, Verdict

NAME: Final = "endpoint"


def redirected(exam: Examination, reply: Reply, target: URL) -> Finding:
    """A redirect within the origin, which was followed once."""
    shown = exam.show(target)
    return Finding(
        NAME,
        Verdict.WARNING,
        f"every request is redirected to {shown}",
        f"A {reply.status} costs each call another round trip, and clients that do not follow it on POST fail.",
        {"status": reply.status, "location": shown},
        (Change(f"Give clients the URL {shown}, or serve MCP at this one."),),
    )


def redirected_away(exam: Examination, reply: Reply) -> Finding:
    """A redirect that clients do not follow."""
    location = exam.show(reply.headers.get("Location", "nowhere"))
    return _cannot(
        exam,
        reply,
        f"redirected to {location}",
        "Clients do not follow a redirect to another origin, which would carry their token there.",
        f"Give clients that URL, and run `mooring doctor {location}`; if it is a login page, see --token-env.",
    )


def cannot_examine(exam: Examination, reply: Reply) -> Finding:
    """The verdict on an endpoint that opens no session and knows no modern request."""
    if reply.trouble is not None:
        return _no_answer(exam, reply)
    if reply.status == 401 or (reply.status == 403 and not _about_host(reply)):
        return _login(exam, reply)
    if reply.status == 421 or _about_host(reply):
        return _other_host(exam, reply)
    if reply.outcome is Outcome.THROTTLED:
        return _cannot(
            exam,
            reply,
            f"the server limits the rate of requests: {exam.show(reply.label)}",
            "It does so from the first request on: others, or an earlier run from this address, have used it up.",
            "Wait for as long as it asks for, and run with less: --sessions 5 --calls 2.",
            retry_after=exam.show(reply.headers.get("Retry-After", "")),
        )
    if reply.status >= 500:
        return _cannot(
            exam,
            reply,
            f"`initialize` is answered with {exam.show(reply.label)}",
            "The load balancer has no healthy node for this path, or the server fails.",
            "Look at the proxy's health checks and at the server's log.",
        )
    return _cannot(
        exam,
        reply,
        f"no MCP endpoint: POST is answered with {exam.show(reply.label)}"
        + (f" ({reply.media_type})" if reply.media_type else ""),
        "An MCP endpoint answers `initialize` with a JSON-RPC result.",
        "Check the path: it is often /mcp; behind a proxy, whether the path is routed to the server unchanged.",
    )


def _about_host(reply: Reply) -> bool:
    return reply.status == 403 and any(word in reply.text.lower() for word in ("host", "origin"))


def _other_host(exam: Examination, reply: Reply) -> Finding:
    host = exam.wire.url.authority
    return _cannot(
        exam,
        reply,
        f"the server refuses its own host name: {exam.show(reply.label)}",
        f"Its allow-list of Host or Origin does not have {host}, or what a proxy puts in its place: SDK servers "
        "come with a list for localhost only.",
        f"Allow the name in the server: TransportSecuritySettings(allowed_hosts=[{host!r}]) in the Python SDK, "
        "`allowedHosts` in the TypeScript SDK; or let the proxy set the Host that the server expects.",
    )


def _login(exam: Examination, reply: Reply) -> Finding:
    has_token = bool(exam.plan.tokens) or any(name.lower() == "authorization" for name, _ in exam.plan.headers)
    challenge = exam.show(reply.headers.get("WWW-Authenticate", ""))
    return _cannot(
        exam,
        reply,
        f"the token is refused: {exam.show(reply.label)}" if has_token else "a login is required",
        f"The server asks for: {challenge}." if challenge else "",
        "Check that the token is for this server and not expired."
        if has_token
        else "Put a bearer token into an environment variable and name it: --token-env VAR; or use --header.",
        challenge=challenge,
    )


def _no_answer(exam: Examination, reply: Reply) -> Finding:
    host = exam.wire.url.host
    port = exam.wire.url.port
    seconds = exam.plan.timeout_seconds
    said: dict[Trouble, tuple[str, str]] = {
        Trouble.HANG: (
            f"no answer within {seconds:g} s",
            "Is the server up, and does the proxy pass this path on to it? --timeout waits longer.",
        ),
        Trouble.NAME: (f"the host name {host} cannot be resolved", "Check the URL, and the DNS of this machine."),
        Trouble.REFUSED: (f"nothing listens at {host}:{port}", "Check host and port, and whether the proxy runs."),
        Trouble.TLS: _on_tls(reply.detail),
        Trouble.CUT: (
            "the connection is closed without an answer",
            "Is this the port for HTTP, and not for HTTPS or something else? Look at the proxy's log.",
        ),
        Trouble.NO_WAY: (f"no connection to {host}:{port}", "Check the network, the firewall and the proxy."),
        Trouble.NOT_HTTP: ("what answers does not speak HTTP", "Check the port, and http against https."),
    }
    assert reply.trouble is not None
    says, change = said[reply.trouble]
    return _cannot(exam, reply, exam.show(says), "", change)


def _on_tls(detail: str) -> tuple[str, str]:
    """What is wrong with TLS, by what the library says, and what to do."""
    _, is_certificate, reason = detail.partition("certificate verify failed: ")
    if is_certificate:
        reason = reason.partition(" (_ssl")[0].removesuffix(".")
        return (
            f"TLS fails: {reason}",
            "Repair the certificate (name, dates, the whole chain). For a private authority, set SSL_CERT_FILE to "
            "its certificate; clients have to trust it too.",
        )
    # `[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1006)`: what is no TLS is read as one of its versions.
    reason = (detail.partition("[SSL: ")[2].partition("] ")[2] or detail).partition(" (_ssl")[0].rstrip("]'")
    if "WRONG_VERSION_NUMBER" in detail:
        return f"TLS fails: what answers does not speak it ({reason})", "Write http:// for this port, or give another."
    return f"TLS fails: {reason}", "Look at the TLS versions, ciphers and client certificates that the proxy asks for."


def old_transport(exam: Examination, reply: Reply) -> Finding:
    """Another transport, which the doctor does not speak."""
    return _cannot(
        exam,
        reply,
        "the server speaks the deprecated HTTP+SSE transport only (2024-11-05)",
        "A GET at this URL opens a stream that names another endpoint for POST. That transport needs the stream "
        "and every POST on one node, and clients are dropping it.",
        "Serve Streamable HTTP (in the SDKs: `streamable_http_app()`, `StreamableHTTPServerTransport`).",
    )


def _cannot(exam: Examination, reply: Reply, says: str, why: str, change: str, **evidence: Any) -> Finding:
    measured = {"status": reply.status, "seconds": round(reply.seconds, 3), "detail": exam.show(reply.detail)}
    return Finding(NAME, Verdict.BROKEN, says, why, {**measured, **evidence}, (Change(change),))
