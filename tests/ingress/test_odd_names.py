"""Names and paths that are legal, and mean something of their own to a load balancer: its program reads the file."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from mooring.ingress import caddy, envoy, haproxy, nginx
from mooring.ingress.proxy import Choice, Proxy
from mooring.ingress.topology import Topology
from tests.bare import listening
from tests.deployments.configuration import find, find_caddy
from tests.ingress.real_proxies import checked_command, run, stop_workers
from tests.ingress.topologies import backend
from tests.ports import free_port
from tests.waiting import until

REAL = [pytest.param(proxy, id=proxy.NAME) for proxy in (nginx, haproxy, caddy)]


def called(*names: str, endpoint: str = "/mcp", page: str = "/healthz") -> Topology:
    """Nodes of these names, each with a shard."""
    backends = tuple(
        backend(name, f"http://127.0.0.1:{9100 + number}", (f"aaaa{chr(ord('a') + number)}",) if number < 20 else ())
        for number, name in enumerate(names)
    )
    return Topology(backends, endpoints=(endpoint,), health_path=page, ready_path=f"{page}-r")


@pytest.mark.real
@pytest.mark.parametrize("proxy", REAL)
@pytest.mark.parametrize(
    "topology",
    [
        pytest.param(called("default", "include", "hostnames", "volatile"), id="words of nginx's map"),
        pytest.param(called("cookie-a", "a"), id="one that begins as our own names go on"),
        pytest.param(called("a", endpoint="/a$b/mcp"), id="a dollar"),
        pytest.param(called("a", endpoint="/it's", page="/it's"), id="a quote"),
        pytest.param(called(*(f"n{number}" for number in range(190))), id="many"),
    ],
)
async def test_the_program_takes_it(proxy: Proxy, topology: Topology, tmp_path: Path) -> None:
    file = tmp_path / proxy.FILE
    for path, text in proxy.whole(topology, Choice(), file).items():
        path.write_text(text)
    await checked_command(proxy, tmp_path, file)


@pytest.mark.real
@pytest.mark.parametrize("proxy", REAL)
async def test_all_addresses_of_ipv6_are_those_of_ipv4_as_well(proxy: Proxy, tmp_path: Path) -> None:
    """nginx by itself would listen on IPv6 alone."""
    port, file = free_port(), tmp_path / proxy.FILE
    for path, text in proxy.whole(called("a"), Choice(f"[::]:{port}"), file).items():
        path.write_text(text)
    command, environment = await checked_command(proxy, tmp_path, file)
    async with listening(command, port, what=proxy.NAME, environment=environment, ask_to_stop=False) as process:
        try:
            for host in ("127.0.0.1", "::1"):
                _, writer = await asyncio.open_connection(host, port)
                writer.close()
        finally:
            await stop_workers(process)


def test_envoy_listens_on_both_kinds_of_addresses() -> None:
    text = envoy.whole(called("a"), Choice("[::]:8080"), Path("envoy.yaml"))[Path("envoy.yaml")]
    assert "address: '::'\n        port_value: 8080\n        ipv4_compat: true\n" in text


def test_no_two_clusters_of_envoy_have_one_name() -> None:
    topology = called("new", "all", "ready", "a", "only-a", "only-new")
    names = [cluster["name"] for cluster in envoy.clusters_of(topology)["resources"]]
    assert sorted(set(names)) == sorted(names)


@pytest.mark.real
async def test_nginx_takes_long_names_in_a_configuration_with_its_own_sizes(tmp_path: Path) -> None:
    """As those of pods: what is looked up in a map has to fit into 64 bytes."""
    file = tmp_path / "nodes.conf"
    for path, text in nginx.part(called("n" * 63, f"{'n' * 63}_x7k2p"), Choice(), file).items():
        path.write_text(text)
    server = f"server {{ listen 127.0.0.1:{free_port()}; include nodes-server.conf; }}"
    (tmp_path / "nginx.conf").write_text(f"events {{}} http {{ include nodes.conf; {server} }}")
    await checked_command(nginx, tmp_path, tmp_path / "nginx.conf")


@pytest.mark.real
async def test_caddy_takes_no_mark_for_a_number(tmp_path: Path) -> None:
    """The mark of this node is all digits, and begins with a zero."""
    file = tmp_path / "Caddyfile"
    file.write_text(caddy.whole(called("node-2361"), Choice(), file)[file])
    assert '"0449542966045543"' in await run(find_caddy(), "adapt", "--config", file, "--adapter", "caddyfile")


@pytest.mark.real
async def test_haproxy_starts_as_its_file_says_beside_it(tmp_path: Path) -> None:
    """By itself it takes a socket's path that does not begin with a slash for a host and a port."""
    file = Path("haproxy.cfg")
    text = haproxy.whole(called("a"), Choice(f"127.0.0.1:{free_port()}"), file)[file]
    (tmp_path / file).write_text(text)
    [said] = re.findall(r"^#   haproxy (.+)$", text, re.MULTILINE)
    process = await asyncio.create_subprocess_exec(
        find("haproxy"), *said.replace("FILE", str(file)).split(), cwd=tmp_path, stderr=asyncio.subprocess.DEVNULL
    )
    try:

        async def has_socket() -> bool:
            assert process.returncode is None
            return (tmp_path / "haproxy.cfg.sock").exists()

        await until(has_socket, what="HAProxy's master to listen")
    finally:
        if process.returncode is None:
            await stop_workers(process)
            process.kill()
        await process.wait()


def test_haproxy_reads_no_variable_of_its_environment_out_of_a_path() -> None:
    text = haproxy.whole(called("a", endpoint="/a$b/mcp"), Choice(), Path("haproxy.cfg"))[Path("haproxy.cfg")]
    assert 'attr "Path=/a\\$b/mcp"' in text
