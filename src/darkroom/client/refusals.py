"""What the service refused, and what ended a job, as the named errors of `darkroom.errors`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from .. import errors
from .wire import Answer

# For a code that this release does not know, and for what others between here and there answer.
BY_STATUS: Mapping[int, type[errors.DarkroomError]] = {
    400: errors.BadInput,
    401: errors.Unauthorised,
    403: errors.Forbidden,
    404: errors.NotFound,
    405: errors.WrongMethod,
    409: errors.Conflict,
    413: errors.TooLarge,
    429: errors.TooBusy,
    501: errors.NotSupported,
    502: errors.Unavailable,
    503: errors.Unavailable,
    504: errors.Unavailable,
}


def refusal_of(answer: Answer) -> errors.DarkroomError:
    """The error that an answer tells of, with its message, field and request id."""
    said = _said_in(answer)
    error = error_of(said, BY_STATUS.get(answer.status, errors.DarkroomError))
    error.request_id = said.get("request_id") or answer.headers.get("x-request-id")
    wait_s = errors.retry_after_s(answer.headers.get("retry-after"), time.time())
    if wait_s is not None and isinstance(error, errors.TooBusy | errors.Unavailable):
        error.retry_after_s = wait_s
    return error


def error_of(said: Mapping[str, Any], otherwise: type[errors.DarkroomError]) -> errors.DarkroomError:
    """`{code, message, field}` as the class of that code; `otherwise` carries a code that is not known here."""
    code, field = str(said.get("code", otherwise.code)), said.get("field")
    error = errors.kind_of(code, otherwise)(str(said.get("message", code)), field=None if field is None else str(field))
    error.code = code
    return error


def _said_in(answer: Answer) -> Mapping[str, Any]:
    try:
        said = answer.json()["error"]
        return {**said, "message": str(said["message"]), "code": str(said["code"])}
    except (ValueError, KeyError, TypeError):
        return {"message": f"{answer.url} answered {answer.status}"}
