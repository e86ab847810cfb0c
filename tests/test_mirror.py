"""Each module of the inner parts has a test file of its own, where its path says; and no test file outlives its module.

It says nothing of how much a file tests: `make coverage` shows which branches are taken.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src/mooring"
TESTS = ROOT / "tests"

FOLDERS = ("core", "store", "node", "settings")
LEAVES = ("advertised.py", "app_routes.py", "asgi.py", "errors.py", "files.py", "secret_files.py")

EXCEPTIONS = {
    "src/mooring/store/base.py": "a Protocol alone, to which tests/store/test_contract.py holds every store",
    "src/mooring/store/journal.py": "a Protocol alone, to which tests/store/test_journals.py holds every journal",
    "src/mooring/store/patience.py": "how long it is asked for a request, in tests/node/requests/test_patience.py",
    "tests/store/test_journals.py": "one contract for every journal",
    "tests/store/test_contract.py": "one contract for every store",
    "tests/store/test_ownership.py": "what every store promises of owners, in any order of what may happen",
    "tests/store/test_heartbeats.py": "what every node is told, in any order of what may happen, by the real scripts",
    "tests/store/test_open_store.py": "the door of the package, which is in its __init__.py",
    **{
        f"src/mooring/settings/{module}.py": "tried through the settings as a whole, in tests/settings/test_settings.py"
        for module in (
            "complaint",
            "handle_settings",
            "kinds",
            "node_settings",
            "path_settings",
            "survival_settings",
            "time_settings",
        )
    },
    "src/mooring/node/late_joining.py": "servers that run no lifespan, in test_lifespan.py and test_middleware.py",
    "src/mooring/node/listeners.py": "who hears the end of a session, tried whole in test_listening.py and moving/",
    "src/mooring/node/links/peer_link.py": "a Protocol alone; test_http.py and test_redis_asking.py try its kinds",
    "src/mooring/node/membership/session.py": "a session's data, which tests/node/membership/test_sessions.py works on",
    "src/mooring/node/requests/admission.py": "who may act, tried with real authentication in test_principals_*.py",
    "src/mooring/node/requests/cut_off_call.py": "calls whose handles another node has by now, in test_modern.py",
    "src/mooring/node/requests/entrance.py": "whose a request is: test_principals_*.py try it with real authentication",
    "src/mooring/node/requests/guarding.py": "who may use a handle, tried from both sides in test_modern.py",
    "src/mooring/node/requests/named_handles.py": "what a session's requests do with handles, in test_modern.py",
    "src/mooring/node/requests/passing_questions.py": "what a server asks after a revival, in test_reviving.py",
    "src/mooring/node/requests/remembering.py": "what a session's next life is told, in test_reviving.py",
    "src/mooring/node/requests/revival.py": "one revival, step by step, in test_reviving.py and its faults",
    "src/mooring/node/requests/telling.py": "what the app is told after a revival, in test_reviving.py",
    "src/mooring/node/requests/modern_call.py": "what the app gets and the client hears, tried whole in test_modern.py",
    "tests/node/links/test_early_answers.py": "apps that answer before they read, heard by clients of either node",
    "tests/node/links/test_hop_bytes.py": "what the wire between nodes does not carry, and what the owner's app sees",
    "tests/node/requests/test_committing_answers.py": "answers of every shape that an app may give",
    "tests/node/requests/test_committing_once.py": "calls that are sent again, cut off, or kept in part with another",
    "tests/node/requests/test_cut_off.py": "what a node serves of a session that it has lost",
    "tests/node/requests/test_log_lines.py": "what clients say of paths, in the lines of many modules",
    "tests/node/requests/test_principals_lost.py": "sessions that died with their node, and whose they are",
    "tests/node/requests/test_principals_sdks.py": "the wrong person's side, with the SDKs' own authentication",
    "tests/node/requests/test_principals_shapes.py": "the same with apps of other shapes",
    "tests/node/requests/test_principals_takeover.py": "sessions that nobody signed in for, and who gets them",
    "tests/node/requests/test_reviving_faults.py": "revivals that are refused, hang, race or come too late",
    "tests/node/requests/test_sessionless_calls.py": "clients of the legacy era where a server has no sessions",
    "tests/node/requests/test_streaming_sdks.py": "HTTP+SSE with the SDKs' own servers and client",
    "tests/node/moving/test_handles.py": "what becomes of handles where anything of that folder moves",
    "tests/node/test_hibernation.py": "what sleeps is of many modules",
    "tests/node/test_outage.py": "whole nodes and a real Redis that fails",
    "tests/node/test_silent_store.py": "whole nodes and a store of which any call may fail",
    "tests/node/test_state_outage.py": "whole nodes and a real Redis that takes no state",
    "tests/node/test_sdk_apps.py": "whole nodes around the apps of real SDKs",
}
"""A module without a test file of its own, or a test file that is about no single module, and why."""


def modules() -> set[Path]:
    """Of the inner parts, less the doors of packages, in which there is little to go wrong."""
    found = {SOURCE / leaf for leaf in LEAVES}
    for folder in FOLDERS:
        found |= {path for path in (SOURCE / folder).rglob("*.py") if path.name != "__init__.py"}
    return found


def files_of_tests() -> set[Path]:
    return {path for folder in FOLDERS for path in (TESTS / folder).rglob("test_*.py")}


def mirrored(module: Path) -> Path:
    """Where a module's test file belongs: `node/pages/health.py` -> `tests/node/pages/test_health.py`."""
    inside = module.relative_to(SOURCE)
    return TESTS / inside.parent / f"test_{inside.name}"


def shown(paths: set[Path]) -> list[str]:
    return sorted(str(path.relative_to(ROOT)) for path in paths)


def excepted() -> set[Path]:
    return {ROOT / path for path in EXCEPTIONS}


def test_every_module_has_its_test_file() -> None:
    lacking = {module for module in modules() - excepted() if not mirrored(module).is_file()}
    assert shown(lacking) == []


def test_every_test_file_has_its_module() -> None:
    strays = files_of_tests() - excepted() - {mirrored(module) for module in modules()}
    assert shown(strays) == []


def test_no_test_file_is_empty() -> None:
    empty = {path for path in files_of_tests() | {mirrored(SOURCE / leaf) for leaf in LEAVES} if not has_tests(path)}
    assert shown(empty) == []


def has_tests(path: Path) -> bool:
    """Hypothesis' state machines are found by their class."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    names = [node.name for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)]
    return any(name.lower().startswith("test") for name in names)


@pytest.mark.parametrize("path", EXCEPTIONS)
def test_an_exception_is_one_still(path: str) -> None:
    assert (ROOT / path).is_file()
    if path.startswith("src/"):
        assert not mirrored(ROOT / path).exists()
    else:
        assert ROOT / path not in {mirrored(module) for module in modules()}
