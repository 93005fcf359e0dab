"""What a gateway is made of, and one request's visit to it."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends
from prometheus_client import CollectorRegistry
from starlette.requests import HTTPConnection

from ..config import ServeSettings, Settings
from ..core import Job, JobState
from ..errors import NotFound
from ..jobs.store import Store
from ..models.catalogue import Catalogue
from ..models.registered import Registered
from ..safety import read_rules
from ..storage.guard import Resolver, resolve
from ..storage.objects import Storage
from .access import Caller, Identify
from .admission import Bounds, Intake
from .answers import Addresses, Answers
from .deliveries import Heard, Sender
from .door import Door
from .events import Feed, Hearer
from .fetches import Fetches
from .fleet import FleetLooks, Watching
from .forecast import Forecast, Place
from .guests import Guests
from .ids import check_id, fair_traceparent
from .joined import Joined
from .keys import Keyring
from .long_poll import LongPoll
from .offers import Offers
from .pictures import Pictures
from .reception import Reception
from .shelf import Shelf
from .sign_in import SignIn
from .signing import Signer, read_secret
from .threads import Threads
from .webhooks import Post

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Parts:
    """What the composition root hands in. `clock` gives seconds since the epoch; `hearers` are told of every job's
    events, in the thread that follows the store; `identify` says who asks (None: keys, tokens and sessions do).
    `is_insecure`: others may reach it without a key while there is none. `delivery_hearers` are told of each attempt
    at a webhook call; `resolver` and `trust` are the system's own, for those calls. `static` is where the web UI
    was built.
    """

    settings: Settings
    store: Store
    storage: Storage
    catalogue: Catalogue
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    clock: Callable[[], float] = time.time
    identify: Identify | None = None
    is_insecure: bool = False
    hearers: Sequence[Hearer] = ()
    delivery_hearers: Sequence[Heard] = ()
    resolver: Resolver = resolve
    trust: ssl.SSLContext | None = None
    static: Path = Path(__file__).parent / "static"


class Gateway:
    """The parts at work. It keeps nothing that another gateway beside it would need to know."""

    def __init__(self, parts: Parts) -> None:
        serve = parts.settings.serve
        self.parts, self.store, self.storage, self.clock = parts, parts.store, parts.storage, parts.clock
        self.threads = Threads()
        self.signer = Signer(read_secret(parts.settings.home))
        self.shelf = Shelf(parts.static)
        self.pictures_at: str | None = None  # where the storage's own URLs lead; known once a page was asked for
        self.keyring = Keyring(parts.store, self.threads, parts.clock)
        guests = parts.settings.guests
        self.guests = None if guests is None else Guests(guests, self.signer, parts.clock)
        self.reception = Reception(
            parts.settings, self.keyring, self.signer, parts.clock, parts.is_insecure, self.guests
        )
        oidc = parts.settings.oidc
        self.sign_in = None if oidc is None else SignIn(parts.settings, oidc, self.signer, parts.clock)
        self.offers = Offers(parts.catalogue, parts.settings, Registered(parts.storage))
        self.pictures = Pictures(parts.store, parts.storage, serve)
        self.forecast = Forecast(parts.store, self.threads, parts.clock, heard_within_s=serve.lease_s)
        self.rules = read_rules(parts.settings.safety)
        for name in sorted(set(self.rules.models) - set(parts.catalogue.entries)):
            log.warning("the safety rules speak of a model that is not in the catalogue: %s", name)
        fetches = Fetches(parts.store, self.threads, parts.clock)
        self.door = Door(
            parts.settings, self.offers, self.pictures, self.forecast, self.threads, parts.clock, self.rules, fetches
        )
        bounds = Bounds(serve.max_queued, serve.max_scheduled)
        self.intake = Intake(parts.store, self.threads, self.forecast, bounds, parts.clock)
        tellers = Answers(Addresses.at(public_url_of(serve)), parts.storage, self.signer, parts.clock)
        post = Post(serve.webhook_timeout_s, serve.allow_private_webhooks, parts.resolver, parts.trust)
        self.sender = Sender(
            parts.store, self.signer, post, serve, tellers.job_alone, parts.clock, parts.delivery_hearers
        )
        self.fleet_looks = FleetLooks(parts.store, self.threads, parts.clock)
        self.watching = Watching(parts.store, self.threads, parts.clock)
        self.long_poll = LongPoll(parts.store)
        self.joined = Joined(parts.store, self.long_poll, parts.clock, self.offers.own)
        self.feed = Feed(parts.store, self.threads, (*parts.hearers, self.sender.hear))

    async def caller_of(self, connection: HTTPConnection) -> Caller:
        """Who asks; raises `Unauthorised`, `Forbidden` or `StoreUnavailable`."""
        identify = self.parts.identify
        return await self.reception.caller_of(connection) if identify is None else identify(connection)

    async def start(self) -> None:
        """Begin to follow the store; call it on the event loop that serves."""
        self.feed.start()
        self.sender.start()
        # So that the first request does not wait for a tokenizer to be read; `problem` raises nothing of ours.
        self._warming = asyncio.create_task(self.threads.files(self.offers.problem, self.offers.default))

    async def stop(self) -> None:
        """Streams first, for they wait on the tail; the tail and the pools last, for requests wait on them."""
        self.feed.let_go()
        await asyncio.wait([self._warming])
        await self.long_poll.stop()
        await asyncio.to_thread(self.sender.stop)
        await asyncio.to_thread(self.feed.stop)
        await asyncio.to_thread(self.threads.close)
        self.offers.close()


@dataclass(frozen=True)
class Visit:
    """One request at the gateway: who asks, how to answer, the trace that it is part of ("": none).

    `named` is what the layers around it are told: `job_id`, of a job that it made.
    """

    gateway: Gateway
    caller: Caller
    answers: Answers
    request_id: str
    traceparent: str = ""
    named: MutableMapping[str, Any] = field(default_factory=dict)

    async def is_welcome(self) -> bool:
        """Whether the key that it came with still opens anything; a stream asks now and then."""
        return await self.gateway.reception.is_still(self.caller)

    async def find(self, job_id: str) -> tuple[Job, Place]:
        """The caller's job and its place in the queue; raises `NotFound`, also where it is somebody else's."""
        return await self.gateway.threads.store(self._find, job_id)

    async def check(self, job_id: str) -> Job:
        """The same without its place."""
        job = await self.gateway.threads.store(self.gateway.store.get, check_id(job_id, "job"))
        return self._own(job, job_id)

    async def places(self, jobs: Sequence[Job]) -> list[Place]:
        """The place in the queue of each."""
        queued = [job.id for job in jobs if job.state == JobState.QUEUED]
        found = await self.gateway.threads.store(self.gateway.store.positions, queued) if queued else []
        by_id = dict(zip(queued, found, strict=True))
        return [by_id.get(job.id) for job in jobs]

    def _place(self, job: Job) -> Place:
        return self.gateway.store.position(job.id) if job.state == JobState.QUEUED else None

    def _find(self, job_id: str) -> tuple[Job, Place]:
        job = self._own(self.gateway.store.get(check_id(job_id, "job")), job_id)
        return job, self._place(job)

    def _own(self, job: Job | None, job_id: str) -> Job:
        if job is None or not self.caller.owns(job.tenant):
            raise NotFound(f"there is no job {job_id!r}", field="job_id")
        return job


def public_url_of(serve: ServeSettings) -> str:
    """Where others reach us, for what is said to nobody who called."""
    host = f"[{serve.host}]" if ":" in serve.host else serve.host
    return serve.public_url or f"http://{host}:{serve.port}"


async def gateway_of(connection: HTTPConnection) -> Gateway:
    """For routes that ask nobody who they are."""
    gateway: Gateway = connection.app.state.gateway
    return gateway


async def visit_of(connection: HTTPConnection) -> Visit:
    """For routes of users and operators, on HTTP and WebSocket alike."""
    visit = await any_visit_of(connection)
    visit.caller.check_user()
    return visit


async def operator_visit_of(connection: HTTPConnection) -> Visit:
    """For routes of operators alone: others are refused whatever their body says."""
    visit = await visit_of(connection)
    visit.caller.check_operator()
    return visit


async def any_visit_of(connection: HTTPConnection) -> Visit:
    """For routes of everybody who has some key."""
    gateway = await gateway_of(connection)
    return visit_by(await gateway.caller_of(connection), connection)


def visit_by(caller: Caller, connection: HTTPConnection) -> Visit:
    """The visit of a caller who is known."""
    gateway: Gateway = connection.app.state.gateway
    answers = Answers(Addresses.of(connection), gateway.storage, gateway.signer, gateway.clock)
    named = connection.scope["state"]
    traceparent = fair_traceparent(connection.headers.get("traceparent"))
    return Visit(gateway, caller, answers, named["request_id"], traceparent, named)


Here = Annotated[Visit, Depends(visit_of)]
OperatorHere = Annotated[Visit, Depends(operator_visit_of)]
AnyHere = Annotated[Visit, Depends(any_visit_of)]
At = Annotated[Gateway, Depends(gateway_of)]
