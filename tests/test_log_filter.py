from __future__ import annotations

import io
import json
import logging
import logging.config
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from mooring import ShortSessionIds
from mooring.core.handles import Handles
from mooring.core.ids import SessionIds, brief

SESSION_ID = SessionIds("a secret for tests, nowhere else").mint("abcde", bytes(range(16)))
SHORT = brief(SESSION_ID)


class Everything(logging.Formatter):
    """Shows all that a record has, as formatters for machines do."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        if record.exc_info:
            text += repr(record.exc_info[1])
        return text + json.dumps(vars(record), default=repr)


@pytest.fixture
def said() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(Everything())
    handler.addFilter(ShortSessionIds())
    logger = logging.getLogger("foreign")
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield stream
    finally:
        logger.removeHandler(handler)
        logger.propagate = True


def fail(message: str) -> None:
    raise ValueError(message)


def by_format(logger: logging.Logger) -> None:
    logger.warning(f"Terminating session: {SESSION_ID}")  # noqa: G004 - as the SDK does


def by_argument(logger: logging.Logger) -> None:
    logger.warning("Terminating session: %s", SESSION_ID)


def by_named_argument(logger: logging.Logger) -> None:
    logger.warning("Terminating session: %(session)s", {"session": SESSION_ID})


def by_object(logger: logging.Logger) -> None:
    logger.warning("Terminating session: %s of %r", [SESSION_ID], SimpleNamespace(session=SESSION_ID))


def by_object_alone(logger: logging.Logger) -> None:
    logger.warning(ValueError(f"no session {SESSION_ID}"))


def by_two_pieces(logger: logging.Logger) -> None:
    logger.warning("%s.%s", *SESSION_ID.rsplit(".", 1))


def by_exception(logger: logging.Logger) -> None:
    try:
        fail(f"OOM command not allowed: HSET mcp:session:{{{SESSION_ID}}}")
    except ValueError:
        logger.exception("it failed")


def by_chained_exception(logger: logging.Logger) -> None:
    try:
        try:
            fail(f"first {SESSION_ID}")
        except ValueError as error:
            raise RuntimeError("second") from error
    except RuntimeError:
        logger.exception("it failed")


def by_extra(logger: logging.Logger) -> None:
    logger.warning("it ended", extra={"session": SESSION_ID})


def by_misfit(logger: logging.Logger) -> None:
    logger.warning("it ended %d %d", SESSION_ID)


@pytest.mark.parametrize(
    "log",
    [
        by_format,
        by_argument,
        by_named_argument,
        by_object,
        by_object_alone,
        by_two_pieces,
        by_exception,
        by_chained_exception,
        by_extra,
        by_misfit,
    ],
)
def test_no_record_names_a_session_whole(log: Any, said: io.StringIO, capsys: pytest.CaptureFixture[str]) -> None:
    log(logging.getLogger("foreign"))
    text = said.getvalue() + capsys.readouterr().err
    assert SHORT in text
    assert SESSION_ID not in text
    assert SESSION_ID[-11:] not in text.replace(SHORT, "")


def test_what_names_no_session_stays_as_it_was() -> None:
    record = logging.LogRecord("foreign", logging.INFO, "x.py", 1, "%s of %d", ("one", 2), None)
    before = dict(vars(record))
    assert ShortSessionIds().filter(record)
    assert vars(record) == before


def test_an_exception_that_names_none_is_handed_on_as_one() -> None:
    error = ValueError("why")
    record = logging.LogRecord("foreign", logging.ERROR, "x.py", 1, "m", (), (ValueError, error, None))
    ShortSessionIds().filter(record)
    assert record.exc_info == (ValueError, error, None)
    assert record.exc_text is None


def test_arguments_keep_their_number_for_formatters_that_look_at_each() -> None:
    record = logging.LogRecord("uvicorn.access", logging.INFO, "x.py", 1, "%s %d", (f"/x?s={SESSION_ID}", 200), None)
    ShortSessionIds().filter(record)
    assert record.args == (f"/x?s={SHORT}", 200)


def test_it_can_be_named_in_a_configuration() -> None:
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "filters": {"short": {"()": "mooring.ShortSessionIds"}},
            "handlers": {"out": {"class": "logging.NullHandler", "filters": ["short"]}},
            "loggers": {"foreign": {"handlers": ["out"]}},
        }
    )
    handler = logging.getLogger("foreign").handlers.pop()
    assert isinstance(handler.filters[0], ShortSessionIds)


@pytest.mark.parametrize("wrapped", [False, True])
def test_handles_are_cut_as_well(said: io.StringIO, wrapped: bool) -> None:
    """As where a library says which arguments of a tool it could not read."""
    handles = Handles("a secret for tests, nowhere else")
    handle = handles.wrap("abcde", "the server's own") if wrapped else handles.mint("abcde", "browser", bytes(16))
    assert handle is not None
    logger = logging.getLogger("foreign")
    logger.warning("Invalid arguments: %s", {"tab": handle}, extra={"handle": handle})
    try:
        fail(f"no such tab: {handle}")
    except ValueError:
        logger.exception("a tool failed")
    assert handle not in said.getvalue()
    assert said.getvalue().count("mh~abcde...") >= 3


@pytest.mark.parametrize(
    "written",
    [
        lambda handle: repr(f"opened:\n{handle}"),
        lambda handle: repr(f"\t{handle}\n"),
        lambda handle: f"browser_{handle}",
        lambda handle: f"{handle}_tab",
        lambda handle: f"counter://{handle.replace('~', '%7E')}/value",
        lambda handle: f"counter://{handle.replace('~', '%7e')}/value",
    ],
    ids=["after an escape", "between two", "after a word", "before one", "in percents", "in small percents"],
)
def test_handles_are_cut_wherever_they_stand(said: io.StringIO, written: Any) -> None:
    handle = Handles("a secret for tests, nowhere else").mint("abcde", "browser", bytes(16))
    logging.getLogger("foreign").warning("received %s", written(handle))
    assert handle[10:] not in said.getvalue()
    assert "abcde..." in said.getvalue()
