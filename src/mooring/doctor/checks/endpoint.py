"""The verdict on an endpoint that redirects, or that nothing can be examined at.

It is given before any check runs, so it is in no list of checks: there is nothing to choose.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from mooring.core.masking import masked_secrets
from mooring.doctor.checks.opening_refusals import OPENING_CHANGES, OPENING_MEANS
from mooring.doctor.client.protocol import ACCEPT, challenge_of, error_text
from mooring.doctor.client.reply import Outcome, Reply, Trouble
from mooring.doctor.evidence.opening_kinds import refusal_of_opening
from mooring.doctor.evidence.redirects import Lost, Redirect, same_origin
from mooring.doctor.examination import Examination
from mooring.doctor.findings import Change, Finding, Verdict
from mooring.doctor.plan import secrets_in_query

NAME: Final = "endpoint"
_BECOMES_GET: Final = frozenset({301, 302, 303})
_FORWARDED: Final = {
    Lost.SCHEME: "X-Forwarded-Proto with the scheme",
    Lost.PORT: "the Host with its port (nginx: `$http_host`, not `$host`; Apache: `ProxyPreserveHost On`), or "
    "X-Forwarded-Port",
    Lost.HOST: "the Host that clients send (nginx: `proxy_set_header Host $http_host`; Apache: `ProxyPreserveHost On`)",
    Lost.PREFIX: "the path with its prefix, or the prefix as the server's `root_path` (X-Forwarded-Prefix in Traefik)",
}


def _shown(exam: Examination, url: object) -> str:
    """Where a redirect leads, without what a login may have put into it for this one client."""
    text = str(url)
    return exam.show(masked_secrets(text, secrets_in_query(text.partition("?")[2])))


def redirected(exam: Examination, reply: Reply, leads: Redirect) -> Finding:
    """A redirect to the same server, which was followed once, at the origin that was typed."""
    typed, target = exam.show(exam.wire.url), _shown(exam, leads.target)
    evidence = {"status": reply.status, "url": typed, "location": target, "lost": [str(one) for one in leads.lost]}
    if leads.lost:
        return _lost_on_redirect(exam, reply, leads, evidence)
    slash = " (it differs by the slash at its end)" if leads.differs_by_slash(exam.wire.url) else ""
    becomes_get = reply.status in _BECOMES_GET
    return Finding(
        NAME,
        Verdict.BROKEN if becomes_get else Verdict.WARNING,
        f"every request is redirected to {target}",
        f"That is from {typed}. A {reply.status} costs each call another round trip, and clients that do not follow "
        "it on POST fail."
        + (f" With {reply.status} most clients send a GET where a POST was meant." if becomes_get else ""),
        evidence,
        (Change(f"Give clients the URL {target}{slash}, or serve MCP at the one that they have."),),
    )


def _lost_on_redirect(exam: Examination, reply: Reply, leads: Redirect, evidence: Mapping[str, Any]) -> Finding:
    """The server redirects to what it takes for its own URL, and it is not that of its clients."""
    lost, repaired = " and the ".join(leads.lost), _shown(exam, leads.repaired)
    evidence = {**evidence, "would_be": repaired}
    headers = [_FORWARDED[one] for one in leads.lost]
    return Finding(
        NAME,
        Verdict.BROKEN,
        f"redirected to {_shown(exam, leads.target)}: the {lost} of {exam.show(exam.wire.url)} is lost",
        f"The server redirects ({reply.status}), and names its URL as it sees it from behind the proxy. Clients do not "
        f"follow that, or reach nothing there; a token would go out in clear. The target should be {repaired}, and "
        "that is what was examined.",
        evidence,
        (
            Change(
                f"Have the proxy tell the server what clients typed, and the server trust it: {'; '.join(headers)}. "
                "In the server: `uvicorn --proxy-headers --forwarded-allow-ips=ADDRESS` of the proxy.",
                "# nginx\nproxy_set_header Host $http_host;\nproxy_set_header X-Forwarded-Proto $scheme;\n"
                "# HAProxy\nhttp-request set-header X-Forwarded-Proto https if { ssl_fc }\n"
                "# Apache\nProxyPreserveHost On\nRequestHeader set X-Forwarded-Proto %{REQUEST_SCHEME}s",
            ),
            Change(f"Until then, clients that have {repaired} need no redirect."),
        ),
    )


def redirected_away(exam: Examination, reply: Reply, leads: Redirect) -> Finding:
    """A redirect that clients do not follow."""
    location = _shown(exam, reply.headers.get("Location", "nowhere"))
    typed, target = exam.wire.url, leads.target
    why = "Clients do not follow a redirect to another origin, which would carry their token there."
    if target is None or not target.host:
        change = "Look at what redirects: its answer names nowhere to go."
    elif same_origin(target, typed):
        why = "It redirects again and again."
        change = f"Check the path {exam.show(typed.path)}: behind a proxy, whether it is passed on unchanged."
    elif typed.scheme == "https" and target.scheme == "http":
        change = (
            "Do not give clients that URL, which is not encrypted: see what the proxy tells the server of scheme and "
            "host (X-Forwarded-Proto, Host)."
        )
    elif typed.host == target.host and typed.scheme == "http":
        change = f"Give clients the https URL, and run `mooring doctor {location}`."
    else:
        change = f"If MCP is served there, give clients that URL, and run `mooring doctor {location}`; "
        change += "if it is a login page, see --token-env."
    via = "" if typed == exam.plan.url else f", to which {exam.show(exam.plan.url)} is redirected"
    return _cannot(exam, reply, f"redirected to {location}", f"That is from {exam.show(typed)}{via}. {why}", change)


def redirected_to_no_mcp(exam: Examination, reply: Reply) -> Finding:
    """A redirect within the origin, which was followed and leads to nothing that could be examined."""
    there = _refused(exam, reply)
    return _cannot(
        exam,
        reply,
        f"every request is redirected to {_shown(exam, exam.wire.url)}, where no session is opened",
        f"That is from {exam.show(exam.plan.url)}. There, it is so: {there.says}. A login page in front of the server "
        "looks like this, and so does a proxy that changes the path.",
        "Look at what redirects, and why. For a login, put a bearer token into an environment variable and name it: "
        "--token-env VAR; or use --header.",
    )


def cannot_examine(exam: Examination, reply: Reply) -> Finding:
    """The verdict on an endpoint that opens no session and knows no modern request."""
    refused = exam.sessions.refused or [reply]
    keys = Counter(one.status_key for one in refused)
    if len(keys) > 1:
        return _in_different_ways(exam, refused)
    return _refused(exam, reply)


def _in_different_ways(exam: Examination, refused: Sequence[Reply]) -> Finding:
    """Nobody opens a session, and not everybody for the same reason."""
    kinds = Counter(exam.show(one.label) for one in refused)
    shares = ", ".join(f"{label} ({count})" for label, count in kinds.most_common())
    first = {one.status_key: one for one in reversed(refused)}
    says = [_refused(exam, one) for one in first.values()]
    return _cannot(
        exam,
        refused[-1],
        f"`initialize` was refused {len(refused)} times, in different ways: {shares}",
        "The nodes, or the ways to them, differ: " + "; ".join(one.says for one in says) + ".",
        *dict.fromkeys(change.what for one in says for change in one.changes),
    )


def _refused(exam: Examination, reply: Reply) -> Finding:
    if reply.trouble is not None:
        return _no_answer(exam, reply)
    if reply.status == 401 or (reply.status == 403 and not _about_host(reply)):
        return _login(exam, reply)
    if reply.status == 421 or _about_host(reply):
        return _other_host(exam, reply)
    if reply.status == 406 and reply.is_page:
        return _by_a_rule(exam, reply)
    if reply.outcome is Outcome.THROTTLED:
        return _cannot(
            exam,
            reply,
            f"the server limits the rate of requests: {exam.show(reply.label)}",
            "It is so from the first request on: others, or an earlier run from this address, may have used it up.",
            "Wait for as long as it asks for, and run with less: --sessions 5 --calls 2.",
            retry_after=exam.show(reply.headers.get("Retry-After", "")),
        )
    if reply.status >= 500:
        return _cannot(
            exam,
            reply,
            f"`initialize` is answered with {exam.show(reply.label)}",
            "Either the load balancer has no healthy node for this path, or the server fails: which, its body may say.",
            "Look at the proxy's health checks and at the server's log.",
            body=exam.show(reply.text),
        )
    return (
        _changed_header(exam, reply)
        or _refused_by_the_server(exam, reply)
        or _cannot(
            exam,
            reply,
            f"no MCP endpoint: POST is answered with {exam.show(reply.label)}"
            + (f" ({reply.media_type})" if reply.media_type else ""),
            "An MCP endpoint answers `initialize` with a JSON-RPC result.",
            "Check the path: it is often /mcp; behind a proxy, whether the path is routed to the server unchanged.",
        )
    )


def _changed_header(exam: Examination, reply: Reply) -> Finding | None:
    """Where a server refuses a header that was right when it left."""
    said = (error_text(reply.message) or ("" if reply.is_page else reply.text)).lower()
    of_type = reply.status == 415 or (reply.status == 400 and "content-type" in said)
    of_accept = reply.status == 406 and not reply.is_page
    if not of_type and not of_accept:
        return None
    name = "Content-Type" if of_type else "Accept"
    return _cannot(
        exam,
        reply,
        f"`initialize` is refused for its {name}: {exam.show(reply.label)}",
        f"It was right when it left: {ACCEPT[name]}. Something on the way drops or changes it, or the server "
        "wants what no client sends.",
        f"Pass {name} on as it comes: look in each proxy for what sets or removes it, then at the server.",
    )


def _refused_by_the_server(exam: Examination, reply: Reply) -> Finding | None:
    """By a JSON-RPC error: somebody is there who speaks it."""
    said = error_text(reply.message)
    if not said:
        return None
    refusal = refusal_of_opening(reply)
    return _cannot(
        exam,
        reply,
        f"`initialize` is refused: {exam.show(reply.label)}",
        f"What answers speaks JSON-RPC. {OPENING_MEANS[refusal]}",
        OPENING_CHANGES[refusal],
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


def _has_token(exam: Examination) -> bool:
    return bool(exam.plan.tokens) or any(name.lower() == "authorization" for name, _ in exam.plan.headers)


def _by_a_rule(exam: Examination, reply: Reply) -> Finding:
    """Refused by whoever it was, for a reason that is not said: 403 is anyone's, and 406 mod_security's."""
    has_token = _has_token(exam)
    page = ", and the answer is a page made for people: something before the server gave it" if reply.is_page else ""
    return _cannot(
        exam,
        reply,
        f"`initialize` is refused: {exam.show(reply.label)}",
        f"All {len(exam.sessions.refused) or 1} tries were answered so{page}. That may be a rule on the way (a "
        "firewall, a list of addresses or methods), or "
        + ("a token that does not have the right." if has_token else "a login that is wanted.")
        + " Which, is not said.",
        "Look at the log of whatever stands first: was it that which refused these requests? "
        + ("Check what the token is for." if has_token else "For a token: --token-env VAR; or use --header."),
    )


def _login(exam: Examination, reply: Reply) -> Finding:
    has_token = _has_token(exam)
    challenge = exam.show(challenge_of(reply.headers))
    label = exam.show(reply.label)
    if reply.status == 403 and not challenge and (has_token or reply.is_page):
        return _by_a_rule(exam, reply)
    unseen = (
        " It names no error, as a server does that saw no token at all." if "error=" not in challenge.lower() else ""
    )
    return _cannot(
        exam,
        reply,
        f"the token is refused: {label}"
        if has_token
        else f"`initialize` is answered with {label}: a login seems to be needed",
        f"The answer asks for: {challenge}.{unseen if has_token else ''}"
        if challenge
        else f"All {len(exam.sessions.refused) or 1} tries were answered so; what login is wanted is not said.",
        "Check that the token is for this server and not expired, and that each proxy passes on Authorization."
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
        Trouble.NOT_SENT: ("nothing more was sent", "Run it again."),
        Trouble.ENCODED: (
            str(Trouble.ENCODED),
            "The doctor asks for `Accept-Encoding: identity`. Look at what compresses answers on the way: it may do so "
            "for nobody who does not ask for it, and Content-Encoding has to go where something unpacks them.",
        ),
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


def old_transport(exam: Examination, reply: Reply, path: str) -> Finding:
    """Another transport, which the doctor does not speak."""
    is_here = path == exam.wire.url.path
    where = "here" if is_here else f"at {exam.show(path)}"
    return _cannot(
        exam,
        reply,
        "the server speaks the deprecated HTTP+SSE transport only (2024-11-05)"
        if is_here
        else f"no Streamable HTTP here; the deprecated HTTP+SSE transport (2024-11-05) is spoken {where}",
        f"A GET {where} opens a stream that names another endpoint for POST. That transport needs the stream "
        "and every POST on one node, and clients are dropping it.",
        "Serve Streamable HTTP (in the SDKs: `streamable_http_app()`, `StreamableHTTPServerTransport`).",
    )


def _cannot(exam: Examination, reply: Reply, says: str, why: str, *changes: str, **evidence: Any) -> Finding:
    tried = len(exam.sessions.attempts)
    measured = {
        "status": reply.status,
        "seconds": round(reply.seconds, 3),
        "detail": exam.show(reply.detail),
        "tried": tried,
        "answers": dict(Counter(exam.show(one.reply.label) for one in exam.sessions.attempts)),
    }
    return Finding(NAME, Verdict.BROKEN, says, why, {**measured, **evidence}, tuple(Change(one) for one in changes))
