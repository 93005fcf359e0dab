"""Logs are one line an event, with the ids that belong to it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from darkroom.telemetry.logs import configure_logs


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def test_a_library_and_ours_speak_the_same_json(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("json", process="gateway")
    structlog.contextvars.bind_contextvars(request_id="r-1")
    structlog.get_logger("ours").info("job accepted", job_id="j-1")
    logging.getLogger("theirs").warning("it is %s", "late", extra={"job_id": "j-2"})
    first, second = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert (first["event"], first["job_id"], first["request_id"]) == ("job accepted", "j-1", "r-1")
    assert (second["event"], second["job_id"], second["level"]) == ("it is late", "j-2", "warning")
    assert first["process"] == second["process"] == "gateway"


def test_a_fault_is_one_line_with_its_trace(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("json", process="gateway")
    try:
        raise ValueError("no")
    except ValueError:
        logging.getLogger("ours").exception("failed")
    (line,) = capsys.readouterr().err.splitlines()
    assert "ValueError: no" in json.loads(line)["exception"]
