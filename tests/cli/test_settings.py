from __future__ import annotations

from pathlib import Path

import pytest

from mooring.cli.catalogue import all_settings
from mooring.settings import Settings
from tests.bare import ROOT
from tests.cli.command import mooring

NAMES = list(Settings.model_fields)
SECRET = "a secret that nobody may see"
TOKEN = "a-token-that-nobody-may-see"


def test_the_reference_in_the_docs_is_current() -> None:
    remedy = "run `mooring settings --markdown > docs/settings.md`"
    assert (ROOT / "docs/settings.md").read_text() == mooring("settings", "--markdown").out, remedy


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_is_listed_with_its_meaning(name: str) -> None:
    assert f"\n{name} = " in "\n" + mooring("settings").out
    described = {one["name"]: one for one in mooring("settings", "--json").json["settings"]}
    assert described[name]["meaning"]
    assert described[name]["environment"] == f"MOORING_{name.upper()}"
    assert f"`{name}`" in mooring("settings", "--markdown").out


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_but_a_secret_is_a_flag_of_serve(name: str) -> None:
    flag = f"--{name.replace('_', '-')} "
    assert (flag in mooring("serve", "--help").out) is (name not in {"secret", "status_token"})


def test_values_say_where_they_come_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mooring.toml").write_text('lease_seconds = 9\nkey_prefix = "filed"\n')
    monkeypatch.setenv("MOORING_KEY_PREFIX", "surrounding")
    found = {one["name"]: one for one in mooring("settings", "--json").json["settings"]}
    assert (found["lease_seconds"]["value"], found["lease_seconds"]["source"]) == (9.0, "file")
    assert (found["key_prefix"]["value"], found["key_prefix"]["source"]) == ("surrounding", "environment")
    assert (found["shards"]["value"], found["shards"]["source"]) == (8, "default")
    said = mooring("settings").out
    assert "lease_seconds = 9  [from file mooring.toml; default 5]" in said
    assert "key_prefix = surrounding  [from environment MOORING_KEY_PREFIX; default mcp]" in said
    assert "shards = 8  [default]" in said


def test_what_the_platform_and_files_say_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret").write_text(SECRET)
    monkeypatch.setenv("MOORING_SECRET_FILE", str(tmp_path / "secret"))
    monkeypatch.setenv("CONTAINER_APP_REPLICA_NAME", "counter--abc-5d9c-x7k2p")
    monkeypatch.setenv("POD_IP", "10.1.2.3")
    found = {one["name"]: one for one in mooring("settings", "--json").json["settings"]}
    sources = {name: (one["source"], one["source_name"]) for name, one in found.items()}
    assert sources["node_name"] == ("platform", "CONTAINER_APP_REPLICA_NAME")
    assert found["node_name"]["value"] == "counter--abc-5d9c-x7k2p"
    assert sources["advertise_url"] == ("platform", "POD_IP")
    assert sources["secret"] == ("secret file", str(tmp_path / "secret"))
    assert sources["shards"] == ("default", None)
    assert "[from platform POD_IP; default (not set)]" in mooring("settings").out


@pytest.mark.parametrize("form", [(), ("--json",), ("--markdown",)])
def test_secrets_are_never_printed(form: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOORING_SECRET", SECRET)
    monkeypatch.setenv("MOORING_STATUS_TOKEN", TOKEN)
    monkeypatch.setenv("MOORING_REDIS_URL", f"redis://:{SECRET.replace(' ', '-')}@127.0.0.1:1/0")
    said = mooring("settings", *form)
    assert said.code == 0
    assert SECRET not in said.out
    assert TOKEN not in said.out
    assert SECRET.replace(" ", "-") not in said.out


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("LEASE_SECONDS", "soon", "setting lease_seconds: 'soon' is wrong: "),
        ("LEASE_SECONDS", "0.9", "setting lease_seconds: '0.9' is wrong: at least twice heartbeat_seconds"),
        ("REDIS_URL", "http://:pw@h", "setting redis_url: 'http://:***@h' is wrong: a URL such as redis://"),
        ("SECRET", "short", "setting secret: '(hidden)' is wrong: at least 16 characters"),
        ("STATUS_TOKEN", "short", "setting status_token: '(hidden)' is wrong: at least 16 characters"),
        ("NODE_NAME", "Node 1", "setting node_name: 'Node 1' is wrong: up to 63 lower-case letters"),
        (
            "SETTINGS_FILE",
            "gone.toml",
            "setting settings_file: 'gone.toml' is wrong: MOORING_SETTINGS_FILE names a file that does not exist",
        ),
    ],
)
def test_a_wrong_setting_is_named_with_what_would_be_right(
    name: str, value: str, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"MOORING_{name}", value)
    said = mooring("settings")
    assert said.code == 2
    assert said.error_line.startswith(f"mooring: {line}")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("lease_seconds = ", "setting settings_file: 'mooring.toml' is wrong: it cannot be read as TOML: "),
        ("leese_seconds = 3", "setting leese_seconds: '(hidden)' is wrong: there is no such setting"),
        ("shards = 0", "setting shards: 0 is wrong: "),
    ],
)
def test_a_wrong_line_in_the_file(text: str, line: str, tmp_path: Path) -> None:
    (tmp_path / "mooring.toml").write_text(text)
    said = mooring("settings")
    assert said.code == 2
    assert said.error_line.startswith(f"mooring: {line}")


def test_what_a_setting_takes_is_said_with_its_bounds() -> None:
    takes = {one.name: one.takes for one in all_settings()}
    assert takes["shards"] == "number, at least 1, at most 64"
    assert takes["heartbeat_seconds"] == "seconds, more than 0, at most 60"
    assert takes["redis_url"] == "URL"
    assert takes["mcp_path"] == "path"
    assert takes["gc"] == "server or python"


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("MOORING_LEASE_SECOND", "MOORING_LEASE_SECONDS"),
        ("MOORING_REDIS_ULR", "MOORING_REDIS_URL"),
        ("MOORING_SECRETS_FILE", "MOORING_SECRET_FILE"),
        ("MOORING_LEASE_SECONDS_FILE", "MOORING_LEASE_SECONDS"),
    ],
)
def test_a_variable_that_is_most_likely_mistyped_is_named(
    variable: str, meant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does nothing, and nobody would know."""
    monkeypatch.setenv(variable, "4")
    said = mooring("settings", "--json")
    assert said.json["settings"]
    assert f"{variable} sets nothing: {meant} was meant, perhaps" in said.err


@pytest.mark.parametrize(
    "variable",
    [
        "MOORING_SERVICE_HOST",
        "MOORING_PORT",
        "MOORING_REDIS_PORT",
        "MOORING_REDIS_PORT_6379_TCP_ADDR",
        "MOORING_SECRET_SERVICE_PORT_HTTP",
        "MOORING_IMAGE",
        "MOORING_SETTINGS_FILE",
        "mooring_lease_seconds",
    ],
)
def test_a_variable_of_somebody_elses_is_not(variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kubernetes tells of each Service by variables, and one may be called mooring."""
    (tmp_path / "5").touch()
    monkeypatch.setenv(variable, "5")
    assert mooring("settings").err == ""
