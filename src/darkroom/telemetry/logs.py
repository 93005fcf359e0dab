"""Structured logs: one event a line, JSON or text, with the ids that belong to it. On stderr, never on stdout.

Of somebody else's exception its kind and frames are told: its message may quote a prompt.
"""

from __future__ import annotations

import logging
import sys
import traceback
from typing import Any

import structlog

from ..errors import DarkroomError
from ..worker.events import AttemptBegan, AttemptEnded, WorkerEvent, log_ids

MOST_FRAMES = 12  # the innermost
TEXT_WIDTH = 24  # of the event's name, so that ids stand in columns


log = logging.getLogger(__name__)


def log_attempts(event: WorkerEvent) -> None:
    """A worker's listener: one line where an attempt begins and one where it ends."""
    if not isinstance(event, AttemptBegan | AttemptEnded):
        return
    facts = {**log_ids(event.job_id, event.request_id, event.traceparent), "model": event.model}
    if isinstance(event, AttemptBegan):
        log.info("attempt_began", extra={**facts, "attempt": event.attempt})
    else:
        ended = {"status": event.status, "code": event.code, "seconds": round(event.seconds, 4), "steps": event.steps}
        log.info("attempt_ended", extra={**facts, "attempt": event.attempt, **ended})


def configure_logs(form: str, *, process: str, log_prompts: bool = False) -> None:
    """Send our logs and the libraries' to stderr; `form` is json, text or auto (text on a terminal).

    With `log_prompts` traces are told whole.
    """
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    is_json = form == "json" or (form == "auto" and not sys.stderr.isatty())
    render: Any = (
        structlog.processors.JSONRenderer() if is_json else structlog.dev.ConsoleRenderer(pad_event_to=TEXT_WIDTH)
    )
    tell_fault: Any = structlog.processors.format_exc_info if log_prompts else _tell_frames
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            _tidy(process),
            tell_fault,
            render,
        ],
    )
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    for chatty in ("httpx", "httpcore", "uvicorn.access"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def _tell_frames(_: Any, __: str, event: dict[str, Any]) -> dict[str, Any]:
    """Where an exception was raised, and what it says where that is ours to say; frames hold no values."""
    said = event.pop("exc_info", None)
    error = sys.exc_info()[1] if said is True else said[1] if isinstance(said, tuple) else said
    if isinstance(error, BaseException):
        event["error"] = type(error).__name__
        if isinstance(error, DarkroomError):
            event["said"] = "; ".join([error.message, *getattr(error, "__notes__", ())])
        found = traceback.extract_tb(error.__traceback__)[-MOST_FRAMES:]
        event["frames"] = [f"{frame.filename}:{frame.lineno}:{frame.name}" for frame in found]
    return event


def _tidy(process: str) -> Any:
    """Add whose line it is, and leave out what only another formatter can read."""

    def tidy(_: Any, __: str, event: dict[str, Any]) -> dict[str, Any]:
        event.pop("color_message", None)
        return {"process": process, **event}

    return tidy
