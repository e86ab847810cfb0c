from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import yaml

from mooring.errors import ClusterError
from mooring.ingress.follow import RETRY_SECONDS, FollowingFiles, follow
from mooring.ingress.proxy import Choice, Files
from mooring.ingress.topology import Topology
from mooring.ingress.traefik import dump, dynamic_configuration, part
from tests.ingress.topologies import backend, three_nodes

EMPTY = Topology(())


class DynamicFile(FollowingFiles):
    """Traefik's."""

    def __init__(self, path: Path, *, secure_cookie: bool = True) -> None:
        super().__init__(lambda topology: part(topology, Choice(secure_cookie=secure_cookie), path))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "traefik-dynamic.yml"


def test_writes_the_configuration(path: Path) -> None:
    assert DynamicFile(path, secure_cookie=False).update(three_nodes())
    assert yaml.safe_load(path.read_text()) == dynamic_configuration(three_nodes(), secure_cookie=False)


def test_replaces_the_file_by_rename_and_leaves_nothing_beside_it(path: Path) -> None:
    file = DynamicFile(path)
    file.update(three_nodes())
    with path.open() as reader:
        inode = path.stat().st_ino
        assert file.update(Topology((backend(),)))
        assert path.stat().st_ino != inode
        assert reader.read() == dump(dynamic_configuration(three_nodes()))
    assert list(path.parent.iterdir()) == [path]


def test_another_user_can_read_it(path: Path) -> None:
    DynamicFile(path).update(three_nodes())
    assert path.stat().st_mode & 0o044 == 0o044


def test_does_not_touch_the_file_while_nothing_changes(path: Path) -> None:
    file = DynamicFile(path)
    file.update(three_nodes())
    before = path.stat()
    assert not file.update(three_nodes())
    assert not DynamicFile(path).update(three_nodes())
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_keeps_the_last_file_when_no_node_is_alive(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = DynamicFile(path)
    file.update(three_nodes())
    text = path.read_text()
    assert not file.update(EMPTY)
    assert not file.update(EMPTY)
    assert path.read_text() == text
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_writes_no_first_file_without_nodes(path: Path) -> None:
    assert not DynamicFile(path).update(EMPTY)
    assert not path.exists()


def test_leaves_the_file_whole_when_it_cannot_be_replaced(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = DynamicFile(path)
    file.update(three_nodes())
    text = path.read_text()

    def refuse(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OSError, match="no space"):
        file.update(Topology((backend(),)))
    assert path.read_text() == text
    assert list(path.parent.iterdir()) == [path]


def test_replaces_a_file_that_is_no_text_of_ours(path: Path) -> None:
    """As one in Latin-1, which somebody wrote before."""
    path.write_bytes("für".encode("latin-1"))
    assert DynamicFile(path).update(three_nodes())
    assert path.read_text() == dump(dynamic_configuration(three_nodes()))


class FullDisk(DynamicFile):
    """Fails its first two updates."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._failures: Iterator[OSError] = iter([OSError("full"), OSError("full")])

    def update(self, topology: Topology) -> bool:
        for failure in self._failures:
            raise failure
        return super().update(topology)


async def test_follows_through_a_disk_that_is_full_for_a_while(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def topologies() -> AsyncIterator[Topology]:
        for _ in range(3):
            yield three_nodes()

    await follow(topologies(), FullDisk(path))
    assert not DynamicFile(path).update(three_nodes())
    assert len(caplog.records) == 1


def test_writes_only_what_changed_and_in_the_given_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []

    def texts(topology: Topology) -> Files:
        return {tmp_path / "first": str(len(topology.backends)), tmp_path / "never": "x", tmp_path / "last": "y"}

    replace = Path.replace

    def note(path: Path, target: Path) -> Path:
        written.append(target.name)
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", note)
    files = FollowingFiles(texts)
    assert files.update(three_nodes())
    assert files.update(Topology((backend(),)))
    assert written == ["first", "never", "last", "first"]


class Reloads:
    """Counts reloads, and lets the first few fail, as nginx says it: with the time and its process."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.count = 0

    async def __call__(self) -> None:
        self.count += 1
        if self.count <= self.failures:
            raise ClusterError(f"10:00:0{self.count} {4000 + self.count}#0: it does not run")


async def each(*topologies: Topology) -> AsyncIterator[Topology]:
    for topology in topologies:
        yield topology


async def test_reloads_once_in_the_beginning_and_then_after_changes(path: Path) -> None:
    reloads = Reloads()
    DynamicFile(path).update(three_nodes())
    await follow(each(EMPTY, three_nodes(), three_nodes(), Topology((backend(),))), DynamicFile(path), reloads)
    assert reloads.count == 2


async def test_tries_a_reload_that_failed_again_after_a_while(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    now = 0.0
    reloads = Reloads(failures=2)

    async def topologies() -> AsyncIterator[Topology]:
        nonlocal now
        for _ in range(30):
            yield three_nodes()
            now += RETRY_SECONDS / 10

    await follow(topologies(), DynamicFile(path), reloads, clock=lambda: now)
    assert reloads.count == 3
    assert [record.getMessage() for record in caplog.records] == [
        "the ingress keeps its last configuration: 10:00:01 4001#0: it does not run",
        "the ingress follows the nodes again",
    ]


async def test_a_change_is_reloaded_though_the_last_reload_failed_just_now(path: Path) -> None:
    reloads = Reloads(failures=1)
    await follow(each(three_nodes(), Topology((backend(),))), DynamicFile(path), reloads, clock=lambda: 0.0)
    assert reloads.count == 2
