from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mooring.core.model import SessionRecord
from mooring.store.registry import Registry
from tests.cli.command import mooring
from tests.cli.registries import LOST, RECORD, filled_store, use
from tests.fakes import Clock

AS_JSON: dict[str, Any] = {
    "id": "abcde.AAAA...",
    "node": {
        "id": "node-1-abcde",
        "name": "node-1",
        "url": "http://127.0.0.1:9001",
        "state": "ready",
        "alive": True,
    },
    "created": "2023-11-14T22:13:20Z",
    "last_seen": "2023-11-14T22:13:21Z",
    "client": "Naïve client 1.0",
    "protocol": "2025-11-25",
    "principal": "ann through agent at https://issuer",
    "incarnation": 0,
    "homes": [],
    "running": [],
}


def keep(monkeypatch: pytest.MonkeyPatch, *records: SessionRecord) -> None:
    use(filled_store(Clock(1_800_000_000.0), *records), monkeypatch)


def test_all_sessions_as_json_the_oldest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    keep(monkeypatch, LOST, RECORD)
    said = mooring("sessions", "--json").json
    assert list(said) == ["sessions"]
    assert said["sessions"][0] == AS_JSON
    assert said["sessions"][1]["node"]["alive"] is False


def test_ids_are_cut_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Anyone who has one is let in: it is not for screens, tickets and pipelines."""
    keep(monkeypatch, LOST, RECORD)
    for form in (("sessions",), ("sessions", "--json"), ("session", RECORD.id), ("session", RECORD.id, "--json")):
        said = mooring(*form).out
        assert "abcde.AAAA..." in said
        assert RECORD.id not in said


@pytest.mark.parametrize("form", [("sessions", "--json"), ("session", RECORD.id), ("session", RECORD.id, "--json")])
def test_ids_are_whole_for_who_asks_for_that(form: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    keep(monkeypatch, RECORD)
    assert RECORD.id in mooring(*form, "--whole-ids").out


def test_the_table_has_whole_ids_in_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    keep(monkeypatch, LOST, replace(RECORD, client="a client with a name that is longer than there is room for"))
    said = mooring("sessions", "--whole-ids")
    assert max(map(len, said.out.splitlines())) <= 80
    assert [line.split()[0] for line in said.out.splitlines()[2:]] == [RECORD.id, LOST.id]


def test_the_table_is_limited_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    keep(monkeypatch, LOST, RECORD)
    said = mooring("sessions", "--limit", "1")
    assert "bcdef" not in said.out
    assert said.out.endswith("and 1 more: --limit shows them, --json has all\n")


def test_no_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    keep(monkeypatch)
    assert mooring("sessions").out == "no sessions\n"
    assert mooring("sessions", "--json").json == {"sessions": []}


def test_one_session_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    keep(monkeypatch, RECORD)
    assert mooring("session", RECORD.id, "--json").json == AS_JSON


@pytest.mark.parametrize("beginning", ["abcde.AAAA", "abcde.AAAA..."])
def test_one_session_by_its_beginning(beginning: str, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(monkeypatch, LOST, RECORD)
    assert mooring("session", beginning, "--json").json == AS_JSON


def test_two_that_begin_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    keep(monkeypatch, RECORD, replace(RECORD, id="abcde.AAAABBBBBBBBBBBBBBBBBB.BBBBBBBBBBB"))
    said = mooring("session", "abcde.AAAA")
    assert said.code == 1
    assert said.error_line == "mooring: 2 sessions begin with abcde.AAAA...: give the whole id"


def test_one_session_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    keep(monkeypatch, RECORD)
    said = mooring("session", RECORD.id)
    assert "node       node-1 (node-1-abcde), ready\n" in said.out
    assert "url        http://127.0.0.1:9001\n" in said.out
    assert "client     Naïve client 1.0\n" in said.out
    assert "created    2023-11-14T22:13:20Z, " in said.out


def test_one_whose_node_is_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    keep(monkeypatch, LOST)
    said = mooring("session", LOST.id)
    assert "node       node-3 (node-3-abcde), dead\n" in said.out
    assert "its next request opens it again on another one" in said.out


def test_where_a_session_lived_and_what_runs_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    homes = (("node-9-zzzzz", 1_700_000_000.0), (RECORD.node_id, 1_700_000_060.0))
    keep(monkeypatch, replace(RECORD, incarnation=1, homes=homes))
    monkeypatch.setenv("MOORING_SECRET", "sixteen or more of them")

    async def one_call(self: object, session_id: str) -> list[str]:
        assert session_id == RECORD.id
        return ["tools/call browse for 7 s"]

    monkeypatch.setattr(Registry, "running_calls", one_call)
    said = mooring("session", RECORD.id)
    assert "revived    1 times\n" in said.out
    assert "lived on   node-9-zzzzz from 2023-11-14T22:13:20Z\n" in said.out
    assert "running    tools/call browse for 7 s\n" in said.out


def test_one_whose_node_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    keep(monkeypatch, replace(RECORD, node_id="node-9-zzzzz"))
    said = mooring("session", RECORD.id, "--json").json
    assert said["node"] == {"id": "node-9-zzzzz", "name": None, "url": None, "state": None, "alive": False}


def test_foreign_text_cannot_reach_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    evil = "\x1b]0;title\x07\x1b[31m[bold]evil[/]\u202e\n" + "x" * 500
    keep(monkeypatch, replace(RECORD, client=evil, protocol=evil, principal=evil))
    for form in (("session", RECORD.id), ("session", RECORD.id, "--json"), ("sessions",)):
        said = mooring(*form)
        assert said.code == 0
        assert not {"\x1b", "\x07", "\u202e"} & set(said.out)
        assert "[bold]evil" in said.out
        assert "x" * 81 not in said.out


def test_an_unknown_session(monkeypatch: pytest.MonkeyPatch) -> None:
    keep(monkeypatch)
    said = mooring("session", RECORD.id)
    assert said.code == 1
    assert said.error_line.startswith("mooring: no session abcde.AAAA... on record: ")


BEGINNINGS = ["", "x", "abcde", "abcde.AAA", "abcde.AAAAA", "abcde.AAAA.."]


@pytest.mark.parametrize(
    "text", [*BEGINNINGS, RECORD.id + "x", RECORD.id.upper(), "abcde.\x1b[2J*.{}", "*", "a" * 10_000]
)
def test_an_id_of_the_wrong_form_never_reaches_redis(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mooring.cli.chosen_cluster.open_store", lambda *_: pytest.fail("it reached the store"))
    monkeypatch.setenv("MOORING_REDIS_URL", "redis://127.0.0.1:1/0")
    said = mooring("session", "--", text)
    assert said.code == 2
    assert "is not a session id: 5, 22 and 11 letters and digits, joined by dots" in said.err
    assert "\x1b" not in said.err
    assert len(said.err) < 500
    assert RECORD.id not in said.err


@pytest.mark.parametrize(
    "odd",
    [
        {"created": 1e300, "last_seen": -1e300},
        {"created": -1e18},
        {"homes": (("node-1-abcde", 1e300),)},
        {"principal": "[" * 100_000},
    ],
)
@pytest.mark.parametrize("form", [(), ("--json",)])
def test_one_odd_record_keeps_none_from_being_listed(
    odd: dict[str, Any], form: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(monkeypatch, RECORD, replace(LOST, **odd))
    said = mooring("sessions", *form)
    assert said.code == 0, said.err
    assert all(begins in said.out for begins in ("abcde.AAAA", "bcdef.AAAA"))
