"""What an id may look like at the edge; whatever does not can be no id of ours."""

from __future__ import annotations

import re
import secrets

from ..errors import NotFound

ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")


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
