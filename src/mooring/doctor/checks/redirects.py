"""The verdict on an endpoint that redirects: what a client makes of it, and which URL the server should have named."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mooring.core.masking import masked_secrets
from mooring.doctor.checks.endpoint import why_refused
from mooring.doctor.checks.unexamined import ENDPOINT, unexamined
from mooring.doctor.client.reply import Reply
from mooring.doctor.evidence.redirects import Lost, Redirect, same_origin
from mooring.doctor.examination import Examination
from mooring.doctor.findings import Change, Finding, Verdict
from mooring.doctor.plan import secrets_in_query

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
        ENDPOINT,
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
        ENDPOINT,
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
    return unexamined(exam, reply, f"redirected to {location}", f"That is from {exam.show(typed)}{via}. {why}", change)


def redirected_to_no_mcp(exam: Examination, reply: Reply) -> Finding:
    """A redirect within the origin, which was followed and leads to nothing that could be examined."""
    there = why_refused(exam, reply)
    return unexamined(
        exam,
        reply,
        f"every request is redirected to {_shown(exam, exam.wire.url)}, where no session is opened",
        f"That is from {exam.show(exam.plan.url)}. There, it is so: {there.says}. A login page in front of the server "
        "looks like this, and so does a proxy that changes the path.",
        "Look at what redirects, and why. For a login, put a bearer token into an environment variable and name it: "
        "--token-env VAR; or use --header.",
    )
