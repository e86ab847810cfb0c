from __future__ import annotations

from pathlib import Path

import pytest

from mooring.errors import SettingsError
from mooring.settings import Settings

SECRET = "a secret for tests, nowhere else"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "secret"
    monkeypatch.setenv("MOORING_SECRET_FILE", str(path))
    return path


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_secret_may_be_in_a_file(file: Path, end: str) -> None:
    file.write_text(SECRET + end)
    secret = Settings.load().secret
    assert secret is not None
    assert secret.get_secret_value() == SECRET


def test_so_may_the_address_of_redis_with_its_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "url"
    path.write_text("redis://:hunter2hunter2@redis:6379\n")
    monkeypatch.setenv("MOORING_REDIS_URL_FILE", str(path))
    assert Settings.load().redis_url == "redis://:hunter2hunter2@redis:6379"


def test_an_argument_comes_first(file: Path) -> None:
    file.write_text(SECRET)
    secret = Settings.load(secret=SECRET + " 2").secret
    assert secret is not None
    assert secret.get_secret_value() == SECRET + " 2"


def test_it_comes_before_the_settings_file(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text(SECRET)
    (tmp_path / "mooring.toml").write_text('secret = "another secret of some length"')
    monkeypatch.chdir(tmp_path)
    secret = Settings.load().secret
    assert secret is not None
    assert secret.get_secret_value() == SECRET


def test_a_secret_is_set_once(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text(SECRET)
    monkeypatch.setenv("MOORING_SECRET", SECRET)
    with pytest.raises(SettingsError, match="as MOORING_SECRET, or in a file as MOORING_SECRET_FILE") as caught:
        Settings.load()
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("content", [None, "", "\n", b"\xff" * 20])
def test_a_file_that_holds_no_secret_is_named(file: Path, content: str | bytes | None) -> None:
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content is not None:
        file.write_text(content)
    with pytest.raises(SettingsError, match="MOORING_SECRET_FILE") as caught:
        Settings.load()
    assert str(file) in str(caught.value)


def test_what_is_wrong_with_a_secret_does_not_show_it(file: Path) -> None:
    file.write_text("too short")
    with pytest.raises(SettingsError, match="at least 16 characters") as caught:
        Settings.load()
    assert "too short" not in str(caught.value)
