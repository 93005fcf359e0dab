"""Jobs: made, listed, looked at, changed, cancelled, removed, followed."""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, WebSocket
from starlette.responses import Response

from ...core import JobState, effective_priority, priority_class_of
from ...errors import (
    BadInput,
    Conflict,
    ContentRefused,
    IdempotencyConflict,
    LimitExceeded,
    MaskSizeMismatch,
    NotFound,
    NotSupported,
    QueueFull,
    SizeNotOffered,
    StorageUnavailable,
    StoreUnavailable,
    TooBusy,
    Unavailable,
    UnknownAdapter,
    UnknownArgument,
    UnknownModel,
    UnknownPreset,
    UnknownSolver,
    UnreadableImage,
)
from ...jobs.store import JobFilter
from ...storage.encoding import check_output
from .. import desk, schemas
from ..bodies import BodyRoute
from ..door import Wish
from ..ids import check_idempotency_key
from ..limits import Later
from ..moments import parse_moment
from ..parts import Here, Visit
from ..refusals import Answer, refusals
from ..streams import parse_seq, serve_socket
from ..webhooks import FINAL

MAX_WAIT_S = 120
MAX_PAGE = 200
WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?([^\s,;\"]*)\"?", re.IGNORECASE)

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], route_class=BodyRoute)

NOT_TAKEN = (
    BadInput,
    UnknownArgument,
    SizeNotOffered,
    UnknownPreset,
    UnknownSolver,
    UnknownAdapter,
    UnreadableImage,
    MaskSizeMismatch,
    ContentRefused,
    UnknownModel,
    IdempotencyConflict,
    QueueFull,
    LimitExceeded,
    NotSupported,
    Unavailable,
    StoreUnavailable,
    StorageUnavailable,
    TooBusy,
)
SSE: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {"schema": schemas.SSE_SCHEMA}}, "description": "events, as they happen"}
}


@router.post(
    "",
    status_code=202,
    response_model=schemas.JobAnswer,
    responses={**refusals(*NOT_TAKEN), 200: {"model": schemas.JobAnswer, "description": "It ended within the wait."}},
)
async def create(
    here: Here,
    request: Request,
    body: schemas.JobBody,
    idempotency_key: Annotated[
        str | None, Header(description="with the same key and request, the same job", max_length=255)
    ] = None,
    prefer: Annotated[str | None, Header(description=f"`wait=N`: up to {MAX_WAIT_S} seconds for the end")] = None,
) -> Response:
    """Accept a job. It is durable, and so are its pictures, when 202 is answered."""
    wait_s = wait_of(prefer)
    accepted = await desk.accept(here, wish_of(body, idempotency_key))
    headers = {"Location": f"/v1/jobs/{accepted.job.id}"}
    if accepted.is_repeat:
        headers["Idempotency-Replayed"] = "true"
    if wait_s == 0:
        return Answer(await desk.told(here, accepted.job, accepted.place), 202, headers)
    headers["Preference-Applied"] = f"wait={wait_s}"
    return Later(request, lambda: _waited_for(here, accepted.job.id, wait_s, headers))


async def _waited_for(here: Visit, job_id: str, wait_s: int, headers: dict[str, str]) -> Response:
    has_ended = await desk.wait(here, job_id, wait_s)
    return Answer(await desk.show(here, job_id), 200 if has_ended else 202, headers)


@router.get("", response_model=schemas.JobList, responses=refusals(BadInput, UnknownModel, StoreUnavailable))
async def list_jobs(
    here: Here,
    state: Annotated[JobState | None, Query()] = None,
    model: Annotated[str | None, Query(max_length=200)] = None,
    since: Annotated[str | None, Query(max_length=64, description="made then or later: RFC 3339, or epoch")] = None,
    tenant: Annotated[str | None, Query(max_length=200, description="for operators")] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 50,
    cursor: Annotated[str | None, Query(max_length=512)] = None,
) -> Response:
    """Jobs, newest first; an operator's list holds everybody's."""
    if tenant is not None and tenant != here.caller.tenant:
        here.caller.check_operator()
    moment = None if since is None else parse_moment(since, "since")
    owner = tenant if here.caller.is_operator else here.caller.tenant
    store = here.gateway.store
    wanted = JobFilter(tenant=owner, state=state, model=model, since=moment, limit=limit, cursor=cursor)
    page = await here.gateway.threads.store(store.list_jobs, wanted)
    data = await desk.told_all(here, page.jobs, await here.places(page.jobs))
    return Answer({"object": "list", "data": data, "next_cursor": page.cursor})


@router.get("/{job_id}", response_model=schemas.JobAnswer, responses=refusals(NotFound, StoreUnavailable))
async def show(here: Here, job_id: str) -> Response:
    """One job as it is now."""
    return Answer(await desk.show(here, job_id))


@router.patch(
    "/{job_id}",
    response_model=schemas.JobAnswer,
    responses=refusals(BadInput, UnknownArgument, NotFound, Conflict, StoreUnavailable),
)
async def change(here: Here, job_id: str, body: schemas.PriorityBody) -> Response:
    """Change the priority of a job that has not started; its class stays."""
    found = await here.check(job_id)
    store, now = here.gateway.store, here.gateway.clock()
    priority = effective_priority(priority_class_of(found.priority), body.priority)
    job = await here.gateway.threads.store(store.set_priority, job_id, priority, now)
    if job is not None and job.state not in (JobState.SCHEDULED, JobState.QUEUED):
        raise Conflict(f"the job is {job.state}: its priority no longer matters", field="priority")
    return Answer(await desk.show(here, job_id))


@router.delete(
    "/{job_id}",
    status_code=204,
    responses={
        **refusals(NotFound, StoreUnavailable, StorageUnavailable, TooBusy),
        202: {"model": schemas.JobAnswer, "description": "Cancelled, and not stopped yet: ask again."},
    },
)
async def remove(here: Here, job_id: str) -> Response:
    """Remove a finished job with its pictures; a live one is cancelled first."""
    job = await desk.remove(here, job_id)
    if job is None:
        return Response(status_code=204)
    return Answer(await desk.told(here, job, None), 202, {"Retry-After": "1"})


@router.post(
    "/{job_id}/cancel",
    status_code=202,
    response_model=schemas.JobAnswer,
    responses=refusals(NotFound, StoreUnavailable),
)
async def cancel(here: Here, job_id: str) -> Response:
    """Ask for the end of a job: at once where it waits, within a step where it runs. After its end nothing changes."""
    return Answer(await desk.told(here, await desk.cancel(here, job_id), None), 202)


@router.get(
    "/{job_id}/events",
    response_class=Response,
    responses={
        **refusals(BadInput, NotFound, TooBusy, StoreUnavailable),
        **SSE,
        204: {"description": "The job has ended, and you have had all of its events."},
    },
)
async def events(
    here: Here,
    job_id: str,
    last_event_id: Annotated[str | None, Header(description="go on behind this one")] = None,
    after: Annotated[str | None, Query(description="the same, for clients that cannot set headers")] = None,
) -> Response:
    """A job's events from the first, as Server-Sent Events, to the final one."""
    behind = parse_seq(last_event_id, "Last-Event-ID") or parse_seq(after, "after")
    return desk.stream(here, job_id, await desk.follow(here, job_id, behind))


@router.websocket("/{job_id}/ws")
async def socket(socket: WebSocket, here: Here, job_id: str) -> None:
    """The same events as JSON texts; `?after=SEQ` goes on behind that one."""
    behind = parse_seq(socket.query_params.get("after"), "after")
    await serve_socket(socket, await desk.follow(here, job_id, behind), desk.sayer(here, job_id))


def wait_of(prefer: str | None) -> int:
    """Seconds to wait for the end (RFC 7240); preferences of other names are not ours to judge. Raises `BadInput`."""
    said = WAIT.search(prefer or "")
    if said is None:
        return 0
    if not (said[1].isascii() and said[1].isdigit() and len(said[1]) <= 6 and int(said[1]) <= MAX_WAIT_S):
        raise BadInput(f"Prefer: wait must be whole seconds from 0 to {MAX_WAIT_S}", field="Prefer")
    return int(said[1])


def wish_of(body: schemas.JobBody, idempotency_key: str | None) -> Wish:
    """The body's wish; raises `BadInput`."""
    check_output(body.output.format, body.output.quality)
    check_idempotency_key(idempotency_key)
    return Wish(
        inputs=body.input,
        model=body.model,
        task=body.task,
        priority=body.priority,
        deadline_s=body.deadline_s,
        run_at=None if body.run_at is None else parse_moment(body.run_at, "run_at"),
        output=body.output.model_dump(),
        metadata=body.metadata,
        idempotency_key=idempotency_key,
        webhook=None if body.webhook is None else body.webhook.url,
        webhook_events=FINAL if body.webhook is None else tuple(dict.fromkeys(body.webhook.events)),
        sent=body.model_dump(exclude_unset=True) if idempotency_key else {},
    )
