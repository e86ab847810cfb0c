"""`mooring up`, with real nodes, a real Redis and a real Traefik."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import signal
import socket
import stat
import sys
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest
from mcp.client import Client
from rich.console import Console

from mooring.errors import ClusterError
from mooring.local import cluster
from mooring.local.options import UpOptions
from tests.local.up import APP, Up, up
from tests.processes.looking import running
from tests.waiting import until

pytestmark = pytest.mark.real


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return tmp_path / "run"


async def where(session: aiohttp.ClientSession, one: Up) -> tuple[int, int]:
    """The status of an ordinary request, and the process that answered."""
    async with session.get(f"{one.url}/where") as response:
        return response.status, (await response.json())["pid"] if response.status == 200 else 0


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def texts_in(folder: Path) -> list[str]:
    return [path.read_text() for path in folder.rglob("*") if path.is_file()]


async def mooring(*arguments: str) -> bytes:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "mooring", *arguments), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    return output


async def test_a_cluster_comes_up_serves_and_leaves_nothing_behind(run_dir: Path) -> None:
    hint = "call it: client.py {url}"
    async with up(run_dir, "--nodes", "3", "--hint", hint, target="examples/counter.py:server") as one:
        await one.is_ready()
        port = urlsplit(one.url).port
        assert f"ready: http://127.0.0.1:{port}/mcp" in one.lines
        assert len([line for line in one.lines if line.startswith("ready: ")]) == 1
        assert "--insecure-cookies" in one.text
        await one.says(f"call it: client.py http://127.0.0.1:{port}/mcp")

        async with Client(f"{one.url}/mcp", mode="legacy") as client:
            counted = [await client.call_tool("increment", {}) for _ in range(3)]
            assert [result.structured_content for result in counted] == [{"result": number} for number in (1, 2, 3)]

        said = one.status()
        assert (said["ingress"], said["pid"], said["key_prefix"]) == (f"{one.url}/mcp", one.process.pid, "mcp")
        assert mode_of(run_dir / "cluster.json") == 0o600
        assert mode_of(run_dir / "redis.sock") == 0o700

        status = json.loads(await mooring("status", "--json", "--run-dir", str(run_dir)))
        assert [node["state"] for node in status["nodes"]] == ["ready"] * 3
        table = [line.split()[:4] for line in one.lines if line.startswith("node-") and " | " not in line]
        assert [row[1:] for row in table] == [[node["id"], str(node["pid"]), node["url"]] for node in status["nodes"]]
        assert {int(row[2]) for row in table} < one.descendants

        assert await one.end(signal.SIGTERM) == 0
        await one.leaves_nothing(port)


async def test_its_nodes_have_a_status_page_for_who_has_the_token_which_shows_nowhere(run_dir: Path) -> None:
    token = "a-token-for-tests,nowhere-else"
    async with up(run_dir, "--debug", MOORING_STATUS_TOKEN=token) as one, aiohttp.ClientSession() as session:
        await one.is_ready()
        page = f"{one.url}/mooring/status"
        async with session.get(page) as response:
            assert response.status == 401

        async def tells_of_both() -> bool:
            async with session.get(page, headers={"authorization": f"Bearer {token}"}) as response:
                assert response.status == 200
                told = await response.json()
            return [(node["name"], node["alive"]) for node in told["nodes"]] == [("node-1", True), ("node-2", True)]

        await until(tells_of_both, what="a heartbeat of the nodes")
        commands = one.command_lines()
        assert len([command for command in commands if " serve " in command]) == 2
        written = await asyncio.to_thread(texts_in, run_dir)
        assert len(written) >= 3
        assert await one.end(signal.SIGTERM) == 0
        assert not [text for text in (*commands, *written, one.text) if token in text]


async def test_what_dies_is_started_again_and_traefik_follows_the_nodes(run_dir: Path) -> None:
    async with up(run_dir) as one, aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        await one.is_ready()
        dynamic = run_dir / "traefik-dynamic.yml"
        before = {pid for _, pid in [await where(session, one) for _ in range(6)]}
        assert len(before) == 2
        victim = min(before)

        os.kill(victim, signal.SIGKILL)
        text = await asyncio.to_thread(dynamic.read_text)

        async def is_out() -> bool:
            return await asyncio.to_thread(dynamic.read_text) != text

        await until(is_out, what="the configuration to follow")
        await one.says("ended (SIGKILL); starts again in 0.5 s")

        async def is_back() -> bool:
            answers = [await where(session, one) for _ in range(4)]
            assert {status for status, _ in answers} == {200}
            return len({pid for _, pid in answers}) == 2

        await until(is_back, what="the node to be back")

        for name in ("valkey", "traefik"):
            one.child(name).kill()
        await one.says("redis   | ended (SIGKILL)")
        await one.says("traefik | ended (SIGKILL)")

        async def serves() -> bool:
            try:
                return (await where(session, one))[0] == 200
            except aiohttp.ClientError:
                return False

        await until(serves, what="Traefik to be back")
        one.see_descendants()
        assert await one.end(signal.SIGTERM) == 0
        await one.leaves_nothing()


async def test_what_runs_when_it_is_asked_to_stop_comes_to_its_end(run_dir: Path) -> None:
    async with up(run_dir) as one, aiohttp.ClientSession() as session:
        await one.is_ready()
        port = urlsplit(one.url).port
        async with session.get(f"{one.url}/ticks?count=25") as response:
            assert await response.content.readline() == b"0\n"
            one.process.send_signal(signal.SIGINT)

            async def refuses() -> bool:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except ConnectionRefusedError:
                    return True
                writer.close()
                return False

            await until(refuses, what="new connections to be refused", seconds=2)
            rest = (await response.read()).split()
            assert rest[-1] == b"24"
        assert await one.end() == 0
        await one.leaves_nothing(port)


async def test_a_second_interrupt_kills_at_once(run_dir: Path) -> None:
    async with up(run_dir) as one, aiohttp.ClientSession() as session:
        await one.is_ready()
        async with session.get(f"{one.url}/ticks?count=1000") as response:
            await response.content.readline()
            one.process.send_signal(signal.SIGINT)
            await one.says("stopping")
            async with asyncio.timeout(5):  # a single one lets the stream go on for longer
                assert await one.end(signal.SIGINT) == 0
        await one.leaves_nothing()


async def test_stopped_while_it_comes_up(run_dir: Path) -> None:
    async with up(run_dir) as one:

        async def has_nodes() -> bool:
            return len(one.see_descendants()) >= 4

        await until(has_nodes, what="the first children")
        assert await one.end(signal.SIGTERM) == 0
        assert "ready: " not in one.text
        await one.leaves_nothing()


async def test_where_nobody_reads_any_more_it_stops(run_dir: Path) -> None:
    command = f"{sys.executable} -m mooring up {APP} --nodes 1 --port 0 --run-dir {run_dir}"
    process = await asyncio.create_subprocess_shell(
        f"{{ {command}; echo exit $? >&2; }} | head -1", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(60):
        read, said = await process.communicate()
    assert read.startswith(b"node-1  | ")
    assert said == b"exit 0\n"
    assert not await asyncio.to_thread(run_dir.exists)


async def test_killed_it_takes_all_along_and_the_next_one_starts(run_dir: Path) -> None:
    async with up(run_dir) as one:
        await one.is_ready()
        await one.end(signal.SIGKILL)

        async def are_gone() -> bool:
            return not running(one.descendants)

        await until(are_gone, what="all processes to end")
    async with up(run_dir, "--nodes", "1") as another:
        await another.is_ready()
        assert await another.end(signal.SIGTERM) == 0


async def test_a_second_one_in_the_same_folder_is_told_who_has_it(run_dir: Path) -> None:
    async with up(run_dir, "--nodes", "1") as one:
        await one.is_ready()
        async with up(run_dir) as another:
            assert await another.end() == 1
        assert another.lines == [
            f"mooring: a cluster already runs from {run_dir} (process {one.process.pid}): "
            "stop it, or choose another --run-dir"
        ]
        assert await one.end(signal.SIGTERM) == 0
        await one.leaves_nothing()


async def test_a_port_in_use(run_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        async with up(run_dir, "--port", str(port)) as one:
            assert await one.end() == 1
    assert one.lines == [
        f"mooring: port {port} on 127.0.0.1 is in use: choose another one with --port, or 0 for any that is free"
    ]
    await one.leaves_nothing()


@pytest.mark.parametrize(
    ("flags", "target", "code", "words"),
    [
        ((), "nowhere.py:app", 4, "nowhere.py"),
        ((), "tests/local/app.py:nothing", 4, "nothing"),
        (("--redis-url", "redis://127.0.0.1:1"), "tests/local/app.py:app", 3, "redis://127.0.0.1:1"),
    ],
)
async def test_what_cannot_come_up_says_so_in_one_line(
    run_dir: Path, flags: tuple[str, ...], target: str, code: int, words: str
) -> None:
    async with up(run_dir, *flags, target=target) as one:
        assert await one.end() == code
    assert len(one.lines) == 1
    assert one.lines[0].startswith("mooring: ")
    assert words in one.lines[0]
    await one.leaves_nothing()


async def test_a_server_that_takes_long_to_start_is_named_and_given_up_after_start_seconds(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "_PATIENCE_SECONDS", 0.5)
    options = UpOptions("tests/local/app.py:slow", nodes=1, port=0, run_dir=run_dir, start_seconds=6)
    printed = io.StringIO()
    with pytest.raises(ClusterError, match=r"the nodes: not up within --start-seconds 6; nothing was said so far"):
        await cluster.up(options, Console(file=printed, width=400))
    waits = re.findall(r"waiting for the nodes, (\d+) s by now; nothing was said so far", printed.getvalue())
    seconds = [int(said) for said in waits]
    assert seconds[0] <= 1 < seconds[-1]
    assert not await asyncio.to_thread(run_dir.exists)


async def test_an_address_for_one_node_is_refused(run_dir: Path) -> None:
    async with up(run_dir, MOORING_ADVERTISE_URL="http://10.0.0.7:8000") as one:
        assert await one.end() == 2
    assert len(one.lines) == 1
    assert "advertise_url" in one.lines[0]


async def test_a_run_dir_with_a_long_name(tmp_path: Path) -> None:
    run_dir = tmp_path / ("d" * 120)
    async with up(run_dir, "--nodes", "1") as one:
        await one.is_ready()
        folder = Path(urlsplit(one.status()["redis_url"]).path).parent
        assert folder.name.startswith("mooring-")
        assert await one.end(signal.SIGTERM) == 0
        await one.leaves_nothing()
        assert not await asyncio.to_thread(folder.exists)
