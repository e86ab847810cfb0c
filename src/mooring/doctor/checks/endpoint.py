"""The verdict on an endpoint that opens no session: who refuses `initialize`, and why.

What redirects is told in `redirects`, what does not answer in `no_answer`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from mooring.doctor.checks.no_answer import no_answer
from mooring.doctor.checks.opening_refusals import OPENING_CHANGES, OPENING_MEANS
from mooring.doctor.checks.unexamined import unexamined
from mooring.doctor.client.protocol import ACCEPT, challenge_of, error_text
from mooring.doctor.client.reply import Outcome, Reply
from mooring.doctor.evidence.opening_kinds import OpeningRefusal, label_of_opening, refusal_of_opening
from mooring.doctor.examination import Examination
from mooring.doctor.findings import Finding


def cannot_examine(exam: Examination, reply: Reply) -> Finding:
    """The verdict on an endpoint that opens no session and knows no modern request."""
    refused = exam.sessions.refused or [reply]
    keys = Counter(one.status_key for one in refused)
    if len(keys) > 1:
        return _in_different_ways(exam, refused)
    return why_refused(exam, reply)


def _in_different_ways(exam: Examination, refused: Sequence[Reply]) -> Finding:
    """Nobody opens a session, and not everybody for the same reason."""
    kinds = Counter(exam.show(one.label) for one in refused)
    shares = ", ".join(f"{label} ({count})" for label, count in kinds.most_common())
    first = {one.status_key: one for one in reversed(refused)}
    says = [why_refused(exam, one) for one in first.values()]
    return unexamined(
        exam,
        refused[-1],
        f"`initialize` was refused {len(refused)} times, in different ways: {shares}",
        "The nodes, or the ways to them, differ: " + "; ".join(one.says for one in says) + ".",
        *dict.fromkeys(change.what for one in says for change in one.changes),
    )


def why_refused(exam: Examination, reply: Reply) -> Finding:
    """The finding on one answer to `initialize` that gave no session."""
    if reply.trouble is not None:
        return no_answer(exam, reply)
    if reply.status == 401 or (reply.status == 403 and not _about_host(reply)):
        return _login(exam, reply)
    if reply.status == 421 or _about_host(reply):
        return _other_host(exam, reply)
    if reply.status == 406 and reply.is_page:
        return _by_a_rule(exam, reply)
    if reply.outcome is Outcome.THROTTLED:
        return unexamined(
            exam,
            reply,
            f"the server limits the rate of requests: {exam.show(reply.label)}",
            "It is so from the first request on: others, or an earlier run from this address, may have used it up.",
            "Wait for as long as it asks for, and run with less: --sessions 5 --calls 2.",
            retry_after=exam.show(reply.headers.get("Retry-After", "")),
        )
    if reply.status >= 500:
        return unexamined(
            exam,
            reply,
            f"`initialize` is answered with {exam.show(reply.label)}",
            "Either the load balancer has no healthy node for this path, or the server fails: which, its body may say.",
            "Look at the proxy's health checks and at the server's log.",
            body=exam.show(reply.text),
        )
    if refusal_of_opening(reply) is OpeningRefusal.EMPTY:
        return unexamined(
            exam,
            reply,
            f"`initialize` is answered with {exam.show(label_of_opening(reply))}",
            OPENING_MEANS[OpeningRefusal.EMPTY],
            OPENING_CHANGES[OpeningRefusal.EMPTY],
        )
    return (
        _changed_header(exam, reply)
        or _refused_by_the_server(exam, reply)
        or unexamined(
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
    return unexamined(
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
    return unexamined(
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
    return unexamined(
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
    return unexamined(
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
    return unexamined(
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


def old_transport(exam: Examination, reply: Reply, path: str) -> Finding:
    """Another transport, which the doctor does not speak."""
    is_here = path == exam.wire.url.path
    where = "here" if is_here else f"at {exam.show(path)}"
    return unexamined(
        exam,
        reply,
        "the server speaks the deprecated HTTP+SSE transport only (2024-11-05)"
        if is_here
        else f"no Streamable HTTP here; the deprecated HTTP+SSE transport (2024-11-05) is spoken {where}",
        f"A GET {where} opens a stream that names another endpoint for POST. That transport needs the stream "
        "and every POST on one node, and clients are dropping it.",
        "Serve Streamable HTTP (in the SDKs: `streamable_http_app()`, `StreamableHTTPServerTransport`).",
    )
