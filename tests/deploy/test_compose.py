"""The Compose file and the Dockerfile, without Docker: what their containers run is run as processes."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from mooring.ingress.traefik import FromNodes, static_configuration
from tests.bare import ROOT, listening
from tests.deploy.containers import DEPLOY, EXAMPLE, as_process, program
from tests.deploy.flags import flags_of
from tests.ingress.real_proxies import find_traefik_or_skip, run
from tests.ports import free_port
from tests.real_redis import real_redis
from tests.waiting import until

COMPOSE = DEPLOY / "compose"
SECRET, TOKEN = "a-secret-for-tests-and-nowhere-else", "a-token-for-tests-and-nowhere-else"


def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((COMPOSE / "compose.yaml").read_text())["services"]
    return found


def instructions(file: Path) -> list[tuple[str, str]]:
    text = re.sub(r"^#.*\n", "", file.read_text(), flags=re.MULTILINE)
    return [(line.partition(" ")[0], line.partition(" ")[2]) for line in text.splitlines() if line]


def last(name: str) -> str:
    """The Dockerfile's last instruction of that name, which is the one in force."""
    return [value for instruction, value in instructions(ROOT / "Dockerfile") if instruction == name][-1]


def test_no_container_may_more_than_it_has_to() -> None:
    for name, service in services().items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
    assert last("USER") == "10001:10001"


def test_only_traefik_is_reached_from_outside() -> None:
    assert {name for name, service in services().items() if "ports" in service} == {"traefik"}


def test_every_node_can_be_told_apart_from_the_others() -> None:
    """`--scale` makes several containers of one service: none of them may have a name or port of its own."""
    assert not {"container_name", "ports", "hostname"} & services()["node"].keys()
    assert services()["node"]["deploy"]["replicas"] == 3


def test_containers_are_killed_only_after_they_had_their_time() -> None:
    node, traefik = services()["node"], services()["traefik"]
    stops = int(node["command"][node["command"].index("--stop-seconds") + 1])
    grace = int(node["stop_grace_period"].removesuffix("s"))
    assert grace > stops + 5
    assert int(traefik["stop_grace_period"].removesuffix("s")) > grace


def test_a_server_that_loads_for_minutes_is_not_ill_meanwhile() -> None:
    """Traefik waits for healthy nodes."""
    assert "--start-period=300s" in last("HEALTHCHECK").split()


def test_traefik_is_told_what_the_command_writes() -> None:
    nodes = FromNodes("http://node:8000/mooring/traefik?insecure_cookies", "${MOORING_STATUS_TOKEN}")
    static = static_configuration(address=":8080", admin_address=":8081", from_nodes=nodes, grace_seconds=50)
    assert services()["traefik"]["command"] == flags_of(static)


def test_what_has_to_be_given_is_in_the_example() -> None:
    named = set(re.findall(r"\$\{([A-Z_]+):\?", (COMPOSE / "compose.yaml").read_text()))
    assert set(re.findall(r"^([A-Z_]+)=", (COMPOSE / ".env.example").read_text(), re.MULTILINE)) == named


def test_docker_stack_takes_no_part_of_a_message_for_a_value() -> None:
    """It reads `${SECRET:?as from rand -hex}` as SECRET with the default `hex`, set or not: every cluster's secret."""
    for message in re.findall(r"\$\{[A-Z_]+:\?([^}]*)\}", (COMPOSE / "compose.yaml").read_text()):
        assert "-" not in message


def test_what_the_dockerfile_copies_is_there_and_not_left_out() -> None:
    allowed = re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    for file in (ROOT / "Dockerfile", COMPOSE / "Dockerfile"):
        for name, value in instructions(file):
            if name == "COPY" and not value.startswith("--from"):
                for source in value.split()[:-1]:
                    assert (ROOT / source).exists()
                    assert any(source == one or source.startswith(f"{one}/") for one in allowed), source


@pytest.mark.real
async def test_a_node_and_traefik_run_as_they_stand() -> None:
    """On other ports than in containers. The image's health check is asked as well."""
    port, web = free_port(), free_port()
    image = dict(part.split("=", 1) for part in shlex.split(last("ENV")))
    node, flags = services()["node"], services()["traefik"]["command"]
    assert node["environment"].keys() == {"MOORING_REDIS_URL", "MOORING_SECRET", "MOORING_STATUS_TOKEN"}
    async with real_redis() as redis:
        environment = {
            **image,
            "PORT": str(port),
            "MOORING_REDIS_URL": redis.url,
            "MOORING_SECRET": SECRET,
            "MOORING_STATUS_TOKEN": TOKEN,
        }
        command = [*json.loads(last("ENTRYPOINT")), *node["command"]]
        command[command.index("server.py:server")] = EXAMPLE
        places = {
            "node:8000": f"127.0.0.1:{port}",
            ":8080": f"127.0.0.1:{web}",
            ":8081": f"127.0.0.1:{free_port()}",
            "${MOORING_STATUS_TOKEN}": TOKEN,
        }
        for written, here in places.items():
            flags = [
                flag.replace(f"={written}", f"={here}") if written[0] == ":" else flag.replace(written, here)
                for flag in flags
            ]
        async with (
            as_process(command, environment, port, what="the node"),
            listening([find_traefik_or_skip(), *flags], web, what="traefik", ask_to_stop=False),
            aiohttp.ClientSession() as http,
        ):
            check = json.loads(last("HEALTHCHECK").partition("CMD ")[2])
            for more in (2, 1, 0):  # as often as the image says, before a container counts as ill
                try:
                    await run(program(check[0]), *check[1:], environment={"PORT": str(port)})
                    break
                except AssertionError:
                    if not more:
                        raise

            async def is_routed() -> bool:
                async with http.get(f"http://127.0.0.1:{web}/readyz") as answer:
                    return answer.status == 200

            await until(is_routed, what="Traefik to have asked the node")
