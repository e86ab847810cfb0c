from __future__ import annotations

from pathlib import Path

import pytest

from mooring.errors import SettingsError
from mooring.settings import SETTINGS_FILE_VARIABLE, Settings


@pytest.fixture(autouse=True)
def nothing_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file but those that a test makes."""
    monkeypatch.delenv(SETTINGS_FILE_VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)


def write(text: str, path: str = "mooring.toml") -> None:
    Path(path).write_text(text, encoding="utf-8")


def test_the_file_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    write("shards = 3\n")
    write("shards = 6\n", "other.toml")
    monkeypatch.setenv(SETTINGS_FILE_VARIABLE, "other.toml")
    assert Settings.load().shards == 6


@pytest.mark.parametrize("content", [b"shards = \n", b"node_name = '\xff'\n"], ids=["syntax", "encoding"])
def test_a_file_that_does_not_read_is_named(content: bytes) -> None:
    Path("mooring.toml").write_bytes(content)
    with pytest.raises(SettingsError, match=r"^setting settings_file: 'mooring.toml' is wrong: it cannot be read"):
        Settings.load()


def test_a_folder_is_no_file() -> None:
    Path("mooring.toml").mkdir()
    with pytest.raises(SettingsError, match=r"^setting settings_file: 'mooring.toml' is wrong: it cannot be read"):
        Settings.load()


def test_a_file_that_is_named_and_missing_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    write("shards = 3\n")
    monkeypatch.setenv(SETTINGS_FILE_VARIABLE, "nowhere.toml")
    with pytest.raises(SettingsError, match=r"^setting settings_file: 'nowhere.toml' is wrong: MOORING_SETTINGS_FILE"):
        Settings.load()
