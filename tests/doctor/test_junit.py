"""A report as JUnit's XML."""

from __future__ import annotations

import dataclasses
from xml.etree import ElementTree

import pytest

from mooring.doctor.findings import OUT_OF_TIME, Finding, Verdict
from mooring.doctor.junit import junit
from mooring.doctor.report import Outlook
from tests.cli.doctor.reports import AFFINITY, COMPRESSION, UNREACHABLE, report


def suite_of(text: str) -> ElementTree.Element:
    suite = ElementTree.fromstring(text).find("testsuite")  # noqa: S314 - it is our own
    assert suite is not None
    return suite


def test_a_case_for_each_check() -> None:
    unknown = Finding("idle", Verdict.UNKNOWN, "not seen")
    whole = report(AFFINITY, COMPRESSION, unknown, not_run={"principals": "two tokens are needed"})
    suite = suite_of(junit(whole))
    cases = {case.get("name"): case for case in suite.findall("testcase")}
    assert {finding.check for finding in whole.findings} <= set(cases)
    failures = {name: case.find("failure") for name, case in cases.items()}
    types = {name: one.get("type") for name, one in failures.items() if one is not None}
    assert types == {"affinity": "broken", "compression": "warning"}
    affinity = failures["affinity"]
    assert affinity is not None
    assert affinity.text is not None
    assert "stick store-response" in affinity.text
    assert cases["idle"].find("skipped") is not None
    assert (suite.get("failures"), suite.get("errors")) == ("2", "0")
    assert int(suite.get("tests", "0")) == len(suite.findall("testcase"))


@pytest.mark.parametrize(
    "missed", [Finding("affinity", Verdict.UNKNOWN, "not seen"), Finding("idle", Verdict.UNKNOWN, OUT_OF_TIME)]
)
def test_what_decides_the_exit_code_is_no_skipped_case(missed: Finding) -> None:
    whole = report(missed)
    assert whole.outlook is not Outlook.HEALTHY
    suite = suite_of(junit(whole))
    failure = suite.find(".//failure")
    assert failure is not None
    assert (failure.get("type"), suite.get("failures")) == ("unknown", "1")


def test_an_endpoint_that_cannot_be_examined_is_an_error() -> None:
    suite = suite_of(junit(UNREACHABLE))
    assert (suite.get("tests"), suite.get("errors")) == ("1", "1")


def test_foreign_text_breaks_no_xml() -> None:
    odd = dataclasses.replace(AFFINITY, says='<x> & "y" \x1b[2J \x00 \ud800', why="]]>")
    failure = suite_of(junit(report(odd))).find(".//failure")
    assert failure is not None
    assert failure.get("message") == '<x> & "y" [2J  '
