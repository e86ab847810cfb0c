"""What a client program prints, and the deadline under which it runs. Standard library only: every client uses it."""

import argparse
import asyncio
import json
import os
import sys
import warnings
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn

STEP_SECONDS = 10.0
_GRACE_SECONDS = 3.0


@dataclass(frozen=True)
class Options:
    """A client program's command line. `cookies` is None where the client shall do as it does by itself."""

    url: str
    cookies: bool | None
    sessions: int
    calls: int
    modern: bool
    driven: bool
    deadline_seconds: float


def parse_options(client: str, *, can_be_modern: bool) -> Options:
    parser = argparse.ArgumentParser(prog=client)
    parser.add_argument("url")
    parser.add_argument("--cookies", action=argparse.BooleanOptionalAction, default=None)
    parser.add_argument("--sessions", type=int, default=1)
    parser.add_argument("--calls", type=int, default=5)
    parser.add_argument("--deadline", dest="deadline_seconds", type=float, default=60.0)
    parser.add_argument("--driven", action="store_true", help="do what standard input says, see driven.py")
    if can_be_modern:
        parser.add_argument("--modern", action="store_true")
    parser.set_defaults(modern=False)
    return Options(**vars(parser.parse_args()))


def describe(error: BaseException) -> str:
    """One line for an error; a group is the errors in it."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(describe(inner) for inner in error.exceptions)
    return f"{type(error).__name__}: {error}"


@dataclass
class Report:
    """Counts the checks that passed and keeps those that failed."""

    client: str
    sessions: int
    checks: Counter[str] = field(default_factory=Counter)
    nodes: Counter[str] = field(default_factory=Counter)
    failures: list[dict[str, Any]] = field(default_factory=list)
    _current: dict[int, str] = field(default_factory=dict)

    @asynccontextmanager
    async def check(self, session: int, name: str, seconds: float = STEP_SECONDS) -> AsyncIterator[None]:
        """Counts the body as passed, or notes why it failed and goes on behind it."""
        self._current[session] = name
        try:
            async with asyncio.timeout(seconds):
                yield
        except TimeoutError as error:
            self.fail(session, str(error) or f"not done after {seconds:g} seconds")
        except Exception as error:
            self.fail(session, describe(error))
        else:
            self.checks[name] += 1

    def has_failed(self, session: int, check: str) -> bool:
        return any(failure["session"] == session and failure["check"] == check for failure in self.failures)

    def fail(self, session: int, error: str) -> None:
        self.failures.append({"session": session, "check": self._current.get(session, "start"), "error": error})

    def as_json(self) -> str:
        return json.dumps(
            {
                "client": self.client,
                "ok": not self.failures,
                "sessions": self.sessions,
                "checks": dict(self.checks),
                "nodes": dict(self.nodes),
                "failures": self.failures,
            }
        )


async def _run_all(options: Options, report: Report, exercise: Callable[[int], Awaitable[None]]) -> None:
    async def run_one(session: int) -> None:
        try:
            await exercise(session)
        except Exception as error:
            report.fail(session, describe(error))

    tasks = {asyncio.create_task(run_one(session)): session for session in range(options.sessions)}
    _, late = await asyncio.wait(tasks, timeout=options.deadline_seconds)
    for task in late:
        report.fail(tasks[task], f"not done after {options.deadline_seconds:g} seconds")
        task.cancel()
    if late:
        await asyncio.wait(late, timeout=_GRACE_SECONDS)


def run_program(options: Options, report: Report, exercise: Callable[[int], Awaitable[None]]) -> NoReturn:
    """Exercises all sessions at a time, prints the report and ends the process, whatever a client left running."""
    warnings.simplefilter("ignore")  # of deprecated features, which are what some checks are about

    async def run() -> NoReturn:
        await _run_all(options, report, exercise)
        print(report.as_json(), flush=True)
        sys.stderr.flush()
        # Some clients ignore their cancellation; closing the loop would wait for them.
        os._exit(1 if report.failures else 0)

    asyncio.run(run())
    raise AssertionError("unreachable")
