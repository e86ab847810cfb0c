"""What is written for Azure, without Azure: parsed, each reference resolved, each name against what is documented.

`azure.json` holds the names, and says where they are from: the providers' documentation, the models of Azure's API, and
the parser of its command line.
"""

from __future__ import annotations

import json
import math
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hcl2
import pytest
import yaml

from mooring.errors import MooringError
from mooring.ingress.azure import AzureApp, dump, lines_for
from mooring.settings import Settings
from tests.deploy.containers import DEPLOY

AZURE = DEPLOY / "azure"
KNOWN: dict[str, Any] = json.loads((Path(__file__).parent / "azure.json").read_text())
OF_ALL_COMMANDS: dict[str, Any] = {"--query": {}, "--output": {}}


def unquoted(value: Any) -> Any:
    if isinstance(value, str):
        return value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value
    if isinstance(value, list):
        return [unquoted(one) for one in value]
    if isinstance(value, dict):
        return {unquoted(name): unquoted(one) for name, one in value.items() if not name.startswith("__")}
    return value


def module() -> dict[str, Any]:
    """All files of it, as one: kind of block -> its blocks."""
    blocks: dict[str, Any] = {}
    for file in sorted(AZURE.glob("*.tf")):
        for kind, found in unquoted(hcl2.loads(file.read_text())).items():
            blocks.setdefault(kind, []).extend(found)
    return blocks


def named(kind: str) -> dict[str, Any]:
    """`variable`, `output`: name -> block."""
    return {name: block for one in module()[kind] for name, block in one.items()}


def resources(kind: str = "resource") -> Iterator[tuple[str, str, dict[str, Any]]]:
    for one in module()[kind]:
        for type_, by_name in one.items():
            for name, block in by_name.items():
                yield type_, name, block


def body() -> dict[str, Any]:
    [app] = [block for type_, _, block in resources() if type_ == "azapi_resource"]
    found: dict[str, Any] = app["body"]
    return found


def text() -> str:
    """Everything that is not a comment."""
    whole = "\n".join(file.read_text() for file in sorted(AZURE.glob("*.tf")))
    return re.sub(r"^\s*#.*$", "", whole, flags=re.MULTILINE)


def test_every_reference_resolves_and_every_variable_is_used() -> None:
    assert set(re.findall(r"\bvar\.(\w+)", text())) == set(named("variable"))
    known = {name for block in module()["locals"] for name in block}
    assert set(re.findall(r"\blocal\.(\w+)", text())) == known
    there = {f"{type_}.{name}" for type_, name, _ in resources()}
    there |= {f"data.{type_}.{name}" for type_, name, _ in resources("data")}
    referred = {match[0] for match in re.finditer(r"\b(?:data\.)?(?:azurerm|azapi|random)_\w+\.\w+(?=\.)", text())}
    assert referred <= there
    assert there - referred == set()


def test_every_attribute_that_is_read_is_one() -> None:
    exported = KNOWN["exported"]
    for type_, attribute in re.findall(r"\b((?:azurerm|azapi|random)_\w+)\.\w+\.(\w+)", text()):
        assert attribute in exported[type_], (type_, attribute)
    for attribute in re.findall(r"local\.redis_database\.(\w+)", text()):
        assert attribute in exported["default_database"]


def test_every_argument_is_documented() -> None:
    for kind in ("resource", "data"):
        for type_, name, block in resources(kind):
            for argument, value in block.items():
                assert argument in KNOWN["terraform"][type_], (type_, name, argument)
                inner = KNOWN["terraform"][type_][argument]
                for nested in value if isinstance(value, list) and inner else []:
                    assert set(nested) <= set(inner), (type_, argument)


def test_every_variable_and_output_is_explained() -> None:
    for kind in ("variable", "output"):
        for name, block in named(kind).items():
            assert block["description"], name
    for name, block in named("variable").items():
        assert block["type"], name
        for rule in block.get("validation", []):
            assert rule["error_message"].endswith(".")


def test_the_example_gives_what_has_to_be_given_and_nothing_that_is_not() -> None:
    given = set(unquoted(hcl2.loads((AZURE / "terraform.tfvars.example").read_text())))
    variables = named("variable")
    assert {name for name, block in variables.items() if "default" not in block} <= given <= set(variables)


def test_nothing_undoes_the_sticky_sessions() -> None:
    """All of it in the one resource that is the whole app: nothing else changes the app, and so nothing undoes it."""
    variables = named("variable")
    assert variables["enable_sticky_sessions"]["default"] is True
    assert variables["revision_mode"]["default"] == "Single"
    assert variables["min_replicas"]["default"] == 2
    assert "stickySessions" in body()["properties"]["configuration"]["ingress"]
    assert not {"azurerm_container_app", "null_resource", "azapi_update_resource"} & {one for one, _, _ in resources()}


def test_redis_evicts_nothing_and_needs_no_client_that_knows_its_nodes() -> None:
    [redis] = [block for type_, _, block in resources() if type_ == "azurerm_managed_redis"]
    [database] = redis["default_database"]
    assert (database["eviction_policy"], database["clustering_policy"]) == ("NoEviction", "NoCluster")


def fits(value: Any, tree: dict[str, Any], at: str = "") -> None:
    """Each name in `value` is one of Azure's."""
    for one in value if isinstance(value, list) else [value]:
        if isinstance(one, dict):
            for name, inner in one.items():
                assert name in tree or "*" in tree, f"{at}.{name}"
                fits(inner, tree.get(name, tree.get("*", {})), f"{at}.{name}")


def app_file() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((AZURE / "app.yaml").read_text())
    return loaded


def test_every_name_in_the_app_is_azures() -> None:
    fits(body(), KNOWN["containerApps"])
    fits(app_file(), KNOWN["containerApps"])
    with pytest.raises(AssertionError, match="stickySession"):
        fits({"properties": {"configuration": {"ingress": {"stickySession": {}}}}}, KNOWN["containerApps"])


def test_both_ways_say_the_same() -> None:
    """By the names that they set, and where the module has a number of its own, by the number."""

    def names(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: names(inner) for name, inner in value.items()}
        return None

    ours, theirs = body()["properties"], app_file()["properties"]
    assert names(ours["configuration"]["ingress"]) == names(theirs["configuration"]["ingress"])
    assert names(ours["template"]["scale"]) == names(theirs["template"]["scale"])
    written, read = ours["template"]["containers"][0]["probes"], theirs["template"]["containers"][0]["probes"]
    assert written[0]["periodSeconds"] == "${ceil(var.start_seconds / 10)}"
    written[0]["periodSeconds"] = math.ceil(named("variable")["start_seconds"]["default"] / 10)
    at_port = [{**probe, "httpGet": {**probe["httpGet"], "port": 8000}} for probe in written]
    assert at_port == read


def test_no_probe_fails_more_often_than_azure_lets_it() -> None:
    """The documentation of ContainerAppProbe: at most 10 failures, and a period of at most 240 s."""
    for probe in app_file()["properties"]["template"]["containers"][0]["probes"]:
        assert 1 <= probe.get("failureThreshold", 3) <= 10, probe
        assert 1 <= probe.get("periodSeconds", 10) <= 240, probe


def test_what_the_module_says_itself_is_not_taken_from_the_environment() -> None:
    """The output would name another path, the probes would fail, and a secret would be there twice."""
    [rule] = named("variable")["environment"]["validation"]
    told = set(re.findall(r"MOORING_\w+", rule["condition"]))
    assert told == {
        f"MOORING_{name}" for name in ("MCP_PATH", "HEALTH_PATH", "READY_PATH", "SECRET", "STATUS_TOKEN", "REDIS_URL")
    }


def test_every_setting_is_one() -> None:
    texts = text() + (AZURE / "app.yaml").read_text() + dump(AzureApp("a", "b"))
    names = {name.lower() for name in re.findall(r"\bMOORING_([A-Z_]+[A-Z])\b", texts)}
    assert names <= set(Settings.model_fields)


def script_lines() -> Iterator[list[str]]:
    """Each call of az in the script, without what the shell does around it."""
    for line in (AZURE / "deploy.sh").read_text().splitlines():
        found = re.search(r"(?<![\w-])az (?!command)[a-z].*", line)
        if found and not line.startswith("#"):
            call = re.sub(r'\)".*$', "", found[0]) if "$(az" in line else found[0]
            yield shlex.split(call)


@pytest.mark.real
@pytest.mark.parametrize("is_there", [True, False])
def test_an_app_that_is_there_is_not_given_new_secrets(is_there: bool, tmp_path: Path) -> None:
    """No replica with new ones would start beside those with the old, and every session would end with these."""
    az = tmp_path / "az"
    shown = f"test \"$1 $2\" = 'containerapp show' && exit {int(not is_there)}"
    az.write_text(f'#!/bin/sh\necho "$*" >>{tmp_path}/asked\n{shown}\nexit 7\n')
    az.chmod(0o755)
    known = {"NAME": "counter", "GROUP": "mcp", "LOCATION": "westeurope", "IMAGE": "example.org/counter:1"}
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", **known}
    for secrets, goes_on in (({}, not is_there), ({"SECRET": "s", "STATUS_TOKEN": "t"}, True)):
        (tmp_path / "asked").write_text("")
        done = subprocess.run(
            [AZURE / "deploy.sh"], env={**environment, **secrets}, capture_output=True, text=True, check=False
        )
        assert ("group create" in (tmp_path / "asked").read_text()) is goes_on
        assert done.returncode == (7 if goes_on else 1)
        assert goes_on or "give them as SECRET and STATUS_TOKEN" in done.stderr


@pytest.mark.real
@pytest.mark.parametrize("answer", ["echo Failed", "echo Canceled", "exit 7"])
def test_a_redis_that_could_not_be_made_is_not_waited_for(answer: str, tmp_path: Path) -> None:
    az = tmp_path / "az"
    az.write_text(f'#!/bin/sh\ncase "$*" in "rest --method get"*) {answer};; esac\n')
    az.chmod(0o755)
    known = {"NAME": "counter", "GROUP": "mcp", "LOCATION": "westeurope", "IMAGE": "example.org/counter:1"}
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SECRET": "s", "STATUS_TOKEN": "t", **known}
    done = subprocess.run(
        [AZURE / "deploy.sh"], env=environment, capture_output=True, text=True, check=False, timeout=10
    )
    assert done.returncode == (7 if answer == "exit 7" else 1)
    assert answer == "exit 7" or answer.removeprefix("echo ") in done.stderr


def check_line(words: list[str]) -> None:
    """As Azure's parser would: the command is there, its options are, and those that it needs."""
    count = next(at for at, word in enumerate(words) if word.startswith("-"))
    command = " ".join(words[1:count])
    options = {**KNOWN["az"][command], **OF_ALL_COMMANDS}
    given: dict[str, list[str]] = {}
    for word in words[count:]:
        if word.startswith("--"):
            assert word in options, (command, word)
            given[word] = []
        else:
            given[list(given)[-1]].append(word)
    for option, values in given.items():
        takes = options[option]
        assert takes.get("flag") or values, (command, option)
        assert len(values) <= 1 or takes.get("nargs") in ("+", "*"), (command, option)
        assert set(values) <= set(takes.get("choices", values)), (command, option, values)
    needed = {takes["of"] for takes in options.values() if takes.get("required")}
    assert needed <= {options[option].get("of") for option in given}, (command, needed)


def test_every_line_of_az_is_one() -> None:
    lines = list(script_lines())
    assert len(lines) >= 12
    for app in (AzureApp("counter", "mcp"), AzureApp("Counter.1", "MCP_(a)", "/api/mcp", 3, 10)):
        lines += [list(line.words) for line in lines_for(app) if line.words[0] == "az"]
    for words in lines:
        check_line(words)


@pytest.mark.parametrize(
    "line",
    [
        "az containerapp ingress sticky-sessions set --name a --resource-group b --affinity always",
        "az containerapp update --name a --resource-group b --sticky",
        "az containerapp revision set-mode --name a b --resource-group c --mode single",
        "az containerapp show --query x",
        "az containerapp show --name a --query x",
    ],
)
def test_a_line_that_is_not_one_is_found(line: str) -> None:
    with pytest.raises(AssertionError):
        check_line(shlex.split(line))


@pytest.mark.parametrize("name", ["", "a b", "$(rm -rf)", "a;b", "-x", "a\nb"])
def test_a_name_that_azure_has_none_of(name: str) -> None:
    with pytest.raises(MooringError):
        AzureApp(name, "mcp")
    with pytest.raises(MooringError):
        AzureApp("counter", name)
