"""Real Redis servers that belong together: a cluster, and a primary with a replica and sentinels; what befalls them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

from tests.ports import free_port, free_ports
from tests.real_redis import Flavour, certify, listening_options, program

PASSWORD, SENTINEL_PASSWORD = "correct:horse@battery/staple", "stapled&battery"


class Group:
    """Servers on ports of this machine. No event loop is needed: they outlive a test's.

    Args:
        tls: they speak TLS alone, with a certificate that is trusted by whoever reads `ca`.
        password: they want `PASSWORD`, and sentinels `SENTINEL_PASSWORD`.
    """

    db = "0"

    def __init__(self, folder: Path, *, flavour: Flavour = "redis", tls: bool = False, password: bool = False) -> None:
        self._folder = folder
        self._flavour: Flavour = flavour
        self.ca = folder / "ca.pem"
        self._tls = tls
        self._password = password
        if tls:
            certify(folder)
        self._commands: dict[int, list[str]] = {}
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self.sentinels: list[int] = []
        self.url = ""

    def start(self, port: int, *options: str) -> None:
        others = ["--repl-diskless-sync-delay", "0"]  # a replica need not wait for a second one
        if self._password:
            others += ["--requirepass", PASSWORD, "--masterauth", PASSWORD]
        if port in self.sentinels:
            others = ["--requirepass", SENTINEL_PASSWORD] if self._password else []
        listening = listening_options(port, tls=self._tls)
        if self._tls:
            listening += ["--tls-replication", "yes", "--tls-cluster", "yes"]
        self._commands[port] = [program(self._flavour), *options, *listening, *others, "--bind", "127.0.0.1"]
        self._run(port)

    def _run(self, port: int, *more: str) -> None:
        self._processes[port] = subprocess.Popen(
            [*self._commands[port], *more],
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for(lambda: self.cli(port, "ping") == "PONG")

    # What befalls them.

    def primary_of(self, key: str) -> int:
        """The port of the primary that has this key."""
        for port in self._running():
            if self.is_primary(port) and self.cli(port, "-n", self.db, "exists", key) == "1":
                return port
        raise AssertionError(f"no primary has {key}")

    def another_primary(self, than: int) -> int:
        return next(port for port in self._running() if port != than and self.is_primary(port))

    def replica_of(self, primary: int) -> int:
        for port in self._running():
            role = self.cli(port, "role").split()
            if role[:1] == ["slave"] and int(role[2]) == primary:
                return port
        raise AssertionError(f"{primary} has no replica")

    def is_primary(self, port: int) -> bool:
        return self.cli(port, "role").startswith("master")

    def kill(self, port: int) -> None:
        self._processes[port].kill()
        self._processes[port].wait()

    def kill_primary_of(self, key: str) -> None:
        """SIGKILL for the server that has this key."""
        self.kill(self.primary_of(key))

    def freeze(self, port: int) -> None:
        self._processes[port].send_signal(signal.SIGSTOP)

    def thaw(self, port: int) -> None:
        self._processes[port].send_signal(signal.SIGCONT)

    def cut_off(self, replica: int) -> None:
        """From now on the replica gets nothing from its primary. They have to have a password."""
        self.cli(replica, "config", "set", "masterauth", "wrong")
        self.cli(replica, "client", "kill", "type", "master")
        wait_for(lambda: "master_link_status:down" in self.cli(replica, "info", "replication"))

    def everywhere(self, *command: str) -> None:
        for port in self._running():
            self.cli(port, *command)

    def reconnect(self, replica: int) -> None:
        self.cli(replica, "config", "set", "masterauth", PASSWORD)

    def hand_over(self, replica: int) -> None:
        """A failover that its operator asks for, to a replica that is well."""
        if self.sentinels:
            # It refuses until it has asked the replica how it is.
            wait_for(lambda: self.cli(self.sentinels[-1], "sentinel", "failover", "main") == "OK")
        else:
            self.cli(replica, "cluster", "failover")

    def start_again(self, port: int, primary: int) -> None:
        """Of one that was killed: empty, as a replica of the primary of now."""
        is_replica = self.sentinels and port not in self.sentinels
        self._run(port, *(["--replicaof", "127.0.0.1", str(primary)] if is_replica else []))

    def wait_until_primary(self, port: int) -> None:
        # A sentinel that did not run for two seconds does nothing for the next thirty.
        wait_for(lambda: self.is_primary(port))

    def wait_until_whole(self) -> None:
        """Until every primary has its replica, which has everything, and everybody knows it."""
        wait_for(lambda: self._count("role:master") == self._count("role:slave"))
        wait_for(lambda: self._count("state=online") == self._count("role:master"))
        if self.sentinels:
            primary = next(port for port in self._running() if self.is_primary(port))
            for port in self.sentinels:
                wait_for(lambda port=port: self._named_by(port) == ["127.0.0.1", str(primary)])  # type: ignore[misc]
                wait_for(lambda port=port: "status=ok,address" in self.cli(port, "info", "sentinel"))  # type: ignore[misc]
            return
        for port in self._processes:
            wait_for(lambda port=port: "cluster_state:ok" in self.cli(port, "cluster", "info"))  # type: ignore[misc]

    def _count(self, what: str) -> int:
        return sum(what in self.cli(port, "info", "replication") for port in self._running())

    def _named_by(self, sentinel: int) -> list[str]:
        return self.cli(sentinel, "sentinel", "get-master-addr-by-name", "main").split()

    def _running(self) -> list[int]:
        return [
            port for port, process in self._processes.items() if process.poll() is None and port not in self.sentinels
        ]

    def stop(self) -> None:
        for process in self._processes.values():
            process.kill()
            process.wait()

    # How to speak with them.

    def cli(self, port: int, *command: str) -> str:
        tls = ["--tls", "--cacert", str(self.ca)] if self._tls else []
        secret = SENTINEL_PASSWORD if port in self.sentinels else PASSWORD
        asked = subprocess.run(
            ["redis-cli", "-p", str(port), *tls, *command],
            env=os.environ | ({"REDISCLI_AUTH": secret} if self._password else {}),
            capture_output=True,
            text=True,
            check=False,
        )
        return asked.stdout.strip()

    def url_of(self, kind: str, rest: str) -> str:
        login = f":{quote(PASSWORD, safe='')}@" if self._password else ""
        query = [f"ssl_ca_certs={self.ca}"] if self._tls else []
        if self.sentinels and self._password:
            query.append(f"sentinel_password={quote(SENTINEL_PASSWORD)}")
        scheme = ("rediss" if self._tls else "redis") + (f"+{kind}" if kind else "")
        return f"{scheme}://{login}{rest}{'?' if query else ''}{'&'.join(query)}"


@contextlib.contextmanager
def real_single(*, flavour: Flavour = "redis", tls: bool = False, password: bool = False) -> Iterator[Group]:
    """One server."""
    with tempfile.TemporaryDirectory(prefix="mooring-single-") as folder:
        group = Group(Path(folder), flavour=flavour, tls=tls, password=password)
        port = free_port()
        try:
            group.start(port, "--save", "")
            group.url = group.url_of("", f"127.0.0.1:{port}/{group.db}")
            yield group
        finally:
            group.stop()


@contextlib.contextmanager
def real_cluster(
    masters: int = 3, replicas: int = 0, *, flavour: Flavour = "redis", tls: bool = False, password: bool = False
) -> Iterator[Group]:
    """A Redis Cluster, with so many replicas for each of its primaries."""
    with tempfile.TemporaryDirectory(prefix="mooring-cluster-") as folder:
        group = Group(Path(folder), flavour=flavour, tls=tls, password=password)
        count = masters * (1 + replicas)
        ports, buses = (found := free_ports(2 * count))[:count], found[count:]
        nodes = [f"127.0.0.1:{port}" for port in ports]
        try:
            for port, bus_port in zip(ports, buses, strict=True):
                bus = ("--cluster-port", str(bus_port), "--cluster-config-file", f"{port}.conf")
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
            group.url = group.url_of("cluster", ",".join(nodes))
            yield group
        finally:
            group.stop()


@contextlib.contextmanager
def real_sentinel(
    sentinels: int = 1, *, flavour: Flavour = "redis", tls: bool = False, password: bool = False
) -> Iterator[Group]:
    """A primary, a replica, and sentinels that know them, most of which have to agree."""
    with tempfile.TemporaryDirectory(prefix="mooring-sentinel-") as name:
        folder = Path(name)
        group = Group(folder, flavour=flavour, tls=tls, password=password)
        group.db = "1"
        primary, replica, *group.sentinels = free_ports(2 + sentinels)
        watched = f"sentinel monitor main 127.0.0.1 {primary} {sentinels // 2 + 1}\n"
        watched += "sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 2000\n"
        if password:
            watched += f"sentinel auth-pass main {PASSWORD}\n"
        try:
            group.start(primary, "--save", "")
            group.start(replica, "--save", "", "--replicaof", "127.0.0.1", str(primary))
            wait_for(lambda: "master_link_status:up" in group.cli(replica, "info", "replication"))
            for port in group.sentinels:
                config = folder / f"sentinel-{port}.conf"
                config.write_text(watched)
                group.start(port, str(config), "--sentinel")
            known = f"slaves=1,sentinels={sentinels}"
            for port in group.sentinels:
                wait_for(lambda port=port: known in group.cli(port, "info", "sentinel"))  # type: ignore[misc]
            hosts = ",".join(f"127.0.0.1:{port}" for port in group.sentinels)
            group.url = group.url_of("sentinel", f"{hosts}/main/{group.db}")
            yield group
        finally:
            group.stop()


def wait_for(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
