"""What the documentation lists is what there is."""

from __future__ import annotations

import re
from pathlib import Path

from mooring.cli.app import COMMANDS
from mooring.core.model import SessionRecord
from mooring.core.routing import Reason
from mooring.doctor.catalogue import CHECKS, WATCH
from mooring.doctor.report import Outlook
from mooring.node.requests.answers import status_of
from mooring.settings import Settings
from mooring.store.codec import encode_session
from mooring.store.keys import Keys

DOCS = Path(__file__).resolve().parents[1] / "docs"


def test_every_refusal_is_explained_with_its_status() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\d{3}) \|", (DOCS / "operations.md").read_text(), re.MULTILINE)
    assert {reason: int(status) for reason, status in rows} == {str(reason): status_of(reason) for reason in Reason}


def test_every_key_and_field_in_redis_is_named() -> None:
    text = (DOCS / "operations.md").read_text()
    keys = Keys("mcp")
    for key in (keys.nodes, keys.shards, keys.session("<id>")):
        assert f"`{key}`" in text
    for field in encode_session(SessionRecord("id", "node", 0.0, 0.0)):
        assert f"`{field}`" in text


def test_every_check_of_the_doctor_is_listed_with_its_question() -> None:
    rows = re.findall(r"^\| `([\w-]+)` \| ([^|]+\?[^|]*) \| [^|]+ \|$", (DOCS / "doctor.md").read_text(), re.MULTILINE)
    assert rows == [(check.name, check.asks) for check in (*CHECKS, WATCH)]


def test_what_the_doctor_leaves_out_where_it_may_only_read() -> None:
    [sentence] = re.findall(r"^`--read-only` leaves out (.+)\.$", (DOCS / "doctor.md").read_text(), re.MULTILINE)
    assert sentence == ", ".join(f"`{check.name}`" for check in CHECKS if not check.is_reading)


def test_the_exit_codes_of_the_doctor_are_listed() -> None:
    text = (DOCS / "doctor.md").read_text()
    for outlook in Outlook:
        assert f"\n| {int(outlook)} | {outlook.name.lower()} | " in text


def test_every_command_is_in_the_readme() -> None:
    text = (DOCS.parent / "README.md").read_text()
    for command in COMMANDS:
        assert f"\n| `mooring {command}" in text


def test_what_survives_names_settings_as_they_are() -> None:
    text = (DOCS / "survival.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| ", text.partition("## Settings")[2], re.MULTILINE)
    assert rows
    assert set(rows) <= set(Settings.model_fields)


def test_a_node_on_cloud_run_ends_before_it_is_killed() -> None:
    """After ten seconds; a goodbye takes one or two."""
    for page, heading in (("platforms.md", "## Google Cloud Run"), ("deploys.md", "| Cloud Run |")):
        [seconds, *_] = re.findall(r"--stop-seconds (\d+)", (DOCS / page).read_text().partition(heading)[2])
        assert Settings.load(node_name="a").most_stop_seconds(int(seconds)) + 2 < 10, page


def test_links_lead_somewhere() -> None:
    for page in [*DOCS.glob("*.md"), DOCS.parent / "README.md"]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
