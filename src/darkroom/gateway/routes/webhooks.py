"""Webhooks: what they are signed with, which calls a job has made, and one more try."""

from __future__ import annotations

import math

from fastapi import APIRouter
from starlette.responses import Response

from ...core import Delivery, WebhookSecret
from ...errors import Conflict, NotFound, StoreUnavailable, TooBusy
from .. import schemas
from ..ids import check_id
from ..moments import rfc3339
from ..parts import Here, Visit
from ..refusals import Answer, refusals
from ..webhooks import previous_until, shown_secret, told

ASKED = "asked for again"
ASK_EVERY_S = 30.0

router = APIRouter(prefix="/v1", tags=["webhooks"])


@router.get("/webhooks/default/secret", response_model=schemas.WebhookSecret, responses=refusals(StoreUnavailable))
async def secret(here: Here) -> Response:
    """The secret of the caller's tenant. It stays until it is rotated, or the server's own secret goes."""
    here.caller.check_no_token()
    return _shown(here, await here.gateway.threads.store(here.gateway.store.webhook_secret, here.caller.tenant))


@router.post(
    "/webhooks/default/secret/rotate", response_model=schemas.WebhookSecret, responses=refusals(StoreUnavailable)
)
async def rotate(here: Here) -> Response:
    """A new secret for the caller's tenant. For a day calls are signed with both; an older one counts no more."""
    here.caller.check_no_token()
    gateway, tenant = here.gateway, here.caller.tenant
    known = await gateway.threads.store(gateway.store.webhook_secret, tenant)
    now = gateway.clock()
    rotated = await gateway.threads.store(gateway.store.rotate_webhook_secret, tenant, known.number, now)
    return _shown(here, rotated)


def _shown(here: Visit, secret: WebhookSecret) -> Response:
    gateway, until = here.gateway, previous_until(secret)
    key = gateway.signer.webhook_key(here.caller.tenant, secret.number)
    said = {
        "key": shown_secret(key),
        "previous_until": rfc3339(until) if until is not None and gateway.clock() < until else None,
    }
    return Answer(said, 200, {"Cache-Control": "no-store"})


@router.get(
    "/jobs/{job_id}/webhooks", response_model=schemas.DeliveryList, responses=refusals(NotFound, StoreUnavailable)
)
async def list_deliveries(here: Here, job_id: str) -> Response:
    """A job's webhook calls with their attempts; none yet for events that have not happened. Their URLs are secrets."""
    here.caller.check_no_token()
    return Answer({"object": "list", "data": [told(each) for each in await _deliveries(here, job_id)]})


@router.post(
    "/jobs/{job_id}/webhooks/{delivery_id}/retry",
    status_code=202,
    response_model=schemas.DeliveryAnswer,
    responses=refusals(NotFound, Conflict, TooBusy, StoreUnavailable),
)
async def retry(here: Here, job_id: str, delivery_id: str) -> Response:
    """Try once more, now: a call that was given up, or that waits for its next attempt."""
    check_id(delivery_id, "webhook call")
    found = next((each for each in await _deliveries(here, job_id) if each.id == delivery_id), None)
    if found is None:
        raise NotFound(f"there is no webhook call {delivery_id!r}", field="delivery_id")
    if found.state == "delivered":
        raise Conflict("it has been delivered; its receiver has it", field="delivery_id")
    gateway, now = here.gateway, here.gateway.clock()
    _check_pace(found, now)
    made = {"at": now, "status": None, "error": ASKED}
    noted = await gateway.threads.store(gateway.store.note_delivery, delivery_id, made, now, is_delivered=False)
    if noted is None:
        raise NotFound(f"there is no webhook call {delivery_id!r}", field="delivery_id")
    gateway.sender.wake()
    return Answer(told(noted), 202)


def _check_pace(delivery: Delivery, now: float) -> None:
    """Who may ask again and again could make us call a receiver as fast as they like."""
    asked_at = max((made["at"] for made in delivery.attempts if made["error"] == ASKED), default=-math.inf)
    if 0 <= now - asked_at < ASK_EVERY_S:
        error = TooBusy(f"it was asked for again less than {ASK_EVERY_S:g} s ago", field="delivery_id")
        error.retry_after_s = asked_at + ASK_EVERY_S - now
        raise error


async def _deliveries(here: Visit, job_id: str) -> list[Delivery]:
    await here.check(job_id)
    return await here.gateway.threads.store(here.gateway.store.deliveries, job_id)
