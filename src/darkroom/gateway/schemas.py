"""What goes in and out, as OpenAPI tells it.

Bodies are read through these. Answers are built in answers.py and only described here: a status read pays for no second
validation.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from .input_schema import EXAMPLE_INPUT, INPUT_SCHEMA
from .webhooks import FINAL, MAX_URL, Told

MAX_PRIORITY = 100
MAX_DEADLINE_S = 30 * 24 * 3600.0

EXAMPLE: dict[str, Any] = {"examples": [{"model": "landscapes", "input": EXAMPLE_INPUT}]}

EVENT_TYPES = (
    *("queued", "started", "progress", "preview", "output"),
    *("requeued", "succeeded", "failed", "cancelled"),
)

SSE_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "one event; `data` is JSON: {seq, at, type, ...}, docs/reference/http.md lists the rest by type",
    "required": ["id", "event", "data"],
    "properties": {
        "id": {"type": "string", "description": "rises; send the last as Last-Event-ID to go on behind it"},
        "event": {"enum": [*EVENT_TYPES]},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
}

Input = Annotated[dict[str, Any], WithJsonSchema(INPUT_SCHEMA)]
State = Literal["scheduled", "queued", "running", "succeeded", "failed", "cancelled"]


class _Body(BaseModel):
    # Strict: "5" is no number, and what is not known is refused by its name.
    model_config = ConfigDict(extra="forbid", strict=True)


class OutputBody(_Body):
    """How it is written; `quality` is for jpeg and webp. `keep_metadata`: the settings go inside."""

    format: Literal["png", "jpeg", "webp", "mp4", "wav"] | None = Field(
        default=None, description="png for pictures, mp4 for videos, wav for sounds, unless said"
    )
    quality: int | None = Field(default=None, ge=1, le=100, description="90 unless said")
    keep_metadata: bool = True

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.format in (None, "png", "mp4", "wav") and self.quality is not None:
            raise ValueError("quality is for jpeg and webp; the others have none")
        return self


class WebhookBody(_Body):
    """Who is told of a job: `url` is called with each of the `events` that happens; docs/guides/webhooks.md."""

    url: str = Field(min_length=1, max_length=MAX_URL)
    events: list[Told] = Field(default=[*FINAL], min_length=1)


Webhook = Annotated[
    WebhookBody,
    BeforeValidator(
        lambda said: {"url": said} if isinstance(said, str) else said, json_schema_input_type=str | WebhookBody
    ),
]


class JobBody(_Body):
    """A job to make."""

    model_config = ConfigDict(json_schema_extra=EXAMPLE)

    input: Input
    model: str | None = Field(default=None, max_length=200, description="may be left out where one is served")
    task: str | None = Field(default=None, max_length=64, description="what the input implies, unless said")
    priority: int = Field(
        default=0,
        ge=-MAX_PRIORITY,
        le=MAX_PRIORITY,
        description="orders a tenant's own jobs of one class: higher goes first",
    )
    deadline_s: float | None = Field(
        default=None, gt=0, le=MAX_DEADLINE_S, allow_inf_nan=False, description="seconds from acceptance"
    )
    run_at: float | str | None = Field(
        default=None, description="not before then: RFC 3339 with its offset, or seconds since the epoch"
    )
    output: OutputBody = Field(default_factory=OutputBody)
    metadata: dict[str, Any] = Field(
        default_factory=dict, description="yours to find again; at most 4096 bytes of JSON"
    )
    webhook: Webhook | None = Field(
        default=None, description="an https URL that is called when the job ends; or with `events`, for some events"
    )


class AttemptAnswer(BaseModel):
    """One try at a webhook call: the HTTP status that came back, or why none did."""

    at: str
    status: int | None
    error: str | None


class DeliveryAnswer(BaseModel):
    """A webhook call: `id` is its `webhook-id`, `next_at` the time of the next attempt (null: none follows)."""

    id: str
    event: str
    url: str
    state: Literal["pending", "delivered", "given_up"]
    created_at: str
    next_at: str | None
    attempts: list[AttemptAnswer]


class DeliveryList(BaseModel):
    """A job's webhook calls, the oldest first."""

    object: Literal["list"]
    data: list[DeliveryAnswer]


class WebhookSecret(BaseModel):
    """What your webhooks are signed with, as the Standard Webhooks libraries take it."""

    key: str = Field(examples=["whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"])
    previous_until: str | None = Field(description="until then calls are signed with the secret before it, too")


class PriorityBody(_Body):
    """What can be changed on a job that has not started."""

    priority: int = Field(ge=-MAX_PRIORITY, le=MAX_PRIORITY)


class ArtifactAnswer(BaseModel):
    """A picture, a video or a sound that a job made; `url` can be fetched as it stands for about an hour."""

    artifact_id: str
    url: str
    content_type: str
    width: int | None
    height: int | None
    seed: int | None
    frames: int | None = Field(description="of a video")
    fps: float | None = Field(description="frames a second, of a video")
    size: int


class UploadAnswer(BaseModel):
    """An upload; its id can stand for a picture in a job's input."""

    artifact_id: str
    content_type: str
    size: int
    width: int | None
    height: int | None
    created_at: str


class Metrics(BaseModel):
    """Seconds and US dollars; null until known. `resumed_from_step`: where the last attempt went on from a tape."""

    queued_s: float | None
    load_s: float | None
    denoise_s: float | None
    decode_s: float | None
    upload_s: float | None
    device_s: float | None
    cost_usd: float | None
    resumed_from_step: float | None


class Links(BaseModel):
    """Where to go from here; absolute."""

    self: str
    cancel: str
    events: str
    ws: str


class JobAnswer(BaseModel):
    """A job. Times are RFC 3339 in UTC, null until they happened; `eta_s` is null while nothing can be predicted."""

    id: str
    state: State
    model: str
    task: str
    input: dict[str, Any]
    output: dict[str, Any]
    metadata: dict[str, Any]
    priority: int
    priority_class: Literal["low", "normal", "high"]
    progress: float = Field(ge=0, le=1)
    step: int
    steps: int
    queue_position: int | None
    eta_s: float | None
    attempt: int
    max_attempts: int
    worker: str | None
    tenant: str
    is_cancelling: bool
    created_at: str
    scheduled_at: str | None
    queued_at: str | None
    started_at: str | None
    succeeded_at: str | None
    failed_at: str | None
    cancelled_at: str | None
    run_at: str | None
    deadline_at: str | None
    outputs: list[ArtifactAnswer]
    metrics: Metrics
    error: dict[str, Any] | None
    errors: list[dict[str, Any]]
    warnings: list[str]
    request_id: str
    links: Links


class JobList(BaseModel):
    """Newest first; `next_cursor` is the next page's `cursor`, null on the last."""

    object: Literal["list"]
    data: list[JobAnswer]
    next_cursor: str | None


class PresetAnswer(BaseModel):
    """Named settings of a model."""

    num_inference_steps: int
    guidance_scale: float | None
    solver: str | None
    adapters: dict[str, float]


class ModelAnswer(BaseModel):
    """OpenAI's model, and what ours says beyond; `problem` says in words why no job can be made for it just now.

    `has_controlnet`: a job may have a `control_image`; `has_ip_adapter`: an `ip_adapter_image`; `has_refiner`: a
    `denoising_end`.
    """

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    tasks: list[str]
    sizes: list[tuple[int, int]]
    default_size: tuple[int, int] | None
    solvers: list[str]
    presets: dict[str, PresetAnswer]
    adapters: list[str]
    has_controlnet: bool
    has_ip_adapter: bool
    has_refiner: bool
    is_loaded: bool
    problem: str | None


class OneModelAnswer(ModelAnswer):
    """One model in full; `input` is the JSON schema of a job's input for it, `revision` the hash of its files.

    `layout` is what its configuration says of itself; a gateway that forwards to this one reads it.
    """

    revision: str | None
    input: dict[str, Any]
    layout: dict[str, Any] | None


class ModelList(BaseModel):
    """OpenAI's list shape."""

    object: Literal["list"]
    data: list[ModelAnswer]


class AdapterBody(_Body):
    """An adapter to register: `artifact_id` is that of an upload of its safetensors file."""

    name: str = Field(max_length=64, examples=["ink"], description="lower-case letters, digits, '.', '_' and '-'")
    artifact_id: str = Field(max_length=200)
    model: str | None = Field(default=None, max_length=200, description="may be left out where one is served")


class AdapterAnswer(BaseModel):
    """An adapter of a model; `digest` is the SHA-256 of its file, `size` in bytes: null where they are not known here.

    `problem` says in words why no job can use it.
    """

    name: str
    object: Literal["adapter"]
    model: str
    source: Literal["bundled", "folder", "registered", "remote"]
    digest: str | None
    size: int | None
    problem: str | None


class AdapterList(BaseModel):
    """The adapters of all models, by name."""

    object: Literal["list"]
    data: list[AdapterAnswer]


class WorkerAnswer(BaseModel):
    """What a worker last said of itself."""

    id: str
    state: str
    at: str
    models: list[str]
    loaded: list[str]
    in_flight: int
    step_seconds: dict[str, float]
    facts: dict[str, Any]


class WorkerList(BaseModel):
    """Workers heard of lately."""

    object: Literal["list"]
    data: list[WorkerAnswer]


class DrainAnswer(BaseModel):
    """The worker has been asked."""

    id: str
    state: Literal["draining"]


class Health(BaseModel):
    """It answers; `detail` is there where jobs are accepted, and wait for a worker that the fleet starts."""

    status: Literal["ok", "ready"]
    detail: str | None = None
