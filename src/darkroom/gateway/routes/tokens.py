"""Short-lived tokens for browsers, and what the caller's own key may use and has used."""

from __future__ import annotations

import math
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.responses import Response

from ...core import Allowance, Usage
from ...errors import StoreUnavailable
from ...jobs.allowances import DAY_S, day_of
from .. import tokens
from ..access import Caller
from ..moments import rfc3339
from ..parts import Here
from ..refusals import Answer, refusals

router = APIRouter(prefix="/v1", tags=["keys"])
NOT_KEPT = {"Cache-Control": "no-store"}


class TokenAnswer(BaseModel):
    """A token for `?token=`, on GET and on WebSocket."""

    token: str
    expires_at: str


class LimitsAnswer(BaseModel):
    """What the key may use; null: as much as it wants. Days are of UTC."""

    jobs_per_minute: int | None
    live_jobs: int | None
    device_s_per_day: float | None
    usd_per_day: float | None


class UsedAnswer(BaseModel):
    """Jobs that wait or run, and today's device seconds and US dollars, the predicted ones of live jobs among them."""

    live_jobs: int
    device_s: float
    usd: float


class UsageAnswer(BaseModel):
    """The caller's key, or a person who signed in (`key_id` is null); of others nothing is counted, `used` is null."""

    key_id: str | None
    tenant: str
    priority_class: str
    weight: float
    limits: LimitsAnswer
    used: UsedAnswer | None
    next_job_at: str | None
    resets_at: str


@router.post("/tokens", status_code=201, response_model=TokenAnswer, responses=refusals())
async def create(here: Here) -> Response:
    """A token for URLs that a browser opens without headers: events, WebSocket, pictures. It dies with your key."""
    here.caller.check_no_guest()  # a token dies with a key, and guests have none
    gateway = here.gateway
    expires_at = math.floor(gateway.clock() + gateway.parts.settings.serve.token_s)
    token = tokens.mint(gateway.signer, here.caller, expires_at)
    return Answer({"token": token, "expires_at": rfc3339(expires_at)}, 201, NOT_KEPT)


@router.get("/usage", response_model=UsageAnswer, responses=refusals(StoreUnavailable))
async def usage(here: Here) -> Response:
    """What your key may use, what it has used, and when it may use more."""
    gateway, now = here.gateway, here.gateway.clock()
    used = None
    if here.caller.account:
        used = await gateway.threads.store(gateway.store.usage, here.caller.account, now)
    return Answer(told(here.caller, used, now), 200, NOT_KEPT)


def told(caller: Caller, used: Usage | None, now: float) -> dict[str, Any]:
    """A key's usage as JSON."""
    return {
        "key_id": caller.key_id or None,
        "tenant": caller.tenant,
        "priority_class": caller.priority_class,
        "weight": caller.weight,
        "limits": limits_of(caller.allowance),
        "used": None if used is None else used_of(used),
        "next_job_at": rfc3339(used.next_job_at) if used is not None and used.next_job_at > now else None,
        "resets_at": rfc3339((day_of(now) + 1) * DAY_S),
    }


def limits_of(allowance: Allowance) -> dict[str, Any]:
    """The limits by name."""
    return {name: getattr(allowance, name) for name in LimitsAnswer.model_fields}


def used_of(used: Usage) -> dict[str, Any]:
    """What was used by name."""
    return {"live_jobs": used.live_jobs, "device_s": round(used.device_s, 3), "usd": round(used.cost_usd, 6)}
