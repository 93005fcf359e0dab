"""The course text's API: `/generate`, `/jobs/{id}` and `/ws/jobs/{id}` at the root, with its bounds, words and errors.

ours                     theirs
scheduled, queued        pending
running (a retry too)    processing
succeeded                completed
failed                   failed
cancelled, cancelling    404: there a deleted job is gone
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Literal

from fastapi import APIRouter, Request, WebSocket
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from ...core import Event, Job, JobState
from ...errors import (
    BadInput,
    DarkroomError,
    Forbidden,
    NotFound,
    QueueFull,
    SizeNotOffered,
    StorageUnavailable,
    StoreUnavailable,
    Unauthorised,
    Unavailable,
)
from ...models.request import MAX_PROMPT, MAX_SEED
from .. import desk
from ..bodies import BodyRoute
from ..door import Wish
from ..parts import Here, Visit, visit_of
from ..refusals import Answer, error_of_http, error_of_validation, fit_to_tell, headers_of
from ..streams import serve_socket

STATUSES = {
    JobState.SCHEDULED: "pending",
    JobState.QUEUED: "pending",
    JobState.RUNNING: "processing",
    JobState.SUCCEEDED: "completed",
    JobState.FAILED: "failed",
}
# What an event says of the status. A requeued job is still in processing, and a cancelled one ends their loops too.
SAID_BY = {
    "started": "processing",
    "requeued": "processing",
    "succeeded": "completed",
    "failed": "failed",
    "cancelled": "failed",
}
Status = Literal["pending", "processing", "completed", "failed"]


class GenerateBody(BaseModel):
    """As the course text has it, but that sizes are the model's. Other fields are named in `warnings` and ignored."""

    model_config = ConfigDict(
        extra="allow", strict=True, json_schema_extra={"examples": [{"prompt": "A beautiful sunset over mountains"}]}
    )

    prompt: str = Field(min_length=1, max_length=MAX_PROMPT)
    negative_prompt: str | None = Field(default=None, max_length=MAX_PROMPT)
    num_inference_steps: int = Field(default=20, ge=1, le=100)
    guidance_scale: float = Field(default=7.5, ge=1, le=20, allow_inf_nan=False)
    width: int | None = Field(default=None, ge=1, le=2048)
    height: int | None = Field(default=None, ge=1, le=2048)
    seed: int | None = Field(default=None, ge=0, le=MAX_SEED)


class GenerateAnswer(BaseModel):
    """The job was accepted; `estimated_time` in seconds, null while nothing can be predicted."""

    job_id: str
    status: Status
    queue_position: int | None
    estimated_time: float | None
    warnings: list[str]


class StatusAnswer(BaseModel):
    """Where a job is; `progress` is 0 to 1, `image_url` can be fetched as it stands."""

    job_id: str
    status: Status
    progress: float
    image_url: str | None
    error: str | None


class Message(BaseModel):
    """A sentence."""

    message: str


class Detail(BaseModel):
    """The error's shape: a sentence, or FastAPI's list of problems."""

    detail: str | list[dict[str, Any]]


class CourseRoute(BodyRoute):
    """Errors in FastAPI's usual form, `{"detail": …}`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The route, with its errors turned."""
        handle = super().get_route_handler()

        async def handled(request: Request) -> Response:
            try:
                return await handle(request)
            except RequestValidationError as error:
                return _refused(error_of_validation(error.errors()))
            except HTTPException as error:
                return _refused(error_of_http(request.scope, error))
            except DarkroomError as error:
                return _refused(fit_to_tell(request.scope, error))

        return handled


def details(*errors: type[DarkroomError]) -> dict[int | str, dict[str, Any]]:
    """For a route's declaration."""
    every: tuple[type[DarkroomError], ...] = (*errors, Unauthorised, Forbidden)
    return {error.http_status: {"model": Detail, "description": str(error.__doc__)} for error in every}


router = APIRouter(tags=["course text's API"], route_class=CourseRoute)
NOT_TAKEN = (BadInput, SizeNotOffered, QueueFull, Unavailable, StoreUnavailable)


@router.post("/generate", response_model=GenerateAnswer, responses=details(*NOT_TAKEN))
async def generate(here: Here, body: GenerateBody) -> Response:
    """Accept a job for the default model."""
    extra = body.model_extra or {}
    inputs = {name: value for name, value in body.model_dump().items() if name not in extra}
    accepted = await desk.accept(here, Wish(inputs=inputs, model=here.gateway.offers.default))
    said = await desk.told(here, accepted.job, accepted.place)
    ignored = [f"{name} is not known here and was ignored" for name in extra]
    return Answer(
        {
            "job_id": accepted.job.id,
            "status": status_of(accepted.job),
            "queue_position": said["queue_position"],
            "estimated_time": said["eta_s"],
            "warnings": [*said["warnings"], *ignored],
        }
    )


@router.get("/jobs/{job_id}", response_model=StatusAnswer, responses=details(NotFound, StoreUnavailable))
async def show(here: Here, job_id: str) -> Response:
    """Where a job is."""
    job = await _find(here, job_id)
    urls = [await here.gateway.threads.files(here.answers.url, artifact) for artifact in job.outputs[:1]]
    return Answer(
        {
            "job_id": job.id,
            "status": status_of(job),
            "progress": round(job.progress, 4),
            "image_url": urls[0] if urls else None,
            "error": str(job.error.get("message", job.error)) if job.error else None,
        }
    )


@router.delete(
    "/jobs/{job_id}", response_model=Message, responses=details(NotFound, StoreUnavailable, StorageUnavailable)
)
async def remove(here: Here, job_id: str) -> Response:
    """Cancel a job if it has not ended, and forget it."""
    await _find(here, job_id)
    await desk.remove(here, job_id)
    return Answer({"message": "Job deleted"})


@router.websocket("/ws/jobs/{job_id}")
async def socket(socket: WebSocket, job_id: str) -> None:
    """`{status, progress}` whenever either changes, to the end."""
    try:
        here = await visit_of(socket)
        await _find(here, job_id)
        subscription = await desk.follow(here, job_id, 0)
    except DarkroomError as error:
        await socket.send_denial_response(_refused(fit_to_tell(socket.scope, error)))
        return
    await serve_socket(socket, subscription, Teller().say)


class Teller:
    """Events as their two words; what changes neither is not told."""

    def __init__(self) -> None:
        self._told: dict[str, Any] = {"status": None, "progress": 0.0}

    async def say(self, event: Event) -> dict[str, Any] | None:
        """The message for an event; None where there is nothing new in it."""
        said = dict(self._told)
        if event.type == "queued":
            said["status"] = said["status"] or "pending"
        elif event.type == "progress":
            said["progress"] = event.data["progress"]
        said["status"] = SAID_BY.get(event.type, said["status"])
        if event.type == "succeeded":
            said["progress"] = 1.0
        if said == self._told:
            return None
        self._told = said
        return said


def status_of(job: Job) -> str:
    """Their word for a job's state; one that has begun once stays in processing until it ends."""
    is_retry = "started" in job.times and not job.is_final
    return "processing" if is_retry else STATUSES[job.state]


async def _find(here: Visit, job_id: str) -> Job:
    """The job, unless somebody wants it cancelled: it is gone then, whatever a worker still does with it."""
    job = await here.check(job_id)
    if job.is_cancelling or job.state == JobState.CANCELLED:
        raise NotFound(f"there is no job {job_id!r}", field="job_id")
    return job


def _refused(error: DarkroomError) -> Answer:
    detail: Any = error.message
    if isinstance(error, BadInput):
        detail = [{"type": error.code, "loc": ["body", error.field], "msg": error.message}]
    return Answer({"detail": detail}, error.http_status, headers_of(error))
