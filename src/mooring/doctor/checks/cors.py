"""Whether clients that run in a web page can use the server, where it lets any page do so (Fetch: CORS protocol).

a call from a page        preflight       verdict
may be read by no page    -               ok: it is not for pages
may be read by some       is refused      warning
the same                  passes          ok; a warning where the session id stays hidden, or it is said twice
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from mooring.doctor.check import Check
from mooring.doctor.checks.cannot_tell import not_asked
from mooring.doctor.client.reply import Outcome
from mooring.doctor.evidence.cross_origin import CrossOrigin, ask_from_pages
from mooring.doctor.evidence.question import can_ask
from mooring.doctor.examination import Examination
from mooring.doctor.findings import Change, Finding, NotRun, Verdict
from mooring.doctor.showing import Show

NAME: Final = "cors"
_CONFIG: Final = """\
# Starlette, with the SDKs for Python
Middleware(CORSMiddleware, allow_origins=["https://app.example.com"], allow_methods=["GET", "POST", "DELETE"],
           allow_headers=["*"], expose_headers=["Mcp-Session-Id"])
// Express, with the TypeScript SDK
app.use(cors({ origin: 'https://app.example.com', exposedHeaders: ['Mcp-Session-Id'] }));"""


async def run(exam: Examination) -> Finding | NotRun:
    if not can_ask(exam):
        return NotRun("no session is open")
    if exam.hangs:
        return not_asked(NAME, exam)
    pages = await ask_from_pages(exam, (str(exam.wire.url.origin()),))
    return judge(pages, exam.show, has_sessions=bool(exam.eras.gives_sessions))


def judge(pages: Sequence[CrossOrigin], show: Show, *, has_sessions: bool) -> Finding:
    evidence: dict[str, Any] = {
        show(page.origin): {
            "preflight": page.preflight.status_key,
            "allows": show(page.post.headers.get("Access-Control-Allow-Origin", "")),
            "exposes": show(page.post.headers.get("Access-Control-Expose-Headers", "")),
        }
        for page in pages
    }

    def found(verdict: Verdict, says: str, why: str = "") -> Finding:
        change = Change("Let the server, or one proxy, answer for CORS as a whole, and one of them only.", _CONFIG)
        return Finding(NAME, verdict, says, why, evidence, () if verdict is Verdict.OK else (change,))

    doubled = [page for page in pages if page.is_doubled]
    if doubled:
        return found(
            Verdict.WARNING,
            "Access-Control-Allow-Origin comes twice: browsers let no page in",
            "The server and a proxy both answer for CORS, and two values, even equal ones, count as none.",
        )
    may_be = [page for page in pages if page.allows or page.passes_preflight]
    if not may_be:
        remark = (
            "A client in a browser, such as the MCP Inspector without its proxy, cannot use it; others need no CORS."
        )
        return found(Verdict.OK, "no web page may read its answers", remark)
    page = may_be[0]
    if page.allows and not page.passes_preflight:
        refused = f" ({', '.join(page.headers_refused)})" if page.preflight.is_ok and page.headers_refused else ""
        what = "does not allow the headers of MCP" if refused else f"is answered with {show(page.preflight.label)}"
        return found(
            Verdict.WARNING,
            f"pages may read answers, but the preflight {what}{refused}",
            "A browser asks with OPTIONS, without a token, before it sends a call, and sends none unless that passes.",
        )
    if not page.allows and page.post.outcome is Outcome.REACHED:
        return found(
            Verdict.WARNING,
            "the preflight lets pages in, but answers lack Access-Control-Allow-Origin",
            "A browser sends the call, and keeps its answer from the page.",
        )
    if has_sessions and page.hides_session:
        return found(
            Verdict.WARNING,
            "web pages cannot read Mcp-Session-Id: Access-Control-Expose-Headers lacks it",
            "A client in a browser opens a session and never learns its id, so that every further call is refused.",
        )
    return found(Verdict.OK, f"clients in web pages can use it, such as those of {show(page.origin)}")


CHECK: Final = Check(NAME, "can clients in web pages use it, where it lets pages in?", run, is_of_rules=True)
