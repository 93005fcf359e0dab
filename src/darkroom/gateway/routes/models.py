"""What can be asked for."""

from __future__ import annotations

import copy
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from ...errors import StoreUnavailable, UnknownModel
from ...models.form import Field, Form
from ...models.kinds import OF_SIGHT, OF_SOUNDS, OF_VIDEOS
from ...models.layout import Layout
from ...models.offer import IMAGE_TO_IMAGE, INPAINT, Offer
from ...models.pipelines import refused_by
from ...models.request import ALWAYS
from ...models.solvers import max_steps
from ...models.weighting import takes_weights
from .. import schemas
from ..forecast import READY
from ..input_schema import INPUT_SCHEMA, WEIGHT
from ..offers import Offers
from ..parts import AnyHere, Visit
from ..refusals import Answer, refusals

router = APIRouter(prefix="/v1", tags=["models"])
OWNER = "darkroom"
# Inputs of models that have a piece that others lack.
PIECES = {
    "has_controlnet": ("control_image", "controlnet_conditioning_scale"),
    "has_ip_adapter": ("ip_adapter_image", "ip_adapter_scale"),
    "has_refiner": ("denoising_end",),
}


@router.get("/models", response_model=schemas.ModelList, responses=refusals(StoreUnavailable))
async def list_models(here: AnyHere) -> Response:
    """The models that jobs can be made for, in the shape of OpenAI's list."""
    gateway, loaded = here.gateway, await _loaded(here)
    names = list(gateway.offers.entries)
    data = await gateway.threads.files(lambda: [_model(gateway.offers, name, loaded) for name in names])
    return Answer({"object": "list", "data": data})


@router.get(
    "/models/{model}",
    response_model=schemas.OneModelAnswer,
    responses=refusals(UnknownModel, StoreUnavailable),
)
async def show(here: AnyHere, model: str) -> Response:
    """One model: what a job's input may hold for it, and the hash of its files."""
    offers, loaded = here.gateway.offers, await _loaded(here)
    return Answer(await here.gateway.threads.files(_whole_model, offers, offers.entry(model).name, loaded))


async def _loaded(here: Visit) -> set[str]:
    outlook = await here.gateway.forecast.now()
    return {model for worker in outlook.workers if worker.state == READY for model in worker.loaded}


def _model(offers: Offers, name: str, loaded: set[str]) -> dict[str, Any]:
    problem = offers.problem(name)
    offer = None if problem else offers.listed(name)
    return {
        "id": name,
        "object": "model",
        "created": _made_at(offers, name),
        "owned_by": OWNER,
        **(_offer(offer) if offer else _nothing()),
        "adapters": list(offer.adapters) if offer else [],
        **{piece: offer is not None and getattr(offer, piece) for piece in PIECES},
        "is_loaded": name in loaded,
        "problem": problem,
    }


def _whole_model(offers: Offers, name: str, loaded: set[str]) -> dict[str, Any]:
    said = _model(offers, name, loaded)
    offer = offers.listed(name) if offers.known(name) else None
    schema = schema_of(offer) if offer else INPUT_SCHEMA
    layout = _layout(offer.layout) if offer and offer.form is None else None
    return {**said, "revision": offers.revision(name), "input": schema, "layout": layout}


def schema_of(offer: Offer) -> dict[str, Any]:
    """The JSON schema of a job's input for one model."""
    if offer.form is not None:
        return _schema_of_form(offer.form)
    schema = copy.deepcopy(INPUT_SCHEMA)
    fields = schema["properties"]
    fields["num_inference_steps"]["maximum"] = max_steps(None, offer.layout.scheduler)
    if offer.solvers:
        fields["solver"]["enum"] = list(offer.solvers)
    else:
        del fields["solver"]
    fields["preset"]["enum"] = list(offer.presets)
    fields["adapters"] |= {"properties": dict.fromkeys(offer.adapters, WEIGHT), "additionalProperties": False}
    for name in _not_taken(offer):
        del fields[name]
    if offer.layout.longest_s:
        fields["audio_end_in_s"] |= {"maximum": offer.layout.longest_s, "default": offer.layout.longest_s}
        return schema
    if offer.moving:
        fields["num_frames"]["default"] = offer.moving.frames
        fields["frame_rate"]["default"] = offer.moving.rate
    fields["width"]["default"], fields["height"]["default"] = offer.default_size
    for name, at in (("width", 0), ("height", 1)):
        fields[name]["multipleOf"] = offer.layout.size_multiple
        if offer.sizes:
            fields[name]["enum"] = sorted({size[at] for size in offer.sizes})
    return schema


def _schema_of_form(form: Form) -> dict[str, Any]:
    """Of a plain pipeline: its function's parameters, and what every model takes."""
    general = INPUT_SCHEMA["properties"]
    own = {name: field.schema() | _picture_said(field) for name, field in form.fields.items()}
    return {
        "type": "object",
        "description": form.description,
        "required": [name for name, field in form.fields.items() if field.is_required],
        "additionalProperties": False,
        "properties": {**own, **{name: general[name] for name in (*ALWAYS, "reproducible")}},
    }


def _picture_said(field: Field) -> dict[str, Any]:
    is_bare = field.kind == "picture" and not field.description
    return {"description": INPUT_SCHEMA["properties"][field.name]["description"]} if is_bare else {}


def _not_taken(offer: Offer) -> set[str]:
    """Inputs that it takes for none of its tasks."""
    without = {name for piece, names in PIECES.items() if not getattr(offer, piece) for name in names}
    without |= set() if offer.moving else {*OF_VIDEOS}
    without |= set() if takes_weights(offer.layout.pipeline) else {"prompt_style"}
    without |= {*OF_SIGHT} if offer.layout.longest_s else {*OF_SOUNDS}
    without |= set() if INPAINT in offer.tasks else {"mask_image", "outpaint"}
    without |= set() if {IMAGE_TO_IMAGE, INPAINT} & {*offer.tasks} else {"image", "strength"}
    without |= {"strength"} if offer.looks_at_image else set()
    refused = {refused_by(offer.layout.pipeline, task) for task in offer.tasks}
    return {*without, *(name for name in refused if name is not None and len(refused) == 1)}


def _offer(offer: Offer) -> dict[str, Any]:
    return {
        "tasks": list(offer.tasks),
        "sizes": [list(size) for size in offer.sizes],
        "default_size": list(offer.default_size),
        "solvers": list(offer.solvers),
        "presets": {name: preset.model_dump() for name, preset in offer.presets.items()},
    }


def _layout(layout: Layout) -> dict[str, Any]:
    """For a gateway that forwards to this one: from it follows what fits the model."""
    return {
        "pipeline": layout.pipeline,
        "scheduler": dict(layout.scheduler),
        "size_multiple": layout.size_multiple,
        "native_size": list(layout.native_size),
        "frame_step": layout.frame_step,
        "longest_s": layout.longest_s,
    }


def _nothing() -> dict[str, Any]:
    return {"tasks": [], "sizes": [], "default_size": None, "solvers": [], "presets": {}}


def _made_at(offers: Offers, name: str) -> int:
    """Seconds since the epoch, as OpenAI has it: when its files came here."""
    entry = offers.entry(name)
    function = entry.settings.function if entry.is_plain else None
    path = function[0] if function else entry.settings.file or entry.folder
    return int(path.stat().st_mtime) if path is not None and path.exists() else 0
