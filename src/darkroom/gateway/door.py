"""From what a caller asked, in any dialect, to a job that lacks nothing.

It is validated, its seed drawn, its preset resolved, its pictures stored. What cannot be done is refused here, and not
later by a worker.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from ..config import Settings
from ..core import NewJob, effective_priority
from ..errors import BadInput, UnknownArgument
from ..models.form import Form
from ..models.offer import Offer
from ..models.pieces import check_pieces
from ..models.request import INPUTS, MAX_IMAGES, PICTURES, ImageRequest, inputs_of, refuse_unknown, validate
from ..safety import Rules, check_characters
from ..storage.encoding import format_for
from .access import Caller
from .fetches import Fetches
from .forecast import Forecast
from .ids import new_job_id
from .offers import Offered, Offers
from .pictures import Given, Pictures
from .threads import Threads
from .webhooks import FINAL, check_url

MAX_METADATA = 4096  # bytes of JSON
MAX_DEPTH = 8
HOUR_S = 3600.0
DRAWN_SEEDS = 2**53 - MAX_IMAGES  # JavaScript keeps whole numbers up to 2^53
CLOCK_SKEW_S = 60.0  # a client's "now" may be that far behind ours
FURTHEST_S = 366 * 24 * 3600.0
MAPS = ("adapters", "adapter_digests", "outpaint")  # inputs that are more than one value
INPUT_NAMES = (*(name for name in INPUTS if name != "task"), "reproducible")  # a job's task stands beside its input


@dataclass(frozen=True)
class Wish:
    """What a caller asks for; times are seconds since the epoch, `model` None is the only one served.

    `sent` is the request as it came, to tell whether an idempotency key is used again for something else.
    """

    inputs: Mapping[str, Any]
    model: str | None = None
    task: str | None = None
    priority: int = 0
    deadline_s: float | None = None
    run_at: float | None = None
    output: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    idempotency_key: str | None = None
    webhook: str | None = None
    webhook_events: tuple[str, ...] = FINAL
    sent: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def digest(self) -> str:
        """Of what was sent, where it has a key; a request may hold pictures, so it is made once."""
        return digest_of(self.sent) if self.idempotency_key else ""


@dataclass(frozen=True)
class Admitted:
    """A job to insert, and the uploads that were stored for it alone: they go where it is refused."""

    job: NewJob
    uploads: tuple[str, ...] = ()


@dataclass(frozen=True)
class Door:
    """Judges wishes."""

    settings: Settings
    offers: Offers
    pictures: Pictures
    forecast: Forecast
    threads: Threads
    clock: Callable[[], float]
    rules: Rules
    fetches: Fetches

    async def admit(self, wish: Wish, caller: Caller, request_id: str) -> Admitted:
        """The job to insert; raises `BadInput` or one of its kind, with the field and what is allowed."""
        now = self.clock()
        _check_metadata(wish.metadata)
        _check_times(wish, now)
        if wish.webhook is not None:
            caller.check_no_guest()
            check_url(wish.webhook, allow_private=self.settings.serve.allow_private_webhooks)
        offered = await self._offered(self.offers.choose(wish.model), wish.inputs.get("adapters"))
        inputs, is_reproducible = _check_inputs(wish.inputs, offered.offer.form)
        if offered.entry.is_remote:
            self.rules.check_remote(offered.entry.name, caller.tenant)
        if offered.offer.form is None:
            check_pieces(inputs, offered.offer)  # before a picture is fetched for nothing
        pictures = await self._pictures(inputs, caller)
        drawn = {"seed": random.randrange(DRAWN_SEEDS)}
        request = validate({**drawn, **inputs, **pictures, "task": wish.task}, offered.offer)
        check_characters(request.texts)
        self._check_rules(request, offered.offer, caller)
        said = wish.output
        chosen = format_for(request.kind, said.get("format"), said.get("quality"), offered.offer.model)
        wish = replace(wish, output={**said, "format": chosen})
        kept = await self.threads.files(self.pictures.keep_all, pictures, caller, now) if pictures else {}
        stored = {**request.settings(), "num_images_per_prompt": request.num_images_per_prompt, **kept}
        if request.adapter_digests:  # a worker then takes these files and no others
            stored["adapter_digests"] = dict(request.adapter_digests)
        job = self._job(wish, caller, request_id, request, offered, {**stored, "reproducible": is_reproducible})
        return Admitted(job, tuple(kept[name] for name in kept if pictures[name].artifact_id is None))

    def _check_rules(self, request: ImageRequest, offer: Offer, caller: Caller) -> None:
        """By the rules of the model, and of those that a plain pipeline calls: each of its texts may be a prompt."""
        if offer.form is None:
            for texts in (request.texts, request.words):
                self.rules.check_texts(texts, offer.model, caller.tenant)
            return
        for model in (offer.model, *offer.form.models):
            for name, text in request.texts.items():
                self.rules.check_texts({name: text}, model, caller.tenant, read_as="prompt")

    async def _offered(self, model: str, adapters: Any) -> Offered:
        """What the model offers; what was registered is listed only where none of the others is meant."""
        known = self.offers.known(model)
        offered = known if known is not None else await self.threads.files(self.offers.read, model)
        is_known = not isinstance(adapters, dict) or adapters.keys() <= offered.offer.adapters.keys()
        return offered if is_known else await self.threads.files(self.offers.with_registered, model)

    async def _pictures(self, inputs: Mapping[str, Any], caller: Caller) -> dict[str, Given]:
        if not any(inputs.get(name) is not None for name in PICTURES):
            return {}
        if self.pictures.must_fetch(inputs):
            return await self.fetches.run(caller, self.pictures.take_all, inputs, caller)
        return await self.threads.files(self.pictures.take_all, inputs, caller)

    def _job(
        self,
        wish: Wish,
        caller: Caller,
        request_id: str,
        request: ImageRequest,
        offered: Offered,
        stored: Mapping[str, Any],
    ) -> NewJob:
        now = self.clock()
        scale = scale_of(request, offered.offer)
        cost_s = self.forecast.cost_s(offered.entry.name, request.steps_to_run, rows_of(request), scale)
        return NewJob(
            id=new_job_id(),
            tenant=caller.tenant,
            model=offered.entry.name,
            task=request.task,
            input=stored,
            output=wish.output,
            metadata=wish.metadata,
            warnings=offered.warnings_for(request.texts) if request.prompt_style is None else (),
            priority=effective_priority(caller.priority_class, wish.priority),
            cost_s=cost_s,
            weight=caller.weight,
            steps=request.steps_to_run,
            max_attempts=self.settings.serve.max_attempts,
            deadline_at=None if wish.deadline_s is None else now + wish.deadline_s,
            run_at=None if wish.run_at is None or wish.run_at <= now else wish.run_at,
            webhook=wish.webhook,
            webhook_events=wish.webhook_events,
            idempotency_key=wish.idempotency_key,
            digest=wish.digest,
            request_id=request_id,
            key_id=caller.account,
            allowance=caller.allowance,
            cost_usd=cost_s * self.settings.serve.price_per_hour_usd / HOUR_S,
        )


def rows_of(request: ImageRequest) -> int:
    """Rows of one denoiser call: guidance above 1 asks for each image twice, with the prompt and without."""
    is_guided = request.guidance_scale is None or request.guidance_scale > 1.0
    return request.num_images_per_prompt * (2 if is_guided else 1)


def scale_of(request: ImageRequest, offer: Offer) -> float:
    """Its pixels, as a share of those of the model's default size; of a video those of all frames.

    1 for a sound, of which its model always makes the longest, and cuts it.
    """
    if request.width is None or request.height is None:
        return 1.0
    width, height = offer.default_size
    frames = 1.0 if offer.moving is None else (request.num_frames or 1) / offer.moving.frames
    return frames * request.width * request.height / (width * height)


def digest_of(sent: Mapping[str, Any]) -> str:
    """SHA-256 over a request, whatever the order of its fields."""
    return hashlib.sha256(json.dumps(sent, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _check_inputs(inputs: Mapping[str, Any], form: Form | None = None) -> tuple[dict[str, Any], bool]:
    """What was given without ours (null is the same as not given), and whether it is to be reproducible."""
    names = INPUT_NAMES if form is None else (*inputs_of(form), "reproducible")
    kept = {name: value for name, value in inputs.items() if value is not None}
    is_reproducible = kept.pop("reproducible", None)
    if not isinstance(is_reproducible, bool | None):
        raise BadInput("reproducible must be true or false", field="reproducible")
    for name, value in kept.items():
        if isinstance(value, dict | list) and name in names and name not in MAPS:
            raise BadInput(
                f"{name} must be one value, not {'a list' if isinstance(value, list) else 'an object'}", field=name
            )
    if "task" in kept:
        allowed = ", ".join(names)
        raise UnknownArgument(f"there is no input 'task': it stands beside input; allowed: {allowed}", field="task")
    refuse_unknown(kept, names)
    return kept, bool(is_reproducible)


def _check_metadata(metadata: Mapping[str, Any]) -> None:
    if _depth(metadata) > MAX_DEPTH:
        raise BadInput(f"metadata may be nested {MAX_DEPTH} deep at most", field="metadata")
    try:
        size = len(json.dumps(metadata, allow_nan=False, ensure_ascii=False).encode())
    except ValueError as error:  # UnicodeEncodeError is one
        raise BadInput("metadata must hold finite numbers and valid Unicode text only", field="metadata") from error
    if size > MAX_METADATA:
        raise BadInput(f"metadata must have at most {MAX_METADATA} bytes as JSON, not {size}", field="metadata")


def _depth(value: Any, at: int = 1) -> int:
    """How deep it is nested; stops looking once that is too deep."""
    if not isinstance(value, dict | list) or at > MAX_DEPTH:
        return at
    inner = value.values() if isinstance(value, dict) else value
    return max((_depth(each, at + 1) for each in inner), default=at)


def _check_times(wish: Wish, now: float) -> None:
    if wish.run_at is None:
        return
    if not now - CLOCK_SKEW_S <= wish.run_at <= now + FURTHEST_S:
        raise BadInput("run_at must lie in the future, and within a year", field="run_at")
    if wish.deadline_s is not None and now + wish.deadline_s <= wish.run_at:
        raise BadInput("deadline_s counts from acceptance and must end after run_at", field="deadline_s")
