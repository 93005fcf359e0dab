"""Adapters (LoRA) that jobs can name: listed, registered, removed."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from ...errors import BadInput, Conflict, NotFound, StorageUnavailable, StoreUnavailable, UnknownModel
from ...model_settings import MODEL_NAME, SAID_NAME
from ...models.adapters import Adapter
from .. import schemas
from ..offers import Offers
from ..parts import Here, OperatorHere, Visit
from ..refusals import Answer, refusals

router = APIRouter(prefix="/v1/adapters", tags=["adapters"])


@router.get("", response_model=schemas.AdapterList, responses=refusals())
async def list_adapters(here: Here) -> Response:
    """Those that ship, those of darkroom.toml, those that were registered, and those of other Darkrooms behind this."""
    gateway = here.gateway
    found = await gateway.threads.files(lambda: [_told(adapter) for adapter in gateway.offers.adapters()])
    return Answer({"object": "list", "data": found})


@router.post(
    "",
    status_code=201,
    response_model=schemas.AdapterAnswer,
    responses=refusals(BadInput, UnknownModel, Conflict, StoreUnavailable, StorageUnavailable),
)
async def register(here: OperatorHere, body: schemas.AdapterBody) -> Response:
    """Give an uploaded LoRA a name, for all gateways and workers that share the storage; for operators."""
    return Answer(await here.gateway.threads.files(_registered, here, body), 201)


@router.delete(
    "/{name}",
    status_code=204,
    responses=refusals(NotFound, Conflict, StorageUnavailable),
)
async def remove(here: OperatorHere, name: str) -> Response:
    """Forget a registered adapter; jobs that wait for it fail by its name. For operators."""
    if not MODEL_NAME.fullmatch(name):
        raise NotFound(f"no adapter {name[:64]!r} is registered", field="name")
    offers = here.gateway.offers
    if _is_set(offers, name):
        raise Conflict(f"adapter {name!r} ships, or is named in darkroom.toml: it goes there", field="name")
    await here.gateway.threads.files(offers.registered.remove, name)
    return Response(status_code=204)


def _registered(here: Visit, body: schemas.AdapterBody) -> dict[str, Any]:
    offers = here.gateway.offers
    if not MODEL_NAME.fullmatch(body.name):
        raise BadInput(f"name must have {SAID_NAME}, not {body.name!r}", field="name")
    model = offers.choose(body.model)
    if offers.entry(model).is_remote:
        raise BadInput(f"{model} runs on another Darkroom: register the adapter there", field="model")
    if offers.entry(model).is_plain:
        raise BadInput(f"{model} is a plain pipeline, which takes no adapters", field="model")
    if _is_set(offers, body.name):
        raise Conflict(f"an adapter {body.name!r} ships, or is named in darkroom.toml: take another name", field="name")
    data = here.gateway.pictures.adapter_file(body.artifact_id, here.caller)
    return _told(offers.registered.add(body.name, model, data))


def _is_set(offers: Offers, name: str) -> bool:
    return any(name in entry.adapters for entry in offers.entries.values())


def _told(adapter: Adapter) -> dict[str, Any]:
    problem = adapter.problem
    facts = None if problem else adapter.facts()
    return {
        "name": adapter.name,
        "object": "adapter",
        "model": adapter.model,
        "source": adapter.source,
        "digest": (facts.digest or None) if facts else None,
        "size": (facts.size or None) if facts else None,
        "problem": problem,
    }
