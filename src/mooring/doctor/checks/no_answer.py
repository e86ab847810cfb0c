"""The verdict on an endpoint from which no answer comes that could be read."""

from __future__ import annotations

from mooring.doctor.checks.unexamined import unexamined
from mooring.doctor.client.reply import Reply, Trouble
from mooring.doctor.examination import Examination
from mooring.doctor.findings import Finding


def no_answer(exam: Examination, reply: Reply) -> Finding:
    """What may be wrong with the way there, by how the request ended."""
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
    return unexamined(exam, reply, exam.show(says), "", change)


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
