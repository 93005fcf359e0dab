"""Logs are one line an event, with the ids that belong to it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from darkroom.errors import StoreUnavailable
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


def lines_of_faults(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """A fault that quotes a prompt, told in both ways of logging, and one of ours."""
    away = StoreUnavailable("it is away")
    away.add_note("store: redis://there")
    for error in (ValueError("a lighthouse nobody may hear of"), away):
        try:
            raise error
        except Exception as caught:
            logging.getLogger("ours").exception("failed")
            logging.getLogger("ours").error("failed", exc_info=caught)
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_fault_is_one_line_with_its_frames_and_without_its_words(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("json", process="gateway")
    *theirs, ours, _ = lines_of_faults(capsys)
    assert "lighthouse" not in str(theirs)
    assert [fault["error"] for fault in theirs] == ["ValueError", "ValueError"]
    assert all("test_logs.py" in fault["frames"][-1] for fault in theirs)
    assert (ours["error"], ours["said"]) == ("StoreUnavailable", "it is away; store: redis://there")


def test_with_prompts_a_fault_is_told_whole(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("json", process="gateway", log_prompts=True)
    first, *_ = lines_of_faults(capsys)
    assert "ValueError: a lighthouse" in first["exception"]
