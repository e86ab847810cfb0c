"""The chart: rendered and linted by the real helm, each object validated, and the node's command run as it stands.

No Kubernetes runs here: what a cluster makes of the objects is not tried.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import kubernetes_validate
import pytest
import yaml

from mooring.ingress.traefik import FromNodes, static_configuration
from mooring.settings import Settings
from tests.bare import ROOT
from tests.deploy.containers import BESIDE_PYTHON, DEPLOY, EXAMPLE, as_process
from tests.deploy.flags import flags_of
from tests.ports import free_port
from tests.real_redis import missing, real_redis

pytestmark = pytest.mark.real

CHART = DEPLOY / "helm/mooring"
HERE = Path(__file__).parent
CASES = ("small", "given", "all")
KUBERNETES = "1.34"


def helm(*arguments: str) -> str:
    found = shutil.which("helm", path=BESIDE_PYTHON) or shutil.which("helm")
    if found is None:
        missing("helm is not installed: make install-tests")
    done = subprocess.run([found, *arguments], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def rendered(case: str, *more: str) -> str:
    values = HERE / f"values/{case}.yaml"
    return helm("template", "counter", str(CHART), "--namespace", "mcp", "--values", str(values), *more)


def objects(case: str, *more: str) -> Iterator[dict[str, Any]]:
    yield from (one for one in yaml.safe_load_all(rendered(case, *more)) if one)


def one(case: str, kind: str, name: str, *more: str) -> dict[str, Any]:
    [found] = [one for one in objects(case, *more) if (one["kind"], one["metadata"]["name"]) == (kind, name)]
    return found


@pytest.mark.parametrize("case", CASES)
def test_it_is_as_reviewed(case: str) -> None:
    """To accept a change: helm template counter deploy/helm/mooring -n mcp -f values/CASE.yaml > golden/CASE.yaml"""
    assert rendered(case) == (HERE / f"golden/{case}.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize("case", CASES)
def test_helm_finds_nothing_to_complain_of(case: str) -> None:
    assert "0 chart(s) failed" in helm("lint", "--strict", str(CHART), "--values", str(HERE / f"values/{case}.yaml"))


@pytest.mark.parametrize("case", CASES)
def test_each_object_is_one_of_kubernetes(case: str) -> None:
    for found in objects(case):
        kubernetes_validate.validate(found, KUBERNETES, strict=True)


def test_an_object_that_is_none_is_found() -> None:
    found = one("small", "Deployment", "counter")
    found["spec"]["replicsa"] = 3
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(found, KUBERNETES, strict=True)


@pytest.mark.parametrize("case", CASES)
def test_no_pod_may_more_than_it_has_to(case: str) -> None:
    pods = [one["spec"]["template"]["spec"] for one in objects(case) if one["kind"] == "Deployment"]
    pods += [one["spec"] for one in objects(case) if one["kind"] == "Pod"]
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["automountServiceAccountToken"] is False
        for container in pod["containers"]:
            security = container["securityContext"]
            assert security["readOnlyRootFilesystem"]
            assert security["allowPrivilegeEscalation"] is False
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"]["memory"]


@pytest.mark.parametrize("case", CASES)
def test_a_node_is_killed_only_after_it_had_its_time(case: str) -> None:
    pod = one(case, "Deployment", "counter")["spec"]["template"]["spec"]
    [container] = pod["containers"]
    waits = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    stops = int(container["args"][container["args"].index("--stop-seconds") + 1])
    peers_seconds = 5
    assert pod["terminationGracePeriodSeconds"] > waits + stops + peers_seconds


def test_a_node_has_the_time_that_its_settings_give_to_running_requests() -> None:
    more = ("--set", "settings.drain_seconds=600", "--set", "settings.ingress_seconds=20")
    seconds = Settings.load(drain_seconds=600, ingress_seconds=20).most_stop_seconds(30)
    for name in ("counter", "counter-traefik"):
        pod = one("small", "Deployment", name, *more)["spec"]["template"]["spec"]
        assert pod["terminationGracePeriodSeconds"] > 5 + seconds


def test_a_server_that_loads_for_minutes_is_not_killed_meanwhile() -> None:
    for more, seconds in (((), 300), (("--set", "startSeconds=900"), 900)):
        [container] = one("small", "Deployment", "counter", *more)["spec"]["template"]["spec"]["containers"]
        probe = container["startupProbe"]
        assert probe["periodSeconds"] * probe["failureThreshold"] == seconds


@pytest.mark.parametrize("given", ["redis.url=redis://elsewhere:6379", "secret.keys.redisUrl=redis-url"])
def test_there_is_no_redis_that_nobody_uses(given: str) -> None:
    names = {found["metadata"]["name"] for found in objects("small", "--set", given)}
    assert "counter" in names
    assert "counter-redis" not in names


def test_the_doctor_is_sent_to_an_endpoint_that_is_one_path() -> None:
    more = ("--set", r"mcpPath=/s/{id}/mcp\, /mcp")
    [container] = one("small", "Pod", "counter-doctor", *more)["spec"]["containers"]
    assert container["args"] == ["http://counter-ingress/mcp"]


def test_a_setting_that_there_is_not_is_refused() -> None:
    """As a variable it would do nothing, and nobody would hear of it."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    own = {"secret", "status_token", "redis_url", "mcp_path", "node_name", "advertise_url"}
    assert set(schema["properties"]["settings"]["propertyNames"]["enum"]) == set(Settings.model_fields) - own


@pytest.mark.parametrize("case", CASES)
def test_selectors_select_the_pods_they_are_for(case: str) -> None:
    pods = [one["spec"]["template"]["metadata"]["labels"] for one in objects(case) if one["kind"] == "Deployment"]
    selectors = [one["spec"]["selector"] for one in objects(case) if one["kind"] == "Service"]
    selectors += [one["spec"]["podSelector"]["matchLabels"] for one in objects(case) if one["kind"] == "NetworkPolicy"]
    for selector in selectors:
        assert sum(selector.items() <= labels.items() for labels in pods) == 1, selector


def test_traefik_is_told_what_the_command_writes() -> None:
    [container] = one("small", "Deployment", "counter-traefik")["spec"]["template"]["spec"]["containers"]
    nodes = FromNodes("http://counter-nodes:8000/mooring/traefik", "$(MOORING_STATUS_TOKEN)")
    static = static_configuration(address=":8080", admin_address=":8081", from_nodes=nodes, grace_seconds=50)
    assert container["args"] == flags_of(static)


def test_every_value_is_explained_and_has_a_default() -> None:
    def described(schema: dict[str, Any]) -> None:
        for name, inner in schema.get("properties", {}).items():
            assert inner.get("description"), name
            described(inner)

    schema = json.loads((CHART / "values.schema.json").read_text())
    described(schema)
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert set(values) == schema["properties"].keys() - {"global"}
    for name, inner in schema["properties"].items():
        if "properties" in inner and name != "global":
            assert set(values[name]) == set(inner["properties"]), name


def test_a_setting_is_given_to_the_node_as_it_was_written(tmp_path: Path) -> None:
    settings = {"session_ttl_seconds": 2_592_000, "state_bytes": 1_048_576, "retry_seconds": 2.5, "stream_logs": False}
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump({"settings": settings}))
    pod = one("small", "Deployment", "counter", "--values", str(tmp_path / "settings.yaml"))["spec"]["template"]["spec"]
    told = {variable["name"]: variable.get("value") for variable in pod["containers"][0]["env"]}
    given = {name: told[f"MOORING_{name.upper()}"] for name in settings}
    assert given == {
        "session_ttl_seconds": "2592000",
        "state_bytes": "1048576",
        "retry_seconds": "2.5",
        "stream_logs": "false",
    }
    assert Settings.load(**given).session_ttl_seconds == settings["session_ttl_seconds"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--set", "secret.existingSecret="), "existingSecret"),
        (("--set", "image.repository="), "repository"),
        (("--set", "replicas=0"), "replicas"),
        (("--set", "settings.secret=x"), "propertyName 'secret'"),
        (("--set", "settings.mcp_path=/x"), "propertyName 'mcp_path'"),
        (("--set", "settings.lease_second=9"), "propertyName 'lease_second'"),
        (("--set", "redis.url=redis://user:word@host"), "redis"),
        (("--set", "nonsense=1"), "nonsense"),
        (("--set", "redis.enabled=false"), "no Redis"),
    ],
)
def test_what_is_wrong_is_refused_with_its_name(given: tuple[str, ...], said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        rendered("small", *given)


async def test_the_nodes_command_serves_as_it_stands(tmp_path: Path) -> None:
    """On another port and address than a pod's; the secret is mounted at another place."""
    [container] = one("small", "Deployment", "counter")["spec"]["template"]["spec"]["containers"]
    port = free_port()
    for key in ("secret", "status-token"):
        (tmp_path / key).write_text(f"{key}-that-is-long-enough-for-anyone\n")
    async with real_redis() as redis:
        environment = {"POD_IP": "127.0.0.1", "MOORING_NODE_NAME": "counter-5d9c-x7k2p"}
        for variable in container["env"]:
            if "value" in variable:
                value = variable["value"].replace("/run/secrets/mooring", str(tmp_path)).replace(":8000", f":{port}")
                environment[variable["name"]] = value
        assert environment["MOORING_REDIS_URL"] == "redis://counter-redis:6379/0"
        environment["MOORING_REDIS_URL"] = redis.url
        places = {"server.py:server": EXAMPLE, "$(POD_IP)": "127.0.0.1", "8000": str(port)}
        command = [places.get(word, word) for word in (*container["command"], *container["args"])]
        async with as_process(command, environment, port, what="the node"), aiohttp.ClientSession() as http:
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                path = container[probe]["httpGet"]["path"]
                async with http.get(f"http://127.0.0.1:{port}{path}") as answer:
                    assert answer.status == 200, probe
            token = {"Authorization": "Bearer status-token-that-is-long-enough-for-anyone"}
            async with http.get(f"http://127.0.0.1:{port}/mooring/traefik", headers=token) as answer:
                routes = await answer.json()
            assert "mcp-counter-5d9c-x7k2p" in routes["http"]["routers"]
            server = routes["http"]["services"]["node-counter-5d9c-x7k2p"]["loadBalancer"]["servers"][0]
            assert server["url"] == f"http://127.0.0.1:{port}"
