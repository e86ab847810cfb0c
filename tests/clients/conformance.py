"""Runs the MCP conformance suite's server scenarios and reads what they found."""

import asyncio
import json
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.clients.programs import NODE, NODE_TESTS, need_node

_SUITE: Final = NODE_TESTS / "node_modules/@modelcontextprotocol/conformance/dist/index.js"
_RESULT_NAME: Final = re.compile(r"server-(?P<scenario>.+)-\d{4}-\d{2}-\d{2}T[\d-]+Z")
# What a scenario notes of the answers it got; the rest of its notes changes from run to run.
_CONTENTS: Final = ("result", "content", "messages", "tools", "resources", "prompts", "logs", "schema")
_OPAQUE: Final = ("requestState",)

EXTENSIONS: Final = (
    "tasks-lifecycle",
    "tasks-capability-negotiation",
    "tasks-wire-fields",
    "tasks-request-state-removal",
    "tasks-mrtr-input",
    "tasks-request-headers",
    "tasks-dispatch-and-envelope",
    "tasks-status-notifications",
    "tasks-required-task-error",
    "tasks-mrtr-composition",
    "sep-2640-skills-directory",
    "sep-2640-skills-enumeration",
    "sep-2640-skills-manifest",
)


@dataclass(frozen=True)
class ScenarioResult:
    """One scenario's checks, counted, and the answers that they looked at."""

    passed: int
    failed: int
    warnings: int
    failing: tuple[str, ...]
    contents: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """As the suite sees it: no check failed. Warnings do not count, an answer that is an error may not either."""
        return self.failed == 0


def _without_opaque(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_opaque(inner) for key, inner in value.items() if key not in _OPAQUE}
    if isinstance(value, list):
        return [_without_opaque(inner) for inner in value]
    return value


def _contents(check: dict[str, Any]) -> str:
    details = check.get("details") or {}
    noted = {key: _without_opaque(details[key]) for key in _CONTENTS if key in details}
    return f"{check['id']}: {json.dumps(noted, sort_keys=True)}"


def _read(checks: list[dict[str, Any]]) -> ScenarioResult:
    statuses = [check["status"] for check in checks]
    failing = tuple(check["id"] for check in checks if check["status"] == "FAILURE")
    return ScenarioResult(
        passed=statuses.count("SUCCESS"),
        failed=len(failing),
        warnings=statuses.count("WARNING"),
        failing=failing,
        contents=tuple(_contents(check) for check in checks if check["status"] == "SUCCESS"),
    )


def _read_all(directory: Path) -> dict[str, ScenarioResult]:
    results = {}
    for path in sorted(directory.glob("*/checks.json")):
        name = _RESULT_NAME.fullmatch(path.parent.name)
        assert name is not None, path
        results[name["scenario"]] = _read(json.loads(path.read_text()))
    return results


def _new_directory(out_dir: Path, spec_version: str) -> Path:
    out_dir.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=f"conformance-{spec_version}-", dir=out_dir))


async def run_conformance(
    url: str, spec_version: str, out_dir: Path, deadline_seconds: float = 120.0
) -> dict[str, ScenarioResult]:
    """Runs every server scenario of a protocol revision; the raw results stay in a new directory below `out_dir`.

    The URL must name localhost or 127.0.0.1, or the scenario on DNS rebinding fails.
    """
    need_node()
    directory = _new_directory(out_dir, spec_version)
    options = ["--suite", "all", "--spec-version", spec_version, "--output-dir", str(directory)]
    output = await _run(url, options, deadline_seconds)
    results = _read_all(directory)
    if not results:
        raise RuntimeError(f"the conformance suite left no results:\n{output}")
    return results


async def run_extensions(url: str, out_dir: Path, deadline_seconds: float = 60.0) -> dict[str, ScenarioResult]:
    """Runs the scenarios of the extensions for tasks (SEP-2663) and skills (SEP-2640), which belong to no revision."""
    need_node()
    directory = _new_directory(out_dir, "extensions")
    for scenario in EXTENSIONS:
        output = await _run(url, ["--scenario", scenario, "--output-dir", str(directory)], deadline_seconds)
        if scenario not in _read_all(directory):
            raise RuntimeError(f"the conformance suite left no result of {scenario}:\n{output}")
    return _read_all(directory)


async def _run(url: str, options: list[str], deadline_seconds: float) -> str:
    """What it prints last."""
    process = await asyncio.create_subprocess_exec(
        *(str(NODE), str(_SUITE), "server", "--url", url, *options),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        # The exit code says that some check failed, which the results say better.
        output, _ = await asyncio.wait_for(process.communicate(), deadline_seconds)
    finally:
        if process.returncode is None:
            process.kill()
    return output.decode()[-2000:]


def passed_scenarios(results: dict[str, ScenarioResult]) -> set[str]:
    return {scenario for scenario, result in results.items() if result.ok}
