"""OpenAI's Images API, for clients that know no other: `/v1/images/generations`, `/edits`, `/variations`.

A call waits for its job's end. Whoever leaves before that cannot come back for the pictures, so the job is cancelled;
with an `Idempotency-Key` the same call can be made again, and the job goes on. `/v1/models` is the native one, which
has their shape. Errors below `/v1/images` have theirs, whoever raised them (refusals.py).
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ...core import Job
from ...errors import BadInput, DarkroomError, Unavailable
from .. import desk
from ..bodies import BodyRoute
from ..events import Subscription
from ..ids import check_idempotency_key
from ..limits import Later
from ..offers import Offered
from ..parts import Here, Visit
from ..refusals import Answer
from ..streams import BEAT_S, EventStream, gone, until_either
from . import openai_lora
from .openai_answers import ErrorAnswer, ImagesAnswer, Teller, texts_of
from .openai_bodies import (
    VARIATION,
    Ask,
    Form,
    GenerationBody,
    body_of_form,
    form_schema,
    read_form,
)

SSE = {"schema": {"type": "string", "description": "partial_image and completed messages, with `stream`"}}
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorAnswer, "description": said}
    for status, said in {
        400: "a field that cannot be taken, named in param; or `content_policy_violation`",
        401: "`invalid_api_key`",
        403: "a host, an origin or a key that may not",
        404: "`model_not_found`",
        405: "only POST",
        409: "the job was cancelled, or the idempotency key was used for another call",
        413: "the body or a picture is past its limit",
        429: "`rate_limit_exceeded` or `insufficient_quota`; Retry-After says when to come back",
        500: "the job failed",
        501: "a LoRA by its file or address: one that is registered is named in `adapters`",
        503: "jobs or pictures cannot be reached just now",
        504: "`deadline_exceeded`",
    }.items()
}
IMAGES: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": SSE}}, **ERRORS}
Key = Annotated[str | None, Header(description="with the same key and call, the same job", max_length=255)]

router = APIRouter(prefix="/v1/images", tags=["OpenAI's Images API"], route_class=BodyRoute)


@router.post("/generations", response_model=ImagesAnswer, responses=IMAGES)
async def generations(here: Here, request: Request, body: GenerationBody, idempotency_key: Key = None) -> Response:
    """Pictures from words."""
    return await answer(here, request, Ask("generations", body), idempotency_key)


@router.post(
    "/edits", response_model=ImagesAnswer, responses=IMAGES, openapi_extra=form_schema(has_mask=True, needs_prompt=True)
)
async def edits(here: Here, request: Request, idempotency_key: Key = None) -> Response:
    """A picture painted anew where the mask, or else the picture itself, is wholly transparent; else all of it."""
    form = await read_form(request)
    image = _image_of(form)
    mask = await _mask_of(here, image, form.one("mask"))
    pictures = {"image": image} if mask is None else {"image": image, "mask_image": mask}
    return await answer(here, request, Ask("edits", body_of_form(form.fields), pictures, form.unused), idempotency_key)


@router.post("/variations", response_model=ImagesAnswer, responses=ERRORS, openapi_extra=form_schema())
async def variations(here: Here, request: Request, idempotency_key: Key = None) -> Response:
    """Pictures like the one given."""
    form = await read_form(request)
    unused = (*form.unused, *(["mask"] if "mask" in form.files else []))
    ask = Ask(VARIATION, body_of_form(form.fields), {"image": _image_of(form)}, unused)
    return await answer(here, request, ask, idempotency_key)


async def answer(here: Visit, request: Request, ask: Ask, idempotency_key: str | None) -> Response:
    """Make the job, and its pictures or their stream the answer."""
    check_idempotency_key(idempotency_key)
    openai_lora.check_no_files(ask.body.model_extra or {})
    offered = await _offered(here, ask.body.model)
    with openai_lora.blamed(ask.body.lora, ask.body.adapters):
        accepted = await desk.accept(here, ask.wish(offered.offer, idempotency_key))
    teller = Teller(here, replace(ask, pictures={}), offered, accepted.job)  # they are stored by now
    headers = {"X-Job-Id": accepted.job.id, **({"Idempotency-Replayed": "true"} if accepted.is_repeat else {})}
    return Later(request, lambda: _told(request, teller, headers))


async def _told(request: Request, teller: Teller, headers: dict[str, str]) -> Response:
    if teller.ask.is_streamed:
        return ImageStream(teller.visit, teller, headers)
    async with attended(teller.visit, teller.job) as subscription:
        await until_either(_to_the_end(subscription), gone(request.receive))
        if not subscription.is_over:
            await desk.check_welcome(teller.visit)
            raise Unavailable("the server stops: ask again")
    return Answer(await teller.whole(), 200, headers)


class ImageStream(Response):
    """A job's previews and pictures as Server-Sent Events."""

    def __init__(self, visit: Visit, teller: Teller, headers: dict[str, str]) -> None:
        super().__init__(headers=headers)
        self.visit, self.teller, self.said = visit, teller, headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with attended(self.visit, self.teller.job) as subscription:
            stream = EventStream(subscription, self.teller.say, text_of=texts_of)
            stream.headers.update(self.said)
            await stream(scope, receive, send)


@asynccontextmanager
async def attended(visit: Visit, job: Job) -> AsyncIterator[Subscription]:
    """The job's events; it is cancelled where it has not ended by then, for nobody could fetch it any more."""
    subscription: Subscription | None = None
    try:
        subscription = await desk.listen(visit, job.id)
        yield subscription
    finally:
        if subscription is not None:
            subscription.close()
        if (subscription is None or not subscription.is_over) and job.idempotency_key is None:
            with contextlib.suppress(DarkroomError):  # the store is away: the job runs for nothing
                await desk.cancel(visit, job.id)


async def _to_the_end(subscription: Subscription) -> None:
    async for _ in subscription.events(BEAT_S):
        pass


async def _offered(here: Visit, model: str | None) -> Offered:
    """The model that was named, else the default: these clients may not know that there are several."""
    offers = here.gateway.offers
    name = offers.entry(model).name if model else offers.default
    known = offers.known(name)
    return known if known is not None else await here.gateway.threads.files(offers.read, name)


def _image_of(form: Form) -> bytes:
    image = form.one("image")
    if image is None:
        raise BadInput("image must be given, as a file", field="image")
    return image


async def _mask_of(here: Visit, image: bytes, mask: bytes | None) -> bytes | None:
    """Ours is white where theirs is transparent; without one the picture's own transparency is it."""
    transparent = here.gateway.pictures.transparent
    if mask is None:
        return await here.gateway.threads.files(transparent, image, "image")
    found = await here.gateway.threads.files(transparent, mask, "mask")
    if found is None:
        raise BadInput("mask is nowhere wholly transparent: what is to be painted anew must be", field="mask")
    return found
