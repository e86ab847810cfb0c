"""A report as JUnit's XML, which every CI shows: a test case for each check.

    verdict      in the file
    ok           a case that passed
    warning      a case that failed, of the type `warning`
    broken       a case that failed, of the type `broken`
    unknown      a case that was skipped, with the reason; one that failed, of the type `unknown`, where nobody may take
                 the deployment for healthy without it
    not run      the same
    unreachable  a case with an error

What a server said is in it: what XML may not hold is taken out.
"""

from __future__ import annotations

import re
from typing import Final
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from mooring.doctor.findings import Finding, Verdict
from mooring.doctor.report import Report, is_missed

_SUITE: Final = "mooring doctor"
_NO_XML: Final = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(report: Report) -> str:
    """The whole report."""
    cases = [_case(finding, is_reached=report.reached) for finding in report.findings]
    cases += [_skipped(check, f"not run: {why}") for check, why in report.not_run.items()]
    counts = {
        "tests": len(cases),
        "failures": sum(case.find("failure") is not None for case in cases),
        "errors": sum(case.find("error") is not None for case in cases),
        "skipped": sum(case.find("skipped") is not None for case in cases),
    }
    numbers = {name: str(count) for name, count in counts.items()} | {"time": f"{report.seconds:.1f}"}
    root = Element("testsuites", {"name": _SUITE, **numbers})
    suite = SubElement(root, "testsuite", {"name": _text(report.url), **numbers})
    suite.extend(cases)
    SubElement(suite, "system-out").text = _text(report.sentence)
    indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(root, encoding="unicode") + "\n"


def _case(finding: Finding, *, is_reached: bool) -> Element:
    if finding.verdict is Verdict.UNKNOWN and not is_missed(finding):
        return _skipped(finding.check, finding.says)
    case = Element("testcase", {"classname": _SUITE, "name": finding.check})
    if finding.verdict is Verdict.OK:
        SubElement(case, "system-out").text = _text(finding.says)
        return case
    kind = "failure" if is_reached or finding.verdict is not Verdict.BROKEN else "error"
    failed = SubElement(case, kind, {"type": str(finding.verdict), "message": _text(finding.says)})
    changes = [f"To change: {change.what}\n{change.config}".rstrip() for change in finding.changes]
    failed.text = _text("\n\n".join(filter(None, (finding.why, *finding.lines, *changes))))
    return case


def _skipped(check: str, why: str) -> Element:
    case = Element("testcase", {"classname": _SUITE, "name": check})
    SubElement(case, "skipped", {"message": _text(why)})
    return case


def _text(text: str) -> str:
    return _NO_XML.sub("", text)
