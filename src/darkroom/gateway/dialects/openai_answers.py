"""Answers and errors in the shapes that OpenAI's own clients read.

Its error types and codes stand for ours where its clients look for them; other codes stay as they are.

    content_refused -> content_policy_violation    unknown_model -> model_not_found    unauthorised -> invalid_api_key
    too_busy, queue_full, limit_exceeded of a rate -> rate_limit_exceeded; of a day's budget -> insufficient_quota
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from ...core import FINAL_EVENTS, Artifact, Event, Job, JobState
from ...errors import (
    DarkroomError,
    InvariantBroken,
    JobCancelled,
    LimitExceeded,
    TooBusy,
    Unauthorised,
    Unavailable,
    kind_of,
)
from ..offers import Offered
from ..parts import Visit
from ..refusals import Answer, headers_of
from .openai_bodies import STREAMED, Ask

CODES = {
    "content_refused": "content_policy_violation",
    "unknown_model": "model_not_found",
    "unauthorised": "invalid_api_key",
    "too_busy": "rate_limit_exceeded",
    "queue_full": "rate_limit_exceeded",
    "limit_exceeded": "rate_limit_exceeded",
}
PARAMS = {
    "num_images_per_prompt": "n",
    "width": "size",
    "height": "size",
    "mask_image": "mask",
    "solver": "scheduler",
    "preset": "quality",
    "output.format": "output_format",
    "output.quality": "output_compression",
}
BUDGETS = ("device_s_per_day", "usd_per_day")
PREVIEW_FORMAT = "jpeg"
BACKGROUND = "opaque"


class Picture(BaseModel):
    """One picture: its bytes in base64 or a URL that can be fetched as it stands; `seed` makes it again."""

    b64_json: str | None = None
    url: str | None = None
    revised_prompt: str | None = None
    seed: int | None = None


class Details(BaseModel):
    """Tokens by kind."""

    text_tokens: int
    image_tokens: int


class UsageAnswer(BaseModel):
    """Tokens of the prompt, as the model's own tokenizer counts them; pictures count none."""

    input_tokens: int
    input_tokens_details: Details
    output_tokens: int
    output_tokens_details: Details
    total_tokens: int


class ImagesAnswer(BaseModel):
    """The pictures of a job that has ended; `warnings` name what was ignored."""

    created: int
    data: list[Picture]
    background: str
    output_format: str
    quality: str | None
    size: str
    usage: UsageAnswer
    warnings: list[str]


class Fault(BaseModel):
    """What went wrong, in OpenAI's words."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorAnswer(BaseModel):
    """The shape of every error here."""

    error: Fault


def refused(error: DarkroomError) -> Answer:
    """An error as an answer. Its clients try 409 and 5xx again unless they are told that it would not help."""
    headers = headers_of(error)
    if not isinstance(error, TooBusy | Unavailable):
        headers["X-Should-Retry"] = "false"
    return Answer({"error": fault_of(error)}, error.http_status, headers)


def fault_of(error: DarkroomError) -> dict[str, Any]:
    """An error in their words."""
    code = CODES.get(error.code, error.code)
    if isinstance(error, LimitExceeded) and error.field in BUDGETS:
        code = "insufficient_quota"
    return {
        "message": error.message,
        "type": _type_of(error, code),
        "param": PARAMS.get(error.field, error.field) if error.field else None,
        "code": code,
    }


def _type_of(error: DarkroomError, code: str) -> str:
    if isinstance(error, TooBusy):
        return "insufficient_quota" if code == "insufficient_quota" else "rate_limit_error"
    if isinstance(error, Unauthorised):
        return "authentication_error"
    return "server_error" if error.http_status >= 500 else "invalid_request_error"


def check_succeeded(job: Job) -> None:
    """Raise, for a job that has ended otherwise, the error that ended it."""
    if job.state == JobState.CANCELLED:
        raise JobCancelled("the job was cancelled before it finished")
    said = job.error
    if said is not None:
        kind = kind_of(str(said.get("code")), DarkroomError)
        # A fault of the worker's: its message is for strangers already, and it is no fault of this request.
        raise (DarkroomError if kind is InvariantBroken else kind)(
            str(said.get("message", "the job failed")), field=said.get("field")
        )


@dataclass
class Teller:
    """Tells of one job: its pictures at the end, or a stream of messages on the way."""

    visit: Visit
    ask: Ask
    offered: Offered
    job: Job
    partials: int = 0

    async def whole(self) -> dict[str, Any]:
        """The answer for the job, which has ended; raises its error where it has not succeeded."""
        job = await self.visit.check(self.job.id)
        check_succeeded(job)
        return {
            "created": int(job.times["succeeded"]),
            "data": await self.visit.gateway.threads.files(lambda: [self._picture(each) for each in job.outputs]),
            "background": BACKGROUND,
            "output_format": self.ask.body.encoding,
            "quality": self.ask.body.said_quality,
            "size": self._size,
            "usage": self._usage(),
            "warnings": [*job.warnings, *self.ask.warnings(self.offered.offer)],
        }

    async def say(self, event: Event) -> dict[str, Any] | None:
        """A stream's messages for an event, as `{"messages": […]}`; None where it has none."""
        if event.type == "preview":
            return self._partial(event)
        if event.type not in FINAL_EVENTS:
            return None
        try:
            return {"messages": self._completed(await self.whole())}
        except DarkroomError as error:
            return {"messages": [{"type": "error", "error": fault_of(error)}]}

    def _completed(self, whole: dict[str, Any]) -> list[dict[str, Any]]:
        """One message a picture."""
        shared = {name: whole[name] for name in ("output_format", "usage", "warnings")}
        message = {**self._message("completed", whole["created"]), **shared}
        return [{**message, "b64_json": each["b64_json"], "seed": each["seed"]} for each in whole["data"]]

    def _partial(self, event: Event) -> dict[str, Any] | None:
        """A preview, one in each of `partial_images` equal parts of the way; None for those between."""
        if not is_due(event.data["step"], self.job.steps, self.partials, self.ask.body.partial_images or 0):
            return None
        said = {"partial_image_index": self.partials, "output_format": PREVIEW_FORMAT}
        said["b64_json"] = str(event.data["image"]).partition(",")[2]
        self.partials += 1
        return {"messages": [{**self._message("partial_image", int(event.at)), **said}]}

    def _message(self, what: str, at: int) -> dict[str, Any]:
        quality = self.ask.body.said_quality or "auto"
        kind = f"{STREAMED[self.ask.kind]}.{what}"
        return {"type": kind, "created_at": at, "background": BACKGROUND, "quality": quality, "size": self._size}

    @property
    def _size(self) -> str:
        width, height = self.offered.offer.default_size  # a plain pipeline's own business, and told of what it calls
        return f"{self.job.input.get('width', width)}x{self.job.input.get('height', height)}"

    def _picture(self, artifact: Artifact) -> dict[str, Any]:
        said: dict[str, Any] = {"b64_json": None, "url": None, "revised_prompt": None, "seed": artifact.seed}
        if self.ask.wants_url:
            return {**said, "url": self.visit.answers.url(artifact)}
        return {**said, "b64_json": base64.b64encode(self.visit.gateway.storage.get(artifact.key)).decode("ascii")}

    def _usage(self) -> dict[str, Any]:
        tokens = self.offered.tokens_of(str(self.job.input.get("prompt", "")))
        return {
            "input_tokens": tokens,
            "input_tokens_details": {"text_tokens": tokens, "image_tokens": 0},
            "output_tokens": 0,
            "output_tokens_details": {"text_tokens": 0, "image_tokens": 0},
            "total_tokens": tokens,
        }


def is_due(step: int, steps: int, told: int, wanted: int) -> bool:
    """Whether a preview of that step is told, of `wanted` that are spread over the way and `told` so far."""
    return told < wanted and step * wanted > told * steps


def texts_of(_: Event, said: dict[str, Any]) -> str:
    """Messages as Server-Sent Events; without ids, for nobody can resume them."""
    return "".join(_text_of(message) for message in said["messages"])


def _text_of(message: dict[str, Any]) -> str:
    return f"event: {message['type']}\ndata: {json.dumps(message, separators=(',', ':'))}\n\n"
