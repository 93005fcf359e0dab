"""For those who watch: is it there, can it make pictures, what does it count."""

from __future__ import annotations

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import Response

from ...errors import Unavailable
from ...fleet.told import fresh_note
from .. import schemas
from ..forecast import READY
from ..parts import At, Here
from ..refusals import Answer, refusals

router = APIRouter(tags=["health"])


@router.get("/healthz", response_model=schemas.Health, responses=refusals())
async def healthz() -> Response:
    """200 while this process answers; it asks nobody else, so that a store's outage does not restart the gateway."""
    return Answer({"status": "ok"})


@router.get("/readyz", response_model=schemas.Health, responses=refusals(Unavailable))
async def readyz(gateway: At) -> Response:
    """200 when the store answers and some worker has loaded and warmed a model, or the fleet starts one for a job."""
    since = gateway.clock() - gateway.parts.settings.serve.lease_s
    workers = await gateway.threads.store(gateway.store.workers, since)
    if any(worker.state == READY for worker in workers):
        return Answer({"status": "ready"})
    said = ", ".join(sorted({worker.state for worker in workers})) or "none is there"
    note = fresh_note(await gateway.threads.store(gateway.store.fleet_note), gateway.clock())
    if note is None or not note.can_start:
        fault = "; the fleet cannot start one" if note and note.fault else ""  # its words are for operators
        raise Unavailable(f"no worker is ready: {said}{fault}")
    return Answer({"status": "ready", "detail": f"jobs wait until the fleet has a worker ready: {said}"})


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        **refusals(),
        200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Prometheus' text format"},
    },
)
async def metrics(here: Here) -> Response:
    """What Prometheus scrapes; for operators."""
    here.caller.check_operator()
    gateway = here.gateway
    text = await gateway.threads.watch(generate_latest, gateway.parts.registry)
    return Response(text, media_type=CONTENT_TYPE_LATEST)
