from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator

import pytest

from mooring.cli.logs import configure_logging, take_over_loggers


@pytest.fixture(autouse=True)
def _levels_stay() -> Iterator[None]:
    levels = {name: logging.getLogger(name).level for name in ("mcp", "uvicorn", "mooring.test")}
    yield
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def test_a_record_is_one_line_with_time_level_and_logger(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    logging.getLogger("mooring.test").warning("session %s is gone", "x")
    pattern = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z WARNING mooring\.test: session x is gone\n"
    assert re.fullmatch(pattern, capsys.readouterr().err)


def test_foreign_text_cannot_forge_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    logging.getLogger("mooring.test").info("client %s", "a\n2026-01-01T00:00:00.000Z ERROR b: c\x1b[2J")
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert r"a\n2026-01-01T00:00:00.000Z ERROR b: c\x1b[2J" in said


def test_a_traceback_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    try:
        raise ValueError("why")
    except ValueError:
        logging.getLogger("mooring.test").exception("it failed")
    assert capsys.readouterr().err.splitlines()[-1] == "ValueError: why"


def test_chatty_loggers_are_heard_in_debug_alone(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info")
    logging.getLogger("mcp.server").info("request 1")
    assert capsys.readouterr().err == ""
    logging.getLogger("mcp").setLevel(logging.NOTSET)
    configure_logging("info", debug=True)
    logging.getLogger("mcp.server").info("request 2")
    assert "request 2" in capsys.readouterr().err


def test_the_level_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("error")
    logging.getLogger("mooring.test").warning("not heard")
    assert capsys.readouterr().err == ""


def test_a_package_with_handlers_of_its_own_logs_as_all_others(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    logger = logging.getLogger("fastmcp")
    before = (list(logger.handlers), logger.propagate)
    logger.addHandler(logging.StreamHandler(io.StringIO()))
    logger.propagate = False
    try:
        take_over_loggers()
        logger.warning("heard")
        assert "WARNING fastmcp: heard" in capsys.readouterr().err
    finally:
        logger.handlers[:], logger.propagate = before
