"""Every error as an answer: `{"error": {code, message, field, request_id}}` with the status its class says.

A dialect may have a shape of its own for all below its path: also for what is refused before its routes are reached.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse
from starlette.types import Scope

from ..errors import (
    BadInput,
    DarkroomError,
    Forbidden,
    InvariantBroken,
    NotFound,
    StoreCorrupt,
    TooBusy,
    TooLarge,
    Unauthorised,
    Unavailable,
    UnknownArgument,
    WrongMethod,
)
from ..wording import problem_said

log = logging.getLogger(__name__)

SHOWN_CHARACTERS = 80
MAX_BITS = 128  # Python refuses to print very long numbers at all


class Answer(JSONResponse):
    """JSON. Half a surrogate pair, which JSON can carry and UTF-8 cannot, leaves as the escape it came in as."""

    def render(self, content: Any) -> bytes:
        """The body's bytes."""
        text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode("utf-8", "backslashreplace")


class Refusal(BaseModel):
    """What went wrong: `code` is for programs, `message` for people, `field` names the argument to blame."""

    code: str = Field(examples=["bad_input"])
    message: str = Field(examples=["num_inference_steps must be a whole number from 1 to 1000, not 0"])
    field: str | None = Field(examples=["num_inference_steps"])
    request_id: str = Field(examples=["2f1c0e9ab47d4c83"])


class ErrorAnswer(BaseModel):
    """The one shape of every refusal."""

    error: Refusal


Shape = Callable[[DarkroomError], Answer]


def refusal_of(scope: Scope, error: DarkroomError) -> Answer:
    """The answer to a request that ends with that error, in the shape of the dialect that it speaks."""
    shapes: Mapping[str, Shape] = getattr(scope["app"].state, "shapes", {}) if "app" in scope else {}
    for prefix, shape in shapes.items():
        if scope["path"] == prefix or scope["path"].startswith(f"{prefix}/"):
            return shape(error)
    request_id = scope.get("state", {}).get("request_id", "")
    said = {"code": error.code, "message": error.message, "field": error.field, "request_id": request_id}
    return Answer({"error": said}, error.http_status, headers_of(error))


def headers_of(error: DarkroomError) -> dict[str, str]:
    """What must be said beside the body."""
    if isinstance(error, TooBusy | Unavailable):
        return {"Retry-After": str(max(1, math.ceil(error.retry_after_s)))}
    if isinstance(error, TooLarge):
        return {"Connection": "close"}  # the rest of a body that nobody will read is on its way
    if isinstance(error, Unauthorised):
        return {"WWW-Authenticate": 'Bearer realm="darkroom"'}  # RFC 6750
    return {}


def fit_to_tell(scope: Scope, error: DarkroomError) -> DarkroomError:
    """The error; for a fault of ours one that says nothing of our inside, and a log line that does."""
    if not isinstance(error, InvariantBroken | StoreCorrupt):
        return error
    request_id = scope.get("state", {}).get("request_id", "")
    log.error("request_failed", exc_info=error, extra={"path": scope["path"]})
    return type(error)(f"something went wrong here; its log line has the id {request_id}")


async def on_darkroom_error(request: HTTPConnection, error: Exception) -> Answer:
    """For the application: errors of ours."""
    assert isinstance(error, DarkroomError)
    return refusal_of(request.scope, fit_to_tell(request.scope, error))


async def on_validation_error(request: HTTPConnection, error: Exception) -> Answer:
    """For the application: a body, path, header or query that does not fit its declaration."""
    assert isinstance(error, RequestValidationError)
    return refusal_of(request.scope, error_of_validation(error.errors()))


async def on_http_exception(request: HTTPConnection, error: Exception) -> Answer:
    """For the application: routes that are not there, and what the framework itself refuses."""
    assert isinstance(error, HTTPException)
    answer = refusal_of(request.scope, error_of_http(request.scope, error))
    answer.headers.update(error.headers or {})
    return answer


def error_of_http(scope: Scope, error: HTTPException) -> DarkroomError:
    """The framework's own refusals in our words."""
    if isinstance(error.__cause__, DarkroomError):
        return error.__cause__  # raised while the body was read, such as TooLarge
    if error.status_code == 404:
        return NotFound(f"there is no route {scope['path']!r}; /docs lists them")
    if error.status_code == 405:
        return WrongMethod(f"{scope['path']} does not take {scope['method']}")
    if error.status_code == 403:
        return Forbidden(str(error.detail))
    if error.status_code < 500:
        return BadInput("the body cannot be read as JSON", field="body")
    return InvariantBroken("something went wrong here")


def error_of_validation(problems: Any) -> DarkroomError:
    """The first problem found, in our words."""
    first = problems[0]
    source, *place = (str(part) for part in first["loc"])
    if first["type"] == "json_invalid":
        return BadInput(f"the body is no JSON: {first['ctx']['error']} at character {place[0]}", field="body")
    field = ".".join(place) or source
    if first["type"] == "extra_forbidden":
        return UnknownArgument(f"there is no field {field!r} here; /docs lists those that there are", field=field)
    if source == "body" and not place:  # nothing, no object, or bytes that no header calls JSON
        return BadInput("a JSON object is needed, sent with Content-Type: application/json", field="body")
    return BadInput(_problem(field, first), field=field)


def shown(value: Any) -> str:
    """What was given, short enough for one line."""
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        return f"a number of {value.bit_length()} bits"
    if isinstance(value, Mapping | list):
        return "an object" if isinstance(value, Mapping) else "a list"
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 3]}..."


def _problem(field: str, first: Any) -> str:
    text = problem_said(first)
    said = f"{field} {text}" if text.startswith(("must ", "is ")) else f"{field}: {text}"
    return said if first["type"] in ("missing", "value_error") else f"{said}, not {shown(first.get('input'))}"


def refusals(*errors: type[DarkroomError]) -> dict[int | str, dict[str, Any]]:
    """For a route's declaration: the statuses it may refuse with, each with its codes."""
    by_status: dict[int | str, dict[str, Any]] = {}
    every: tuple[type[DarkroomError], ...] = (*errors, *ANYWHERE)
    for error in every:
        codes = by_status.setdefault(error.http_status, {"model": ErrorAnswer, "description": ""})
        codes["description"] = ", ".join(dict.fromkeys([*_words(codes["description"]), f"`{error.code}`"]))
    for status in (429, 503):
        if status in by_status:
            by_status[status]["headers"] = {"Retry-After": {"schema": {"type": "string"}, "description": "seconds"}}
    return by_status


def _words(text: str) -> Iterator[str]:
    yield from (word for word in text.split(", ") if word)


# What any route may answer: nobody knows who asks, a foreign host, a wrong method, a body too large, too much at once,
# a fault of ours.
ANYWHERE = (Unauthorised, Forbidden, WrongMethod, TooLarge, Unavailable, InvariantBroken)
