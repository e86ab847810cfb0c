"""What `mooring doctor` is asked for: the options that it takes, and those that it refuses."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from yarl import URL

from mooring.doctor.catalogue import CHECKS, WATCH
from mooring.doctor.plan import Plan
from mooring.doctor.report import Outlook, Report
from tests.cli.command import mooring
from tests.cli.doctor.fake_diagnosis import Diagnosis
from tests.cli.doctor.reports import AFFINITY, COMPRESSION, UNREACHABLE, report

ENDPOINT = "https://mcp.example.com/mcp"


def test_the_defaults(diagnosis: Diagnosis) -> None:
    assert mooring("doctor", ENDPOINT).code == 0
    assert diagnosis.plans == [Plan(URL(ENDPOINT))]


def test_every_option(diagnosis: Diagnosis, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("ALICE", "token-a"), ("BOB", "token-b"), ("PAGE", "token-p")):
        monkeypatch.setenv(name, value)
    flags = (
        "--sessions 5 --calls 2 --token-env ALICE --token-env BOB --tool count --other-path /graphql --timeout 2.5 "
        "--idle 0 --only eras --only affinity, --skip eras --status http://10.0.0.7:8000/mooring/status "
        "--status-token-env PAGE"
    )
    headers = ("--header", "X-Tenant: 7", "--header", "X-Api-Key:k:ey ")
    assert mooring("doctor", ENDPOINT, *flags.split(), *headers, "--arguments", '{"by": 2}').code == 0
    assert diagnosis.plan == Plan(
        URL(ENDPOINT),
        sessions=5,
        calls=2,
        headers=(("X-Tenant", "7"), ("X-Api-Key", "k:ey")),
        tokens=("token-a", "token-b"),
        tool="count",
        arguments={"by": 2},
        other_path="/graphql",
        timeout_seconds=2.5,
        idle_seconds=0,
        only=frozenset({"eras", "affinity"}),
        skip=frozenset({"eras"}),
        status_url=URL("http://10.0.0.7:8000/mooring/status"),
        status_token="token-p",
    )


def test_quick(diagnosis: Diagnosis) -> None:
    mooring("doctor", ENDPOINT, "--quick")
    plan = diagnosis.plan
    assert (plan.sessions, plan.calls, plan.idle_seconds, plan.timeout_seconds) == (12, 4, 0.0, 2.5)
    assert plan.most_seconds + 3.0 < 9, "with the closing of sessions, and the start of the process"
    mooring("doctor", ENDPOINT, "--quick", "--sessions", "3")
    assert diagnosis.plan.sessions == 3
    for flags in (("--idle", "5"), ("--watch",)):
        assert mooring("doctor", ENDPOINT, "--quick", *flags).code == 2


def test_junit_is_written_beside_what_is_printed(diagnosis: Diagnosis, tmp_path: Path) -> None:
    diagnosis.report = report(AFFINITY)
    said = mooring("doctor", ENDPOINT, "--junit", str(tmp_path / "doctor.xml"))
    assert said.code == 2
    assert AFFINITY.says in " ".join(said.out.split())
    assert 'type="broken"' in (tmp_path / "doctor.xml").read_text()
    refused = mooring("doctor", ENDPOINT, "--junit", str(tmp_path / "none" / "doctor.xml"))
    assert refused.code == 70
    assert "cannot be written" in refused.err
    assert AFFINITY.says in " ".join(refused.out.split()), "what took a minute to find out is not thrown away"


def test_read_only(diagnosis: Diagnosis) -> None:
    mooring("doctor", ENDPOINT, "--read-only")
    assert diagnosis.plan.read_only


@pytest.mark.parametrize(
    ("flags", "seconds"),
    [("", None), ("--watch", math.inf), ("--watch-seconds 90", 90.0), ("--watch --watch-seconds 90", 90.0)],
)
def test_how_long_to_watch(diagnosis: Diagnosis, flags: str, seconds: float | None) -> None:
    mooring("doctor", ENDPOINT, *flags.split())
    assert diagnosis.plan.watch_seconds == seconds


def test_the_status_token_has_a_variable_of_its_own(diagnosis: Diagnosis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOORING_STATUS_TOKEN", "token-s")
    mooring("doctor", ENDPOINT, "--status", "http://h/mooring/status")
    assert diagnosis.plan.status_token == "token-s"
    mooring("doctor", ENDPOINT)
    assert diagnosis.plan.status_token is None


def test_a_url_is_needed() -> None:
    said = mooring("doctor")
    assert said.code == 2
    assert "Missing argument 'URL'" in said.err


def test_the_checks_are_listed() -> None:
    said = mooring("doctor", "--list-checks")
    assert said.code == 0
    for check in (*CHECKS, WATCH):
        assert f"\n{check.name} " in said.out
        assert " ".join(check.asks.split()[:3]) in said.out
    assert max(map(len, said.out.splitlines())) <= 80


@pytest.mark.parametrize(
    ("shown", "outlook"),
    [
        (report(), Outlook.HEALTHY),
        (report(COMPRESSION), Outlook.WARNINGS),
        (report(AFFINITY, COMPRESSION), Outlook.BROKEN),
        (UNREACHABLE, Outlook.UNREACHABLE),
    ],
)
@pytest.mark.parametrize("flag", ["--json", "--markdown", "--read-only"])
def test_the_exit_code_is_that_of_the_report(diagnosis: Diagnosis, shown: Report, outlook: Outlook, flag: str) -> None:
    diagnosis.report = shown
    said = mooring("doctor", ENDPOINT, flag)
    assert said.code == int(outlook)
    assert said.out
    assert said.err == ""


def test_json_is_the_report(diagnosis: Diagnosis) -> None:
    diagnosis.report = report(AFFINITY)
    assert mooring("doctor", ENDPOINT, "--json").json == diagnosis.report.as_json()
