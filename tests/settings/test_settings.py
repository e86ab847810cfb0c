from __future__ import annotations

import json
import math
import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from mooring.errors import MooringError, SettingsError
from mooring.settings import ENV_PREFIX, Settings, default_node_name

SECRET = "a secret for tests, nowhere else"
TOKEN = "a-token-for-tests,nowhere-else"
PASSWORD = "hunter2hunter2"

WRONG: list[tuple[str, Any, str]] = [
    ("redis_url", "", "a URL such as redis://host:6379/0"),
    ("redis_url", "localhost:6379", "a URL such as redis://host:6379/0"),
    ("redis_url", "http://localhost:6379", "a URL such as redis://host:6379/0"),
    ("key_prefix", "", "letters, digits"),
    ("key_prefix", "a b", "letters, digits"),
    ("key_prefix", "a:", "letters, digits"),
    ("key_prefix", "{a}", "letters, digits"),
    ("key_prefix", "a\n", "letters, digits"),
    ("secret", "", "at least 16 characters"),
    ("secret", "15 characters..", "at least 16 characters"),
    ("node_name", "", "up to 63 lower-case letters"),
    ("node_name", "Node-1", "up to 63 lower-case letters"),
    ("node_name", "-node", "up to 63 lower-case letters"),
    ("node_name", "node-", "up to 63 lower-case letters"),
    ("node_name", "n" * 64, "up to 63 lower-case letters"),
    ("node_name", "node\u0661", "up to 63 lower-case letters"),
    ("node_name", "node\n", "up to 63 lower-case letters"),
    ("advertise_url", "", "without a path"),
    ("advertise_url", "10.0.0.7:8000", "without a path"),
    ("advertise_url", "redis://host", "without a path"),
    ("advertise_url", "http://", "without a path"),
    ("advertise_url", "http://host/mcp", "without a path"),
    ("advertise_url", "http://host?x=1", "without a path"),
    ("peer_link", "", "'direct', 'redis' or 'auto'"),
    ("peer_link", "http", "'direct', 'redis' or 'auto'"),
    ("peer_host", "", "an address of this machine"),
    ("peer_host", "http://10.0.0.7", "an address of this machine"),
    ("peer_ports", "", "a range of ports"),
    ("peer_ports", "0", "a range of ports"),
    ("peer_ports", "9015-9000", "a range of ports"),
    ("peer_ports", "9000-65536", "a range of ports"),
    ("peer_ports", "9000,9001", "a range of ports"),
    ("mcp_path", "", "starts with a slash"),
    ("mcp_path", "/a,", "starts with a"),
    ("mcp_path", "/a,,/b", "starts with a"),
    ("mcp_path", "/a,/a", "must all be different"),
    ("mcp_path", "/a/{", "starts with a"),
    ("mcp_path", "/a/{b/c}", "starts with a"),
    ("mcp_path", "/a/{}", "starts with a"),
    ("find_endpoints", "perhaps", "bool"),
    ("one_node_paths", "logins", "login, paths such as /upload"),
    ("one_node_paths", "/upload/", "login, paths such as /upload"),
    ("one_node_paths", "/up*", "login, paths such as /upload"),
    ("one_node_paths", "/*/jobs", "login, paths such as /upload"),
    ("one_node_paths", "/jobs?x", "has no query"),
    ("one_node_paths", "/jobs/{id}", "login, paths such as /upload"),
    ("mcp_path", "mcp", "starts with a slash"),
    ("mcp_path", "/mcp/", "does not end with one"),
    ("mcp_path", "/mcp?x", "has no query"),
    ("mcp_path", "/mcp#x", "has no query"),
    ("mcp_path", "/m cp", "a path such as /mcp"),
    ("mcp_path", "/mcp\n", "a path such as /mcp"),
    ("mcp_path", "/mcp`", "a path such as /mcp"),
    ("mcp_path", "/m\u00fcp", "a path such as /mcp"),
    ("mcp_path", "/healthz", "must all be different"),
    ("health_path", "health", "starts with a slash"),
    ("health_path", "/mcp/health", "outside mcp_path"),
    ("ready_path", "ready", "starts with a slash"),
    ("ready_path", "/mcp/ready", "outside mcp_path"),
    ("status_path", "status", "starts with a slash"),
    ("traefik_path", "status", "starts with a slash"),
    ("status_path", "/mcp/status", "outside mcp_path"),
    ("status_token", "", "at least 16 characters"),
    ("status_token", "15-characters..", "at least 16 characters"),
    ("status_token", "sixteen letters and spaces", "no spaces"),
    ("status_token", "sixteen-letters-\u00fc", "printable ASCII"),
    ("status_token", "sixteen-letters-\n", "printable ASCII"),
    ("capacity", 0, "greater than or equal to 1"),
    ("capacity", "many", "valid integer"),
    ("capacity", 1.5, "valid integer"),
    ("shards", 0, "greater than or equal to 1"),
    ("shards", 65, "less than or equal to 64"),
    ("heartbeat_seconds", 0, "greater than 0"),
    ("heartbeat_seconds", 61, "less than or equal to 60"),
    ("heartbeat_seconds", math.nan, "less than or equal to 60"),
    ("heartbeat_seconds", "soon", "valid number"),
    ("lease_seconds", 0, "greater than 0"),
    ("lease_seconds", 601, "less than or equal to 600"),
    ("lease_seconds", 0.9, "twice heartbeat_seconds"),
    ("session_ttl_seconds", 59, "greater than or equal to 60"),
    ("touch_seconds", -1, "greater than or equal to 0"),
    ("touch_seconds", math.nan, "than or equal to"),
    ("forget_seconds", 0, "greater than 0"),
    ("redis_timeout_seconds", 0, "greater than 0"),
    ("redis_timeout_seconds", 31, "less than or equal to 30"),
    ("connect_seconds", 0, "greater than 0"),
    ("connect_seconds", 61, "less than or equal to 60"),
    ("hang_seconds", 0, "greater than 0"),
    ("hold_seconds", -1, "greater than or equal to 0"),
    ("hold_seconds", 301, "less than or equal to 300"),
    ("peer_age_seconds", 0, "greater than 0"),
    ("peer_age_seconds", math.inf, "less than or equal to 600"),
    ("cors_origins", "app.example.org", "origins such as"),
    ("cors_origins", "https://app.example.org/", "origins such as"),
    ("cors_origins", "https://a.example,,", "origins such as"),
    ("cors_origins", '["https://a.example"', "origins such as"),
    ("cors_origins", "https://b\u00fccher.example", "origins such as"),
    ("when_isolated", "", "'stop' or 'go_on'"),
    ("on_node_loss", "", "revive or reinitialize"),
    ("on_node_loss", "mcp=revive", "revive or reinitialize"),
    ("on_node_loss", "/a/mcp=", "revive or reinitialize"),
    ("stream_logs", "perhaps", "bool"),
    ("stream_log_bytes", 1023, "greater than or equal to 1024"),
    ("stream_room_bytes", 1023, "greater than or equal to 1024"),
    ("stream_log_seconds", -1, "greater than or equal to 0"),
    ("stream_write_after_seconds", 61, "less than or equal to 60"),
    ("retry_seconds", 301, "less than or equal to 300"),
    ("stream_comment_seconds", -1, "greater than or equal to 0"),
    ("idle_seconds", 0, "greater than 0"),
    ("carry_bytes", 1023, "greater than or equal to 1024"),
    ("carry_seconds", 0, "greater than 0"),
    ("drain_seconds", -1, "greater than or equal to 0"),
    ("ingress_seconds", 301, "less than or equal to 300"),
    ("drain_on_sigterm", "perhaps", "bool"),
    ("rebalance", "all", "'new_sessions' or 'idle_sessions'"),
    ("hibernate_seconds", 0, "greater than 0"),
    ("state_bytes", 1023, "greater than or equal to 1024"),
    ("held_requests", -1, "greater than or equal to 0"),
    ("handles", "{", "a list such as"),
    ("handles", [{"mint": ""}], "a list such as"),
    ("handles", [{"mint": "a", "field": "a..b"}], "a list such as"),
    ("handles", [{"mint": "a", "uses": ["b"]}], "a list such as"),
    ("tasks", "", "'node' or 'shared'"),
    ("request_state", "", "'node' or 'shared'"),
    ("handle_params", "Mcp Param", "names such as Session"),
    ("placement_key", "X-Conversation-Id", "header:NAME"),
    ("placement_key", "meta:", "header:NAME"),
    ("placement_idle_seconds", 0, "greater than or equal to 1"),
    ("handle_idle_seconds", 0, "greater than 0"),
    ("handle_search_bytes", 1023, "greater than or equal to 1024"),
    ("mixed_handles", "", "'first' or 'refuse'"),
    ("mark_handle_params", "perhaps", "boolean"),
    ("on_node_loss", "forget", "revive or reinitialize"),
    ("on_node_loss", "a/mcp=revive", "revive or reinitialize"),
    ("on_node_loss", "revive,", "revive or reinitialize"),
    ("gc", "", "'server' or 'python'"),
    ("gc", "off", "'server' or 'python'"),
]


SECRETS = ["secret", "status_token"]
MAY_BE_HIDDEN = {*SECRETS, "redis_url"}


@pytest.fixture(autouse=True)
def nothing_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable and no file but those that a test makes."""
    for name in list(os.environ):
        if name.upper().startswith(ENV_PREFIX):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def write(text: str, path: str = "mooring.toml") -> None:
    Path(path).write_text(text, encoding="utf-8")


def variable(name: str) -> str:
    return f"{ENV_PREFIX}{name.upper()}"


def complaint(given_settings: dict[str, Any]) -> str | None:
    """The setting that is wrong, if one is."""
    try:
        Settings.load(**given_settings)
    except SettingsError as error:
        return error.name
    return None


def shown(error: BaseException) -> str:
    """All that a log or a terminal may show of an error."""
    return "".join(traceback.format_exception(error)) + repr(error) + str(error) + repr(error.args)


# Wrong values.


@pytest.mark.parametrize(("name", "value", "expected"), WRONG)
def test_a_wrong_argument_is_named_with_its_value_and_what_would_be_right(name: str, value: Any, expected: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.load(**{name: value})
    assert caught.value.name == name
    assert str(caught.value).startswith(f"setting {name}: ")
    assert expected in str(caught.value)
    if name not in MAY_BE_HIDDEN:
        assert caught.value.value is value or caught.value.value == value
        assert repr(value) in str(caught.value)


@pytest.mark.parametrize(("name", "value", "expected"), [wrong for wrong in WRONG if "\n" not in str(wrong[1])])
def test_a_wrong_variable_is_named_with_its_value_and_what_would_be_right(
    name: str, value: Any, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable(name), str(value))
    with pytest.raises(SettingsError) as caught:
        Settings.load()
    assert caught.value.name == name
    if name not in MAY_BE_HIDDEN:
        assert repr(str(value)) in str(caught.value)
    assert expected in str(caught.value)


def test_every_setting_has_a_wrong_value_here() -> None:
    assert {name for name, _, _ in WRONG} == set(Settings.model_fields)


def test_an_error_is_one_line_for_the_command_line_to_print() -> None:
    with pytest.raises(MooringError) as caught:
        Settings.load(node_name="Node\nOne")
    assert str(caught.value).splitlines() == [str(caught.value)]


def test_the_first_wrong_setting_is_named_where_there_are_several() -> None:
    with pytest.raises(SettingsError, match=r"^setting shards: 0 is wrong"):
        Settings.load(shards=0, peer_age_seconds=0)


@pytest.mark.parametrize("name", ["shard", "secrets", "model_config", ""])
def test_a_setting_that_does_not_exist_is_said_to_be_none(name: str) -> None:
    with pytest.raises(SettingsError, match="there is no such setting") as caught:
        Settings.load(**{name: 3})
    assert caught.value.name == name


def test_a_default_that_another_setting_makes_wrong_is_shown() -> None:
    with pytest.raises(SettingsError, match=r"^setting lease_seconds: 5\.0 is wrong: at least twice heartbeat"):
        Settings.load(heartbeat_seconds=10)


@pytest.mark.parametrize(
    "url",
    ["http://host:99999", "http://host:port", "http://host#part", "http://host?", "http://ho\nst", "http://a host"],
)
def test_an_address_that_no_peer_could_use_is_wrong(url: str) -> None:
    with pytest.raises(SettingsError, match="without a path"):
        Settings.load(advertise_url=url)


@pytest.mark.parametrize(
    ("name", "value"),
    [("touch_seconds", math.inf), ("forget_seconds", math.inf), ("session_ttl_seconds", 10**30)],
)
def test_a_time_that_redis_cannot_be_told_is_wrong(name: str, value: float) -> None:
    with pytest.raises(SettingsError):
        Settings.load(**{name: value})


def test_a_secret_that_is_no_text_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes of the environment that are not UTF-8 come as lone surrogates."""
    monkeypatch.setenv(variable("secret"), "sixteen letters \udcff")
    with pytest.raises(SettingsError):
        Settings.load()


OLD, NEW = "an-old-secret-of-the-cluster", "a-new-secret-of-the-cluster"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (OLD, (OLD,)),
        (f"{OLD},{NEW}", (OLD, NEW)),
        (f" {OLD} , {NEW},", (OLD, NEW)),
        (f"{OLD}\n{NEW}\n", (OLD, NEW)),
        (f"{OLD}\r\n\r\n{NEW}", (OLD, NEW)),
        ([OLD, NEW], (OLD, NEW)),
        ("a secret of mine, a comma", ("a secret of mine, a comma",)),
        (f"a secret of mine, a comma\n{NEW}", ("a secret of mine, a comma", NEW)),
        ("a secret that ends in a comma,", ("a secret that ends in a comma,",)),
    ],
)
def test_several_secrets(text: Any, expected: tuple[str, ...]) -> None:
    assert Settings.load(secret=text).secrets == expected


@pytest.mark.parametrize("text", [",", "\n", f"{OLD}\nshort", f"{OLD}\n\x00{NEW}", []])
def test_several_of_which_one_is_none(text: Any) -> None:
    with pytest.raises(SettingsError, match="secret") as told:
        Settings.load(secret=text)
    assert OLD not in str(told.value)


def test_without_a_secret_there_is_none() -> None:
    assert Settings.load().secrets == ()


# Right values.


@pytest.mark.parametrize(
    "given_settings",
    [
        {},
        {"redis_url": "redis://host:6379/0"},
        {"redis_url": "rediss://user:password@host"},
        {"redis_url": "unix:///run/redis.sock"},
        {"key_prefix": "team:mcp.v1"},
        {"secret": "x" * 16},
        {"node_name": "n"},
        {"node_name": "n" * 63},
        {"advertise_url": "https://node-1.example:8443"},
        {"advertise_url": "http://[::1]:8000"},
        {"mcp_path": "/a/b", "health_path": "/a", "ready_path": "/a/c", "status_path": "/a/d"},
        {"status_token": "~" * 16},
        {"heartbeat_seconds": 60, "lease_seconds": 120},
        {"touch_seconds": 0},
        {"shards": 64, "capacity": 1},
    ],
)
def test_what_is_right_is_taken_as_it_is(given_settings: dict[str, Any]) -> None:
    loaded = Settings.load(**given_settings)
    for name, value in given_settings.items():
        got = getattr(loaded, name)
        assert (got.get_secret_value() if name in SECRETS else got) == value


@settings(deadline=None, max_examples=100)
@given(st.text(max_size=70))
def test_no_text_makes_loading_raise_anything_else(text: str) -> None:
    for name in ("redis_url", "key_prefix", *SECRETS, "node_name", "advertise_url", "mcp_path", "capacity"):
        assert complaint({name: text}) in {None, name}


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("https://A.Example, HTTP://b.example:8080", "https://a.example,http://b.example:8080"),
        ("https://a.example:443,http://a.example:80", "https://a.example,http://a.example"),
        ("https://a.example:80,http://a.example:443", "https://a.example:80,http://a.example:443"),
        ("https://a.example,https://A.example:443", "https://a.example"),
        ('["https://a.example", "*"]', "https://a.example,*"),
        (["https://a.example", "https://b.example"], "https://a.example,https://b.example"),
        ("", ""),
        ([], ""),
    ],
)
def test_an_origin_is_taken_as_browsers_write_it(given: Any, taken: str) -> None:
    assert Settings.load(cors_origins=given).cors_origins == taken


@pytest.mark.parametrize("name", ["mcp_path", "one_node_paths", "cors_origins"])
def test_several_may_be_a_list(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    items = ["https://a.example", "https://b.example"] if name == "cors_origins" else ["/a", "/b"]
    assert getattr(Settings.load(**{name: items}), name) == ",".join(items)
    write(f"{name} = {items}")
    assert getattr(Settings.load(), name) == ",".join(items)
    monkeypatch.setenv(variable(name), json.dumps(items))
    assert getattr(Settings.load(), name) == ",".join(items)


@pytest.mark.parametrize(
    ("chosen", "endpoint", "revives"),
    [
        ("reinitialize", "/mcp", False),
        ("/a/mcp=reinitialize", "/a/mcp", False),
        ("/a/mcp=reinitialize", "/b/mcp", True),
        ("/s/{id}/mcp=reinitialize", "/s/7/mcp", False),
        ("/s/{id}/mcp=reinitialize", "/s/7/8/mcp", True),
        ("/s/{id}/mcp=reinitialize", "/s/7/mcp/below", True),
        ("reinitialize,/s/{id}/mcp=revive", "/s/7/mcp", True),
        ("/s/{id}/mcp=reinitialize,/s/7/mcp=revive", "/s/7/mcp", True),
    ],
)
def test_what_becomes_of_a_session_goes_by_its_endpoint(chosen: str, endpoint: str, revives: bool) -> None:
    """A session's endpoint is the path that it was opened at, also where a pattern is in the settings."""
    assert Settings.load(on_node_loss=chosen).revives(endpoint) is revives


def test_a_trailing_slash_of_an_address_is_dropped() -> None:
    assert Settings.load(advertise_url="http://host:8000/").advertise_url == "http://host:8000"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("HTTP://10.0.0.7:8000", "http://10.0.0.7:8000"),
        ("http://10.0.0.7:", "http://10.0.0.7"),
        ("https://[fd00::7]:/", "https://[fd00::7]"),
        ("http://[fd00::7]", "http://[fd00::7]"),
        ("Http://$POD_IP:8000", "http://$POD_IP:8000"),
        ("http://{eth0:1}", "http://{eth0:1}"),
    ],
)
def test_the_address_of_a_node_is_kept_as_an_ingress_writes_it(given: str, kept: str) -> None:
    assert Settings.load(advertise_url=given).advertise_url == kept


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("web-1", "web-1"),
        ("Web_1.Example.COM", "web-1-example-com"),
        ("-x-", "x"),
        ("", "node"),
        ("\u00fc\u00fc", "node"),
        ("a" * 80, "a" * 63),
        ("a" * 62 + ".b", "a" * 62),
    ],
)
def test_the_default_name_is_the_hosts_in_the_form_of_a_name(
    host: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: host)
    assert default_node_name() == name
    assert Settings.load().node_name == name
    assert Settings.load(node_name=name).node_name == name


def test_every_setting_says_what_it_means() -> None:
    assert [name for name, field in Settings.model_fields.items() if not (field.description or "").endswith(".")] == []


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError):
        Settings.load().shards = 3


# Where a setting comes from.


def test_an_argument_goes_before_the_environment_before_the_file_before_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert Settings.load().shards == 8
    write("shards = 3\n")
    assert Settings.load().shards == 3
    monkeypatch.setenv(variable("shards"), "4")
    assert Settings.load().shards == 4
    assert Settings.load(shards=5).shards == 5


def test_sources_are_joined_setting_by_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    write("shards = 3\ncapacity = 30\nnode_name = 'filed'\n")
    monkeypatch.setenv(variable("capacity"), "40")
    loaded = Settings.load(node_name="argued")
    assert (loaded.shards, loaded.capacity, loaded.node_name) == (3, 40, "argued")


def test_an_argument_that_is_none_was_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable("shards"), "4")
    assert Settings.load(shards=None, secret=None).shards == 4


def test_a_wrong_value_that_is_overruled_does_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    write("shards = 0\n")
    monkeypatch.setenv(variable("shards"), "4")
    assert Settings.load().shards == 4


def test_a_wrong_value_in_the_file_is_named() -> None:
    write("node_name = 'Node'\n")
    with pytest.raises(SettingsError, match=r"^setting node_name: 'Node' is wrong"):
        Settings.load()


def test_a_setting_in_the_file_that_does_not_exist_is_said_to_be_none() -> None:
    write("shard = 3\n")
    with pytest.raises(SettingsError, match=r"^setting shard: .* no such setting"):
        Settings.load()


def test_a_broken_file_shows_nothing_of_what_is_in_it() -> None:
    write(f"secret = '{SECRET}'\nshards = \n")
    with pytest.raises(SettingsError) as caught:
        Settings.load()
    assert SECRET not in shown(caught.value)


# What is never shown.

Give = Callable[[str, str], dict[str, Any]]


@pytest.fixture(params=["argument", "environment", "file"])
def give(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Give:
    """Sets a setting from one of the three sources; answers the arguments to load with."""

    def by(name: str, value: str) -> dict[str, Any]:
        if request.param == "argument":
            return {name: value}
        if request.param == "environment":
            monkeypatch.setenv(variable(name), value)
        else:
            write(f"{name} = {json.dumps(value)}\n")
        return {}

    return by


@pytest.mark.parametrize("name", SECRETS)
def test_a_wrong_secret_is_in_no_error(give: Give, name: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.load(**give(name, PASSWORD))
    assert PASSWORD not in shown(caught.value)
    assert caught.value.value != PASSWORD


@pytest.mark.parametrize("name", SECRETS)
def test_a_right_secret_is_in_no_error_of_another_setting(give: Give, name: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.load(**give(name, TOKEN), shards=0)
    assert TOKEN not in shown(caught.value)
    with pytest.raises(SettingsError) as caught:
        Settings.load(**give(name, TOKEN), lease_seconds=0.9)
    assert TOKEN not in shown(caught.value)


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_is_in_no_text_of_the_settings(give: Give, name: str) -> None:
    loaded = Settings.load(**give(name, TOKEN))
    secret = getattr(loaded, name)
    assert secret.get_secret_value() == TOKEN
    for text in (repr(loaded), str(loaded), loaded.model_dump_json(), str(loaded.model_dump()), f"{secret}"):
        assert TOKEN not in text


@pytest.mark.parametrize("url", [f"http://user:{PASSWORD}@host", f"localhost:6379?password={PASSWORD}"])
def test_the_password_of_redis_is_in_no_error(give: Give, url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.load(**give("redis_url", url))
    assert PASSWORD not in shown(caught.value)


def test_the_password_of_redis_is_in_no_text_of_the_settings(give: Give) -> None:
    loaded = Settings.load(**give("redis_url", f"redis://user:{PASSWORD}@host"))
    assert PASSWORD not in repr(loaded)
    assert PASSWORD not in str(loaded)


@pytest.mark.parametrize("name", ["sercet", "redis_password"])
def test_a_secret_under_a_misspelled_name_is_in_no_error(name: str) -> None:
    write(f"{name} = {json.dumps(SECRET)}\n")
    with pytest.raises(SettingsError, match=name) as caught:
        Settings.load()
    assert SECRET not in shown(caught.value)
