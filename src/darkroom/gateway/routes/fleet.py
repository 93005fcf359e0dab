"""The fleet in figures, for operators."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel
from starlette.responses import Response

from ...errors import BadInput, StoreUnavailable
from ..parts import OperatorHere
from ..refusals import Answer, refusals

router = APIRouter(prefix="/v1/fleet", tags=["workers"])
LONGEST_S = 7 * 24 * 3600


class QueuedModel(BaseModel):
    """A model's part of the queue; `oldest_s` is null where nothing waits, or too much to look at each."""

    model: str
    queued: int
    running: int
    oldest_s: float | None


class QueueAnswer(BaseModel):
    """What waits (`depth`), runs and is scheduled; `oldest_s`: how long the oldest has waited."""

    depth: int
    running: int
    scheduled: int
    oldest_s: float | None
    by_model: list[QueuedModel]


class Ended(BaseModel):
    """Jobs that ended, by how; seconds from acceptance (or `run_at`) to the end of those that succeeded."""

    succeeded: int
    failed: int
    cancelled: int
    images: int
    device_s: float
    cost_usd: float
    p50_s: float | None
    p90_s: float | None
    p99_s: float | None


class Bucket(Ended):
    """A sixtieth of the window that begins `at`."""

    at: str


class Totals(Ended):
    """The whole window; US dollars."""

    jobs: int
    cost_per_hour: float
    cost_per_image: float | None


class TenantUse(BaseModel):
    """What a tenant's jobs took in the window, and what it has live."""

    tenant: str
    jobs: int
    images: int
    device_s: float
    cost_usd: float
    queued: int
    running: int


class FailedJob(BaseModel):
    """A job that failed."""

    at: str
    job_id: str
    tenant: str
    model: str
    code: str
    message: str


class ScalerAnswer(BaseModel):
    """Who scales the fleet, as told `at`; `is_fresh`: it still does. `fault`: what keeps it from doing so."""

    at: str
    driver: str
    policy: str
    is_fresh: bool
    fault: str | None


class PoolWorker(BaseModel):
    """A worker that the fleet asked for, `since`; its phase is starting, ready or leaving."""

    id: str
    phase: Literal["starting", "ready", "leaving"]
    since: str


class PoolAnswer(BaseModel):
    """A pool: `wanted` workers (null: not decided yet) for `reasons`, since `decided_at`, and those it has.

    `ready_s`: what a worker takes until it serves, as learned; `next_ready_s` how long until the one under way does.
    """

    name: str
    device: str
    is_spot: bool
    price_per_hour_usd: float
    models: list[str]
    min_workers: int
    max_workers: int
    wanted: int | None
    running: int
    starting: int
    leaving: int
    ready_s: float
    next_ready_s: float | None
    decided_at: str | None
    reasons: list[str]
    workers: list[PoolWorker]


class FleetAnswer(BaseModel):
    """The last `window_s` seconds; `is_partial`: more jobs than are looked at, so that the oldest are left out.

    `scaler` and `pools` where workers come and go with the work.
    """

    at: str
    window_s: float
    is_partial: bool
    queue: QueueAnswer
    series: list[Bucket]
    totals: Totals
    tenants: list[TenantUse]
    errors: list[FailedJob]
    scaler: ScalerAnswer | None
    pools: list[PoolAnswer]


@router.get("", response_model=FleetAnswer, responses=refusals(BadInput, StoreUnavailable))
async def fleet(
    here: OperatorHere,
    window_s: Annotated[int, Query(ge=60, le=LONGEST_S, description="how far to look back, in seconds")] = 3600,
) -> Response:
    """Queue, throughput, latency, cost, use by tenant, latest failures, pools; a few seconds old at the most."""
    return Answer(await here.gateway.fleet_looks.now(window_s))
