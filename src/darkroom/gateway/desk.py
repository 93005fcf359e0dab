"""What every dialect does with jobs: accept, show, follow, cancel, remove."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

from ..core import Event, Job
from ..errors import (
    DarkroomError,
    JobNotFinal,
    NotFound,
    StorageUnavailable,
    StoreUnavailable,
    TooBusy,
    Unauthorised,
    Unavailable,
)
from ..storage.objects import prefix_for_outputs
from ..storage.tapes import remove_tapes
from . import answers
from .admission import Accepted
from .door import Admitted, Wish
from .events import Subscription
from .forecast import Place
from .parts import Visit
from .refusals import Answer
from .streams import BEAT_S, EventStream
from .wide import WideSubscription, follow_all

log = logging.getLogger(__name__)
REMOVE_WAIT_S = 10.0  # for a worker to stop a job that is to be removed; a step is shorter than that


async def accept(visit: Visit, wish: Wish) -> Accepted:
    """Judge a wish and make it a durable job."""
    await visit.gateway.forecast.now()
    accepted = await _repeated(visit, wish) or await _admitted(visit, wish)
    job = accepted.job
    visit.named["job_id"] = job.id
    log.info("job_accepted", extra={"job_id": job.id, "tenant": job.tenant, "model": job.model, "steps": job.steps})
    return accepted


async def _repeated(visit: Visit, wish: Wish) -> Accepted | None:
    """What the wish was accepted as before: it is not judged anew, for what it names may be gone or past by now."""
    key = wish.idempotency_key
    return None if key is None else await visit.gateway.intake.known(visit.caller.tenant, key, wish.digest)


async def _admitted(visit: Visit, wish: Wish) -> Accepted:
    admitted = await visit.gateway.door.admit(wish, visit.caller, visit.request_id)
    try:
        accepted = await visit.gateway.intake.insert(replace(admitted.job, traceparent=visit.traceparent))
    except Unavailable:
        raise  # it may be stored all the same
    except DarkroomError:
        await _forget(visit, admitted)
        raise
    if accepted.is_repeat:
        await _forget(visit, admitted)
    return accepted


async def _forget(visit: Visit, admitted: Admitted) -> None:
    """Of a job that did not come to be, the pictures that came with it."""
    if admitted.uploads:
        await visit.gateway.threads.files(visit.gateway.pictures.forget, admitted.uploads)


async def told(visit: Visit, job: Job, place: Place) -> dict[str, Any]:
    """The job as JSON."""
    [said] = await told_all(visit, [job], [place])
    return said


async def told_all(visit: Visit, jobs: Sequence[Job], places: Sequence[Place]) -> list[dict[str, Any]]:
    """Jobs as JSON; in a thread where URLs must be signed, for an object store may have to be asked for that."""
    outlook = await visit.gateway.forecast.now()

    def tell() -> list[dict[str, Any]]:
        return [visit.answers.job(job, place, outlook) for job, place in zip(jobs, places, strict=True)]

    is_slow = visit.gateway.storage.can_sign and any(job.outputs for job in jobs)
    return await visit.gateway.threads.files(tell) if is_slow else tell()


async def show(visit: Visit, job_id: str) -> dict[str, Any]:
    """The job of that id as JSON."""
    return await told(visit, *await visit.find(job_id))


async def wait(visit: Visit, job_id: str, wait_s: float) -> bool:
    """Wait for a job's end; whether it came in time. Raises `Unauthorised` where the caller's key ends before."""
    try:
        subscription = await listen(visit, job_id, waits=True)
    except TooBusy:
        return False  # the job is accepted, and a wait is a wish
    try:
        async with asyncio.timeout(wait_s):
            async for _ in subscription.events(min(wait_s, BEAT_S)):
                pass
    except TimeoutError:
        return False
    finally:
        subscription.close()
    if not subscription.is_over:
        await check_welcome(visit)
    return subscription.is_over


async def follow(visit: Visit, job_id: str, after: int) -> Subscription:
    """The caller's place in a job's events."""
    await visit.check(job_id)
    return await listen(visit, job_id, after)


async def listen(visit: Visit, job_id: str, after: int = 0, *, waits: bool = False) -> Subscription:
    """The same for a job that is known to be the caller's; it ends with the key that the caller came in with."""
    feed, crowd = visit.gateway.feed, visit.caller.crowd
    return await feed.subscribe(job_id, after, visit.is_welcome, crowd, waits=waits)


async def follow_jobs(visit: Visit, after: int | None, is_of_all: bool) -> WideSubscription:
    """The caller's place in the events of all their jobs, or of everybody's; `after` None: from now on."""
    if is_of_all:
        visit.caller.check_operator()
    whose = None if is_of_all else visit.caller.tenant
    return await follow_all(visit.gateway.feed, whose, after, visit.is_welcome, visit.caller.crowd)


async def check_welcome(visit: Visit) -> None:
    """Raise `Unauthorised` where the key that it came with opens nothing any more."""
    if not await visit.is_welcome():
        raise Unauthorised("the key was revoked or has expired")


def stream(visit: Visit, job_id: str, subscription: Subscription) -> EventStream | Answer:
    """Events as SSE; 204 for a client that has had them all, which tells a browser not to come back."""
    if subscription.has_nothing and subscription.after > 0:
        subscription.close()
        return Answer(None, 204)
    return EventStream(subscription, sayer(visit, job_id))


def sayer(visit: Visit, job_id: str) -> Callable[[Event], Awaitable[dict[str, Any]]]:
    """How a job's events are told: with URLs, and with the place in the queue as it is now."""

    async def say(event: Event) -> dict[str, Any]:
        if event.type == "queued":
            return answers.event(event, await _place_of(visit, job_id))
        if event.type == "output":
            return answers.event(event, await _picture_of(visit, event))
        return answers.event(event, {})

    return say


def wide_sayer(visit: Visit) -> Callable[[Event], Awaitable[dict[str, Any]]]:
    """How events of many jobs are told: nothing is looked up for one of them, so `queued` says no place."""

    async def say(event: Event) -> dict[str, Any]:
        extra = {"url": visit.answers.own_url(event.data["artifact_id"])} if event.type == "output" else {}
        return answers.event(event, extra)

    return say


async def remove(visit: Visit, job_id: str) -> Job | None:
    """Remove a job and its artifacts, a live one once it is cancelled. None: it is gone; a job: it still runs.

    The bytes go first: a row that outlives them can be removed again, bytes without a row would stay for ever.
    """
    job = await visit.check(job_id)
    if not job.is_final:
        job = await cancel(visit, job_id)
        await visit.gateway.feed.settle()  # those who watch hear of its end before its events are gone
    if not job.is_final:
        await wait(visit, job_id, REMOVE_WAIT_S)
        job = await visit.check(job_id)
    if not job.is_final:
        return job
    try:
        await visit.gateway.threads.files(_remove, visit, job)
    except JobNotFinal:
        return job
    return None


async def cancel(visit: Visit, job_id: str) -> Job:
    """Ask for a job's end; the job as it is then."""
    await visit.check(job_id)
    job = await visit.gateway.threads.store(visit.gateway.store.cancel, job_id, visit.gateway.clock())
    if job is None:
        raise NotFound(f"there is no job {job_id!r}", field="job_id")
    if job.is_final and job.fence:  # it had begun, and no worker ends it
        await visit.gateway.threads.files(_forget_tapes, visit, job)
    return job


def _forget_tapes(visit: Visit, job: Job) -> None:
    with contextlib.suppress(StorageUnavailable):  # the keeper's sweep finds them
        remove_tapes(visit.gateway.storage, job.id)


def _remove(visit: Visit, job: Job) -> None:
    storage, store = visit.gateway.storage, visit.gateway.store
    lost_claims = storage.list(prefix_for_outputs(job.id))
    storage.delete(sorted({*lost_claims, *(artifact.key for artifact in job.outputs)}))
    store.delete(job.id)


async def _place_of(visit: Visit, job_id: str) -> dict[str, Any]:
    try:
        job, place = await visit.find(job_id)
    except (NotFound, StoreUnavailable):
        return {"position": None, "eta_s": None}
    eta_s = (await visit.gateway.forecast.now()).eta_s(job, place, visit.gateway.clock())
    return {
        "position": place[0] if place else None,
        "eta_s": answers.rounded(eta_s),
        "request_id": job.request_id,
    }


async def _picture_of(visit: Visit, event: Event) -> dict[str, Any]:
    """What an output event does not know: how to fetch it, by now."""
    try:
        found = await visit.gateway.threads.store(visit.gateway.store.artifact, event.data["artifact_id"])
        return {"url": None} if found is None else await visit.gateway.threads.files(visit.answers.artifact, found)
    except Unavailable:
        return {"url": None}
