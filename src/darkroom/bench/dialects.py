"""How a request is said to a service, and what its answer means: our own API, OpenAI's, or what a template tells of."""

from __future__ import annotations

import asyncio
import contextlib
import re
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from ..client.asking import Asking, asking_of, encoded
from ..client.asynchronous import AsyncClient
from ..client.hands import AsyncHands
from ..client.nouns import Job
from ..client.wire import Answer, Lost, Request
from ..errors import BadInput, DarkroomError, Unavailable
from .pictures import Picture, draw_mask, draw_start, kind_of
from .plan import TEXT_TO_IMAGE, Size, Wanted

Now = Callable[[], float]  # seconds since the plan's start
SILENT_S = 600.0  # so long a service that answers all at once may say nothing
OTHER_SIZE: Size = (512, 512)
USER = re.compile(r"^(https?://)[^/]*@", re.IGNORECASE)
CODE = re.compile(r"[\w.-]{1,60}", re.ASCII)  # of others: what is anything else would be shown to people as it is
INPUT_STATUSES = frozenset({400, 404, 405, 413, 415, 422})


@dataclass(frozen=True)
class Answered:
    """What came back; moments are of the plan's clock. `error` is why it is no success."""

    ended_s: float
    first_step_s: float | None = None
    images: int = 0
    device_s: float | None = None
    cost_usd: float | None = None
    error: DarkroomError | None = None


class Dialect(Protocol):
    """One service."""

    @property
    def name(self) -> str:
        """In a word."""

    @property
    def url(self) -> str:
        """Where the service is, without secrets: reports show it."""

    @property
    def asking(self) -> Asking | None:
        """How to reach it as Darkroom; None where nobody knows whether it is."""

    async def prepare(self, plan: Sequence[Wanted]) -> list[str]:
        """Bring there what the plan's requests need. What it cannot say as it was meant it names, a line each."""

    async def ask(self, wanted: Wanted, now: Now) -> Answered:
        """One request to its end. Raises `DarkroomError` where it is refused or lost."""

    async def close(self) -> None:
        """Let the connections go."""


class Native:
    """Our own API. `submitting` asks once: a refusal under load is a figure. `following` asks again: a stream that
    breaks is no end of its job."""

    name = "native"

    def __init__(self, submitting: AsyncClient, following: AsyncClient, asking: Asking | None = None) -> None:
        self._submitting, self._following, self.asking = submitting, following, asking
        self._pictures: dict[tuple[str | None, Size | None], dict[str, str]] = {}

    @property
    def url(self) -> str:
        """Where the service is."""
        return bare(self._submitting.url)

    async def prepare(self, plan: Sequence[Wanted]) -> list[str]:
        """Upload a picture, and a mask, of each size that a request starts from."""
        for wanted in plan:
            place = wanted.model, wanted.size
            if wanted.task != TEXT_TO_IMAGE and place not in self._pictures:
                size = wanted.size or await self._default_size(wanted.model)
                image = await self._following.upload(draw_start(size))
                mask = await self._following.upload(draw_mask(size))
                self._pictures[place] = {"image": image, "mask_image": mask}
        return []

    async def _default_size(self, model: str | None) -> Size:
        found = await self._following.models() if model is None else [await self._following.model(model)]
        return (found[0].default_size if found else None) or OTHER_SIZE

    async def ask(self, wanted: Wanted, now: Now) -> Answered:
        """Submit, follow to the last event, and fetch what the job made: it ends when all of that is here."""
        job = await self._submit(wanted)
        first_s, ended_s = None, now()
        try:
            async for event in self._following.events(job):
                ended_s = now()
                if first_s is None and event.type == "progress":
                    first_s = ended_s
        except asyncio.CancelledError:
            await self._leave(job)
            raise
        ended = await self._following.get(job)
        error = _ended_by(ended) or too_few(len(ended.outputs), wanted)
        if error is None:
            await asyncio.gather(*(self._following.download(output) for output in ended.outputs))
            ended_s = now()
        metrics = ended.metrics
        return Answered(ended_s, first_s, len(ended.outputs), metrics.get("device_s"), metrics.get("cost_usd"), error)

    async def _submit(self, wanted: Wanted) -> Job:
        submitting = asyncio.ensure_future(self._submitting.submit(wanted.prompt, **self._wish(wanted)))
        try:
            return await asyncio.shield(submitting)
        except asyncio.CancelledError:
            with contextlib.suppress(DarkroomError):
                await self._leave(await submitting)  # the service may have it by now, and only the answer says its id
            raise

    def _wish(self, wanted: Wanted) -> Any:
        needed = {"image-to-image": ("image",), "inpaint": ("image", "mask_image")}.get(wanted.task, ())
        pictures = self._pictures.get((wanted.model, wanted.size), {})
        width, height = wanted.size or (None, None)
        return {
            "model": wanted.model,
            "negative_prompt": wanted.negative_prompt,
            "num_inference_steps": wanted.steps,
            "num_images_per_prompt": wanted.images,
            "guidance_scale": wanted.guidance,
            "width": width,
            "height": height,
            "seed": wanted.seed,
            "adapters": dict.fromkeys(wanted.adapters, 1.0) or None,
            "metadata": {"tenant": wanted.tenant} if wanted.tenant else None,
            **{name: pictures[name] for name in needed},
        }

    async def _leave(self, job: Job) -> None:
        """Somebody pressed Ctrl-C: leave the service nothing to do for nobody."""
        with contextlib.suppress(DarkroomError):
            await self._following.cancel(job)

    async def close(self) -> None:
        """Let the connections go."""
        await self._submitting.aclose()
        await self._following.aclose()
        if self.asking is not None:
            await _close(self.asking)


class OpenAI:
    """OpenAI's Images API, ours or another's. Steps, seed, guidance and what else it has no word for go as the fields
    that most servers of it take; whoever leaves cancels."""

    name = "openai"

    def __init__(self, asking: Asking) -> None:
        self.asking = self._asking = asking

    @property
    def url(self) -> str:
        """Where the service is."""
        return bare(self._asking.url)

    async def prepare(self, plan: Sequence[Wanted]) -> list[str]:
        """Nothing is needed."""
        return as_text_alone(plan)

    async def ask(self, wanted: Wanted, now: Now) -> Answered:
        """One answer with all images; where it names a job of ours, its device seconds and cost too."""
        headers = {"Content-Type": "application/json"}
        content, silent_s = encoded(_openai_body(wanted)), SILENT_S
        request = self._asking.request(
            "POST", "/images/generations", headers=headers, content=content, timeout_s=silent_s
        )
        answer = await sent(self._asking.hands, request, bare(request.url))
        ended_s = now()
        images = len(pictures_in(answer, "data.*.b64_json"))
        metrics = await self._metrics(answer.headers.get("x-job-id"))
        few = too_few(images, wanted)
        return Answered(ended_s, None, images, metrics.get("device_s"), metrics.get("cost_usd"), few)

    async def _metrics(self, job_id: str | None) -> Mapping[str, Any]:
        with contextlib.suppress(DarkroomError):
            if job_id is not None:
                return Job.read(await self._asking.json("GET", f"/jobs/{job_id}")).metrics
        return {}

    async def close(self) -> None:
        """Let the connections go."""
        await _close(self._asking)


def open_native(url: str | None) -> Native:
    """Our own API at that URL, or where DARKROOM_URL says."""
    asking = asking_of(url, None, AsyncHands(), 30.0, 0)
    return Native(AsyncClient(url, retries=0), AsyncClient(url), asking)


def open_openai(url: str | None) -> OpenAI:
    """OpenAI's API at that URL, or where DARKROOM_URL says; the key is DARKROOM_API_KEY."""
    return OpenAI(asking_of(url, None, AsyncHands(), 30.0, 0))


async def sent(hands: Any, request: Request, shown_url: str) -> Answer:
    """The answer to a request that is made once; it and errors name `shown_url`, which holds no secret. Raises
    `Unavailable`, `BadInput` or another error with the code that the answer says or `http_` and its status."""
    try:
        answer: Answer = replace(await hands.send(request), url=shown_url)
    except Lost as lost:
        raise Unavailable(f"{shown_url} does not answer: {lost}") from lost
    if not answer.is_success:
        raise _refused(answer)
    return answer


def pictures_in(answer: Answer, place: str) -> list[Picture]:
    """The pictures of an answer: `body` is one by itself, else `place` is a path into its JSON, `*` for each of a list,
    where pictures stand in base64. Raises `DarkroomError` with the code `no_image` where there is none."""
    if place == "body":
        found = [answer.content]
    else:
        try:
            found = [_decoded(said) for said in _reached(answer.json(), place.split("."))]
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise _no_image(answer, f"has no picture at {place}: {error}") from None
    kinds = [kind_of(content) for content in found]
    if not found or None in kinds:
        raise _no_image(answer, f"has at {place} no PNG, JPEG, WebP or GIF")
    return [Picture(kind or "", content) for kind, content in zip(kinds, found, strict=True)]


def too_few(images: int, wanted: Wanted) -> DarkroomError | None:
    """The failure of an answer with fewer images than were asked for, with the code `too_few_images`."""
    if images >= wanted.images:
        return None
    return _coded(DarkroomError(f"{images} images came of the {wanted.images} asked for"), "too_few_images")


def bare(url: str) -> str:
    """A URL to show: no user, no password, no query and no fragment."""
    return USER.sub(r"\1", re.split(r"[?#]", url)[0])


def as_text_alone(plan: Sequence[Wanted]) -> list[str]:
    """What to say where pictures cannot be sent."""
    others = sum(wanted.task != TEXT_TO_IMAGE for wanted in plan)
    return [f"{others} requests of other tasks are sent as text-to-image"] if others else []


def _openai_body(wanted: Wanted) -> dict[str, Any]:
    said = {
        "prompt": wanted.prompt,
        "model": wanted.model,
        "n": wanted.images,
        "size": None if wanted.size is None else f"{wanted.size[0]}x{wanted.size[1]}",
        "response_format": "b64_json",
        "negative_prompt": wanted.negative_prompt,
        "num_inference_steps": wanted.steps,
        "guidance_scale": wanted.guidance,
        "seed": wanted.seed,
        "adapters": dict.fromkeys(wanted.adapters, 1.0) or None,
    }
    return {name: value for name, value in said.items() if value is not None}


def _reached(said: Any, path: Sequence[str]) -> list[Any]:
    if not path:
        return [said]
    first, rest = path[0], path[1:]
    if first == "*":
        return [found for each in list(said) for found in _reached(each, rest)]
    return _reached(said[int(first)] if isinstance(said, list) else said[first], rest)


def _decoded(said: Any) -> bytes:
    if not isinstance(said, str):
        raise ValueError(f"{type(said).__name__} is no text in base64")
    whole = said.partition(",")[2] if said.startswith("data:") else said
    return b64decode("".join(whole.split()), validate=True)


def _no_image(answer: Answer, why: str) -> DarkroomError:
    return _coded(DarkroomError(f"the answer of {answer.url} {why}"), "no_image")


def _refused(answer: Answer) -> DarkroomError:
    said = answer.content[:300].decode(errors="replace").strip()
    message, code = f"{answer.url} answered {answer.status}: {said}", f"http_{answer.status}"
    try:
        error = answer.json()["error"]
        message = str(error["message"])
        code = str(error["code"]) if CODE.fullmatch(str(error.get("code") or "")) else code
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    return _coded((BadInput if answer.status in INPUT_STATUSES else DarkroomError)(message), code)


def _coded(error: DarkroomError, code: str) -> DarkroomError:
    error.code = code
    return error


def _ended_by(job: Job) -> DarkroomError | None:
    """Why a job did not succeed; None where it did."""
    try:
        job.raise_for_state()
    except DarkroomError as error:
        return error
    return None


async def _close(asking: Asking) -> None:
    if isinstance(asking.hands, AsyncHands):
        await asking.hands.close()
