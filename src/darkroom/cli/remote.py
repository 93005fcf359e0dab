"""Talking to a running service: where it is, and its answers or refusals as ours."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from .. import config, errors

TIMEOUT_S = 30.0
EVENTS_QUIET_S = 60.0  # the service sends a comment more often than this
API = "/v1"


@contextmanager
def connect() -> Iterator[httpx.Client]:
    """A client of the service that DARKROOM_URL names; raises `Unavailable` where nobody answers."""
    said = config.load_client()
    headers = {"Authorization": f"Bearer {said.api_key}"} if said.api_key else {}
    try:
        with httpx.Client(base_url=said.url, headers=headers, timeout=TIMEOUT_S) as client:
            yield client
    except httpx.TransportError as error:
        raise errors.Unavailable(f"{said.url} does not answer ({error}): start it with `darkroom serve`") from error


def ask(client: httpx.Client, method: str, path: str, **what: Any) -> Any:
    """The JSON answer; a refusal is raised with the service's own code, message and field."""
    answer = client.request(method, f"{API}{path}", **what)
    if answer.is_success:
        return answer.json() if answer.content else None
    raise refusal_of(answer)


def follow(client: httpx.Client, job_id: str, after: int = 0) -> Iterator[tuple[str, dict[str, Any]]]:
    """A job's events from the service, to the end: type and content."""
    headers = {"Last-Event-ID": str(after)} if after else {}
    with client.stream("GET", f"{API}/jobs/{job_id}/events", headers=headers, timeout=EVENTS_QUIET_S) as answer:
        if not answer.is_success:
            answer.read()
            raise refusal_of(answer)
        for line in answer.iter_lines():
            if line.startswith("data:"):
                event = json.loads(line.removeprefix("data:"))
                yield event["type"], event


def refusal_of(answer: httpx.Response) -> errors.DarkroomError:
    """The error that an answer tells of; its exit code is 2 where the input was to blame."""
    try:
        said = answer.json()["error"]
    except (ValueError, KeyError, TypeError):
        said = {"code": "internal", "message": f"{answer.url} answered {answer.status_code}", "field": None}
    kind = errors.BadInput if answer.status_code in (400, 404, 409, 413) else errors.DarkroomError
    error = kind(said["message"], field=said.get("field"))
    error.code = said["code"]
    return error
