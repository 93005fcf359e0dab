"""Structured logs: one event a line, JSON or text, with the ids that belong to it. On stderr, never on stdout."""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog

TEXT_WIDTH = 24  # of the event's name, so that ids stand in columns


def configure_logs(form: str, *, process: str) -> None:
    """Send our logs and the libraries' to stderr; `form` is json, text or auto (text on a terminal)."""
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
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            _tidy(process),
            structlog.processors.format_exc_info,
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


def _tidy(process: str) -> Any:
    """Add whose line it is, and leave out what only another formatter can read."""

    def tidy(_: Any, __: str, event: dict[str, Any]) -> dict[str, Any]:
        event.pop("color_message", None)
        return {"process": process, **event}

    return tidy
