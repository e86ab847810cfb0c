"""What a user installs: the wheel and the sdist, built from this checkout and tried outside of it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from email.parser import Parser
from pathlib import Path, PurePosixPath

import psutil
import pytest
from fastmcp import Client
from readme_renderer import markdown
from uv import find_uv_bin

ROOT = Path(__file__).resolve().parents[1]
PINNED = ROOT / "requirements/dev.txt"
READY = "ready: "
_LONGEST_RUN_SECONDS = 60

pytestmark = pytest.mark.real


@dataclass(frozen=True)
class Built:
    """
    Attributes:
        from_tree: the wheel that the checkout gives.
        from_sdist: the wheel that the sdist gives.
    """

    sdist: Path
    from_tree: Path
    from_sdist: Path

    def files(self) -> set[PurePosixPath]:
        """What the wheel installs into site-packages."""
        with zipfile.ZipFile(self.from_tree) as wheel:
            return {PurePosixPath(name) for name in wheel.namelist()}

    def metadata(self) -> Message:
        with zipfile.ZipFile(self.from_tree) as wheel:
            return Parser().parsestr(_read(wheel, ".dist-info/METADATA"))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("dist")
    _uv("build", "--wheel", "--out-dir", folder / "tree", ROOT)
    _uv("build", "--sdist", "--out-dir", folder, ROOT)
    [sdist] = folder.glob("*.tar.gz")
    _uv("build", "--wheel", "--out-dir", folder / "sdist", sdist)
    [from_tree], [from_sdist] = (folder / "tree").glob("*.whl"), (folder / "sdist").glob("*.whl")
    return Built(sdist, from_tree, from_sdist)


@pytest.fixture(scope="module")
def programs(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the programs of an environment are that holds Mooring and the SDK of the example, and nothing of ours."""
    environment = tmp_path_factory.mktemp("installed") / "venv"
    _uv("venv", "--python", sys.executable, environment)
    wanted = [f"mooring[local] @ {built.from_tree.as_uri()}", "mcp"]
    _uv("pip", "install", "--python", environment, "--constraints", PINNED, *wanted)
    return environment / "bin"


def test_all_that_is_in_the_package_is_in_the_wheel(built: Built) -> None:
    source = ROOT / "src"
    there = {
        PurePosixPath(path.relative_to(source).as_posix())
        for path in (source / "mooring").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    packaged = {path for path in built.files() if not path.parts[0].endswith(".dist-info")}
    assert packaged == there
    assert {".lua", ".toml", ".typed"} <= {path.suffix for path in packaged}, "this test looks at something"
    assert PurePosixPath("mooring/py.typed") in packaged


def test_the_sdist_holds_what_a_build_needs_and_no_more(built: Built) -> None:
    with tarfile.open(built.sdist) as archive:
        tops = {PurePosixPath(name).parts[1] for name in archive.getnames()}
    assert tops == {"src", "README.md", "CHANGELOG.md", "LICENSE", "pyproject.toml", "PKG-INFO", ".gitignore"}


def test_the_sdist_builds_the_same_wheel(built: Built) -> None:
    """RECORD has the name and digest of each file, the metadata among them."""
    with zipfile.ZipFile(built.from_tree) as one, zipfile.ZipFile(built.from_sdist) as other:
        assert _read(one, ".dist-info/RECORD") == _read(other, ".dist-info/RECORD")


def test_pypi_takes_what_was_built(built: Built) -> None:
    command: list[str | Path] = [sys.executable, "-m", "twine", "check", "--strict", built.from_tree, built.sdist]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_page_on_pypi_leads_to_files_of_this_release(built: Built) -> None:
    """There a relative link leads nowhere."""
    metadata = built.metadata()
    page = markdown.render(_page(metadata))
    assert page is not None
    targets = [target for target in re.findall(r'(?:href|src)="([^"]*)"', page) if not target.startswith("#")]
    assert [target for target in targets if not re.match("https?://", target)] == []
    files = f"{_urls(metadata)['Source']}/blob/v{metadata['Version']}/"
    linked = [target.removeprefix(files).partition("#")[0] for target in targets if target.startswith(files)]
    assert len(linked) >= 10, "this test looks at something"
    assert [path for path in linked if not (ROOT / path).is_file()] == []


def test_the_page_on_pypi_shows_no_source_of_a_diagram(built: Built) -> None:
    """PyPI draws none."""
    assert "mermaid" not in _page(built.metadata())


def test_the_addresses_of_the_project_belong_together(built: Built) -> None:
    urls = _urls(built.metadata())
    assert set(urls) == {"Homepage", "Documentation", "Source", "Issues", "Changelog"}
    assert [url for url in urls.values() if not f"{url}/".startswith(f"{urls['Source']}/")] == []


async def test_the_wheel_runs_a_cluster_outside_the_checkout(programs: Path, tmp_path: Path) -> None:
    example = tmp_path / "counter.py"
    example.write_bytes((ROOT / "examples/counter.py").read_bytes())
    with _started([programs / "mooring", "up", "counter.py:server", "--port", "0"], tmp_path) as process:
        url = _ready_url(process)
        children = psutil.Process(process.pid).children(recursive=True)
        async with Client(url, mode="legacy") as client:
            answers = [await client.call_tool("increment") for _ in range(2)]
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=_LONGEST_RUN_SECONDS)
    assert process.returncode == 0, rest
    assert [answer.structured_content for answer in answers] == [{"result": 1}, {"result": 2}]
    assert len(children) >= 5, "three nodes, Traefik and Redis"
    assert not [child for child in children if _is_running(child)]
    assert _names_in(tmp_path) == {"counter.py"}


def _read(wheel: zipfile.ZipFile, ending: str) -> str:
    [name] = [name for name in wheel.namelist() if name.endswith(ending)]
    return wheel.read(name).decode()


def _page(metadata: Message) -> str:
    """What PyPI shows, in Markdown."""
    text = metadata.get_payload()
    assert isinstance(text, str)
    return text


def _urls(metadata: Message) -> dict[str, str]:
    return dict(entry.split(", ", 1) for entry in metadata.get_all("Project-URL", []))


def _uv(*arguments: str | Path) -> None:
    """The machine's own settings for uv (an index, certificates) stay as they are."""
    command = [find_uv_bin(), arguments[0], "--quiet", *arguments[1:]]
    ran = subprocess.run(command, env=_environment(), capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def _environment() -> dict[str, str]:
    """Ours, but nothing that leads back to this checkout or to the environment that runs the tests."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}


@contextmanager
def _started(command: list[str | Path], folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A program that runs in that folder; what it says on both outputs comes through one pipe."""
    pipe, out = subprocess.PIPE, subprocess.STDOUT
    process = subprocess.Popen(command, cwd=folder, env=_environment(), stdout=pipe, stderr=out, text=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def _names_in(folder: Path) -> set[str]:
    """Without what Python itself leaves wherever it imports."""
    return {path.name for path in folder.iterdir()} - {"__pycache__"}


def _is_running(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _ready_url(process: subprocess.Popen[str]) -> str:
    """What it says when all of it answers."""
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if line.startswith(READY):
            return line.removeprefix(READY).strip()
    raise AssertionError("".join(said))
