"""Real Redis servers that belong together: a cluster, and a primary with a replica and a sentinel."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.bare import free_port
from tests.real_redis import program


class Group:
    """Servers on ports of this machine. No event loop is needed: they outlive a test's.

    Args:
        tls: they speak TLS alone, with a certificate that is trusted by whoever reads `ca`.
    """

    db = "0"

    def __init__(self, folder: Path, *, tls: bool = False) -> None:
        self._folder = folder
        self.ca = folder / "ca.pem"
        self._tls = tls
        if tls:
            _certify(folder)
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self.url = ""

    def start(self, port: int, *options: str) -> None:
        listening = ["--port", str(port)]
        if self._tls:
            files = ["--tls-cert-file", "ca.pem", "--tls-key-file", "key.pem", "--tls-ca-cert-file", "ca.pem"]
            others = ["--tls-replication", "yes", "--tls-cluster", "yes", "--tls-auth-clients", "no"]
            listening = ["--port", "0", "--tls-port", str(port), *files, *others]
        self._processes[port] = subprocess.Popen(
            [program("redis"), *options, *listening, "--bind", "127.0.0.1"],
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for(lambda: self.cli(port, "ping") == "PONG")

    def kill_primary_of(self, key: str) -> None:
        """SIGKILL for the server that has this key."""
        for port, process in self._processes.items():
            if self.cli(port, "role").startswith("master") and self.cli(port, "-n", self.db, "exists", key) == "1":
                process.kill()
                process.wait()
                return
        raise AssertionError(f"no primary has {key}")

    def stop(self) -> None:
        for process in self._processes.values():
            process.kill()
            process.wait()

    def cli(self, port: int, *command: str) -> str:
        tls = ["--tls", "--cacert", str(self.ca)] if self._tls else []
        asked = subprocess.run(
            ["redis-cli", "-p", str(port), *tls, *command], capture_output=True, text=True, check=False
        )
        return asked.stdout.strip()

    def scheme(self, kind: str) -> str:
        return f"rediss+{kind}" if self._tls else f"redis+{kind}"

    @property
    def query(self) -> str:
        return f"?ssl_ca_certs={self.ca}" if self._tls else ""


@contextlib.contextmanager
def real_cluster(masters: int = 3, replicas: int = 0, *, tls: bool = False) -> Iterator[Group]:
    """A Redis Cluster, with so many replicas for each of its primaries."""
    with tempfile.TemporaryDirectory(prefix="mooring-cluster-") as folder:
        group = Group(Path(folder), tls=tls)
        ports = [free_port() for _ in range(masters * (1 + replicas))]
        nodes = [f"127.0.0.1:{port}" for port in ports]
        try:
            for port in ports:
                bus = ("--cluster-port", str(free_port()), "--cluster-config-file", f"{port}.conf")
                group.start(port, "--save", "", "--cluster-enabled", "yes", "--cluster-node-timeout", "1000", *bus)
            group.cli(ports[0], "--cluster", "create", *nodes, "--cluster-replicas", str(replicas), "--cluster-yes")
            for port in ports:
                wait_for(lambda port=port: "cluster_state:ok" in group.cli(port, "cluster", "info"))  # type: ignore[misc]
            synced = "master_link_status:up"
            wait_for(
                lambda: (
                    [synced in group.cli(port, "info", "replication") for port in ports].count(True)
                    == masters * replicas
                )
            )
            group.url = f"{group.scheme('cluster')}://{','.join(nodes)}{group.query}"
            yield group
        finally:
            group.stop()


@contextlib.contextmanager
def real_sentinel(*, tls: bool = False) -> Iterator[Group]:
    """A primary, a replica, and a sentinel that knows them."""
    with tempfile.TemporaryDirectory(prefix="mooring-sentinel-") as folder:
        group = Group(Path(folder), tls=tls)
        group.db = "1"
        primary, replica, sentinel = (free_port() for _ in range(3))
        config = Path(folder) / "sentinel.conf"
        config.write_text(
            f"sentinel monitor main 127.0.0.1 {primary} 1\n"
            "sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 2000\n"
        )
        try:
            group.start(primary, "--save", "")
            group.start(replica, "--save", "", "--replicaof", "127.0.0.1", str(primary))
            group.start(sentinel, str(config), "--sentinel")
            wait_for(lambda: "master_link_status:up" in group.cli(replica, "info", "replication"))
            wait_for(lambda: "slaves=1" in group.cli(sentinel, "info", "sentinel"))
            group.url = f"{group.scheme('sentinel')}://127.0.0.1:{sentinel}/main/{group.db}{group.query}"
            yield group
        finally:
            group.stop()


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _certify(folder: Path) -> None:
    """A certificate for 127.0.0.1 that signs itself."""
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-keyout", str(folder / "key.pem"), "-out", str(folder / "ca.pem"), "-days", "2"),
            *("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
