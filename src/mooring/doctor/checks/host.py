"""Whether a request that names another host is served, which is what DNS rebinding sends.

answer           endpoint                             verdict
not served       any                                  ok
served           https                                ok: no browser accepts the certificate for another name
served           http, at a public address            ok: there is nothing behind it that the page cannot reach
served           http, at a loopback or private one   warning
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mooring.doctor.advice import Topic, advice
from mooring.doctor.check import Check
from mooring.doctor.checks.cannot_tell import failing_anyway, not_asked, where_to_look
from mooring.doctor.client.reply import Outcome, Reply
from mooring.doctor.evidence.failing_calls import telling_replies
from mooring.doctor.evidence.question import ask_with_retry, can_ask
from mooring.doctor.examination import Examination
from mooring.doctor.findings import Finding, NotRun, Verdict
from mooring.doctor.proxies import Proxy
from mooring.doctor.showing import Show

NAME: Final = "host"
FOREIGN: Final = "mooring-doctor.invalid"
_RESOLVE_SECONDS: Final = 3.0


@dataclass(frozen=True, slots=True)
class Facts:
    """
    Attributes:
        control: the reply to a call with the right host.
        foreign: to the same call with another one, and without a token: a page that rebinds a name has none, and it
            shall not get to whatever else answers there.
        is_secure: it went over TLS.
        is_inside: its address is a loopback or a private one.
    """

    control: Reply
    foreign: Reply
    is_secure: bool
    is_inside: bool


async def run(exam: Examination) -> Finding | NotRun:
    if not can_ask(exam):
        return NotRun("no session is open")
    if exam.hangs:
        return not_asked(NAME, exam)
    url = exam.wire.url
    facts = Facts(
        control=await ask_with_retry(exam),
        foreign=await ask_with_retry(exam, {"Host": FOREIGN}, token=None),
        is_secure=url.scheme == "https",
        is_inside=await _is_inside(url.host or ""),
    )
    if not telling_replies(exam, [facts.foreign]):
        return failing_anyway(NAME, exam)
    return judge(facts, url.authority, exam.proxy, exam.show)


async def _is_inside(host: str) -> bool:
    """Whether the host has an address that only this machine or its network can reach."""
    with contextlib.suppress(OSError, TimeoutError, ValueError):
        async with asyncio.timeout(_RESOLVE_SECONDS):
            found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
        return any(ipaddress.ip_address(str(address[0]).partition("%")[0]).is_private for *_, address in found)
    return False


def judge(facts: Facts, authority: str, proxy: Proxy | None, show: Show) -> Finding:
    """The verdict.

    Args:
        authority: host and port, as a client writes them.
    """
    evidence = {
        "own_host": facts.control.status_key,
        "foreign_host": facts.foreign.status_key,
        "https": facts.is_secure,
        "private_address": facts.is_inside,
    }
    label = show(facts.foreign.label)
    if facts.control.outcome is not Outcome.REACHED:
        says = f"calls fail with the right Host, too: {show(facts.control.label)}"
        return Finding(NAME, Verdict.UNKNOWN, says, where_to_look(facts.control), evidence)
    if facts.foreign.outcome in (Outcome.THROTTLED, Outcome.HANG):
        says = f"the call with a foreign Host was not answered: {label}"
        return Finding(NAME, Verdict.UNKNOWN, says, evidence=evidence)
    if facts.foreign.is_ok and facts.foreign.outcome is not Outcome.REACHED:
        return Finding(NAME, Verdict.OK, "a foreign Host leads to something other than this server", evidence=evidence)
    if facts.foreign.outcome is not Outcome.REACHED:
        remark = (
            "It went without a token, which a page that rebinds a name does not have either."
            if facts.foreign.status == 401
            else ""
        )
        return Finding(NAME, Verdict.OK, f"a foreign Host is not served: {label}", remark, evidence)
    return _served(facts, authority, proxy, evidence, show)


def _served(facts: Facts, authority: str, proxy: Proxy | None, evidence: Mapping[str, object], show: Show) -> Finding:
    if facts.is_secure or not facts.is_inside:
        remark = (
            "A browser that was led here by a rebound name does not accept the certificate."
            if facts.is_secure
            else "The address is public, so a rebound name leads a browser nowhere that it could not go by itself."
        )
        return Finding(NAME, Verdict.OK, "any Host is served, which harms nobody here", remark, evidence)
    changes = dict.fromkeys(advice(Topic.HOST, one, authority=show(authority)) for one in (None, proxy))
    return Finding(
        NAME,
        Verdict.WARNING,
        "any Host is served over plain http at a private address: DNS rebinding works",
        "The owner of a web page can point its name to this address. In the browser of whoever opens that page it then "
        "has the same origin as the server: it calls every tool and reads the answers, from inside the network.",
        evidence,
        tuple(changes),
    )


CHECK: Final = Check(NAME, "is a request that names another host refused?", run, is_of_rules=True)
