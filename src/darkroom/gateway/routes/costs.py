"""What the fleet was paid for, for operators."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel
from starlette.responses import Response

from ...errors import BadInput, StoreUnavailable
from ...fleet.cost import By, told
from ...jobs.allowances import COSTS_KEPT_DAYS, DAY_S, day_of
from ..moments import rfc3339
from ..parts import OperatorHere
from ..refusals import Answer, refusals

router = APIRouter(prefix="/v1/fleet", tags=["workers"])


class CostPart(BaseModel):
    """What a part of the workers' time went to: jobs, uncharged, between, load, start or idle; US dollars."""

    part: str
    seconds: float
    usd: float


class CostRow(BaseModel):
    """What jobs took, and what workers were paid for: the latter of pools and days alone, null of others."""

    name: str
    jobs: int
    images: int
    device_s: float
    cost_usd: float
    cost_per_image: float | None
    cost_per_1000_images: float | None
    paid_s: float | None
    paid_usd: float | None
    paid_per_image: float | None
    idle_share: float | None
    parts: list[CostPart]


class CostAnswer(BaseModel):
    """Days of UTC from `since` to `at`, the last one not over."""

    at: str
    since: str
    days: int
    by: By
    rows: list[CostRow]
    total: CostRow


@router.get("/cost", response_model=CostAnswer, responses=refusals(BadInput, StoreUnavailable))
async def cost(
    here: OperatorHere,
    days: Annotated[
        int, Query(ge=1, le=COSTS_KEPT_DAYS, description="how many days of UTC, today the last of them")
    ] = 7,
    by: Annotated[By, Query(description="what a row stands for")] = By.POOL,
) -> Response:
    """What workers were paid for and what for; a heartbeat old. What a job took counts on the day it ended."""
    gateway, now = here.gateway, here.gateway.clock()
    since = day_of(now) - days + 1
    times = await gateway.threads.store(gateway.store.worker_times, since)
    charges = await gateway.threads.store(gateway.store.charges, since)
    said = {"at": rfc3339(now), "since": rfc3339(since * DAY_S), "days": days}
    return Answer({**said, **told(times, charges, by, lambda day: str(rfc3339(day * DAY_S))[:10])})
