"""Workers, for operators."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from ...errors import BadInput, NotFound, StoreUnavailable
from .. import answers, schemas
from ..ids import check_id
from ..parts import Here
from ..refusals import Answer, refusals

router = APIRouter(prefix="/v1/workers", tags=["workers"])


@router.get("", response_model=schemas.WorkerList, responses=refusals(BadInput, StoreUnavailable))
async def list_workers(
    here: Here,
    ticks: Annotated[bool, Query(description="have workers tell of their batches for the next half minute")] = False,
) -> Response:
    """The workers heard of within a lease."""
    here.caller.check_operator()
    gateway = here.gateway
    if ticks:
        await gateway.watching.look()
    since = gateway.clock() - gateway.parts.settings.serve.lease_s
    found = await gateway.threads.store(gateway.store.workers, since)
    return Answer({"object": "list", "data": [answers.worker(report) for report in found]})


@router.post(
    "/{worker_id}/drain",
    status_code=202,
    response_model=schemas.DrainAnswer,
    responses=refusals(NotFound, StoreUnavailable),
)
async def drain(here: Here, worker_id: str) -> Response:
    """Ask a worker to take no more jobs, finish what it can, and end."""
    here.caller.check_operator()
    gateway = here.gateway
    if not await gateway.threads.store(gateway.store.ask_drain, check_id(worker_id, "worker")):
        raise NotFound(f"there is no worker {worker_id!r}", field="worker_id")
    return Answer({"id": worker_id, "state": "draining"}, 202)
