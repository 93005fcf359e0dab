"""What a gateway is made of, and one request's visit to it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends
from prometheus_client import CollectorRegistry
from starlette.requests import HTTPConnection

from ..config import Settings
from ..core import Job, JobState
from ..errors import NotFound
from ..jobs.store import Store
from ..models.catalogue import Catalogue
from ..storage.objects import Storage
from .access import Caller, Identify, everyone_is_local
from .admission import Intake
from .answers import Addresses, Answers
from .door import Door
from .events import Feed, Hearer
from .forecast import Forecast, Place
from .ids import check_id
from .offers import Offers
from .pictures import Pictures
from .signing import Signer, read_secret
from .threads import Threads


@dataclass(frozen=True)
class Parts:
    """What the composition root hands in. `clock` gives seconds since the epoch; `hearers` are told of every job's
    events, in the thread that follows the store; `identify` says who asks."""

    settings: Settings
    store: Store
    storage: Storage
    catalogue: Catalogue
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    clock: Callable[[], float] = time.time
    identify: Identify = everyone_is_local
    hearers: Sequence[Hearer] = ()


class Gateway:
    """The parts at work. It keeps nothing that another gateway beside it would need to know."""

    def __init__(self, parts: Parts) -> None:
        serve = parts.settings.serve
        self.parts, self.store, self.storage, self.clock = parts, parts.store, parts.storage, parts.clock
        self.threads = Threads()
        self.signer = Signer(read_secret(parts.settings.home))
        self.offers = Offers(parts.catalogue, parts.settings)
        self.pictures = Pictures(parts.store, parts.storage, serve)
        self.forecast = Forecast(parts.store, self.threads, parts.clock, heard_within_s=serve.lease_s)
        self.door = Door(parts.settings, self.offers, self.pictures, self.forecast, self.threads, parts.clock)
        self.intake = Intake(parts.store, self.threads, self.forecast, serve.max_queued, parts.clock)
        self.feed = Feed(parts.store, self.threads, parts.hearers)

    async def start(self) -> None:
        """Begin to follow the store; call it on the event loop that serves."""
        self.feed.start()
        # So that the first request does not wait for a tokenizer to be read; `problem` raises nothing of ours.
        self._warming = asyncio.create_task(self.threads.files(self.offers.problem, self.offers.default))

    async def stop(self) -> None:
        """Streams first, for they wait on the tail; the tail and the pools last, for requests wait on them."""
        self.feed.let_go()
        await asyncio.wait([self._warming])
        await asyncio.to_thread(self.feed.stop)
        await asyncio.to_thread(self.threads.close)


@dataclass(frozen=True)
class Visit:
    """One request at the gateway: who asks, and how to answer."""

    gateway: Gateway
    caller: Caller
    answers: Answers
    request_id: str

    async def find(self, job_id: str) -> tuple[Job, Place]:
        """The caller's job and its place in the queue; raises `NotFound`, also where it is somebody else's."""
        return await self.gateway.threads.store(self._find, job_id)

    async def check(self, job_id: str) -> Job:
        """The same without its place."""
        job = await self.gateway.threads.store(self.gateway.store.get, check_id(job_id, "job"))
        return self._own(job, job_id)

    async def places(self, jobs: Sequence[Job]) -> list[Place]:
        """The place in the queue of each."""
        return await self.gateway.threads.store(lambda: [self._place(job) for job in jobs])

    def _place(self, job: Job) -> Place:
        return self.gateway.store.position(job.id) if job.state == JobState.QUEUED else None

    def _find(self, job_id: str) -> tuple[Job, Place]:
        job = self._own(self.gateway.store.get(check_id(job_id, "job")), job_id)
        return job, self._place(job)

    def _own(self, job: Job | None, job_id: str) -> Job:
        if job is None or not self.caller.owns(job.tenant):
            raise NotFound(f"there is no job {job_id!r}", field="job_id")
        return job


async def visit_of(connection: HTTPConnection) -> Visit:
    """For routes, on HTTP and WebSocket alike."""
    gateway: Gateway = connection.app.state.gateway
    caller = gateway.parts.identify(connection)
    answers = Answers(Addresses.of(connection), gateway.storage, gateway.signer, gateway.clock)
    return Visit(gateway, caller, answers, connection.state.request_id)


Here = Annotated[Visit, Depends(visit_of)]
