"""What an id may look like at the edge; whatever does not can be no id of ours."""

from __future__ import annotations

import re
import secrets

from ..errors import BadInput, NotFound

KEY = re.compile(r"[\x21-\x7e]{1,255}")
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")  # w3.org/TR/trace-context


def is_id(text: str) -> bool:
    """Whether it could be one: no URL, path or sentence is."""
    return ID.fullmatch(text) is not None and not text.startswith(("http:", "https:", "data:"))


def check_id(text: str, noun: str) -> str:
    """The id as it is; raises `NotFound` for what cannot be one."""
    if not is_id(text):
        raise NotFound(f"there is no {noun} of that id")
    return text


def new_job_id() -> str:
    """An id that nobody can guess."""
    return f"job-{secrets.token_hex(12)}"


def fair_traceparent(said: str | None) -> str:
    """The trace context of a request, "" where it has none that is well-formed."""
    return said if said is not None and TRACEPARENT.fullmatch(said) else ""


def check_idempotency_key(key: str | None) -> None:
    """Raise `BadInput` unless it is none or a fair one."""
    if key is not None and not KEY.fullmatch(key):
        raise BadInput("Idempotency-Key must have 1 to 255 visible ASCII characters", field="Idempotency-Key")
