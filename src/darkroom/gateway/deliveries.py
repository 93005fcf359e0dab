"""Makes the webhook calls that the store says are owed, again and again until each is taken or given up.

    store.due_deliveries --held--> Turns --a free thread--> POST --> store.note_delivery: delivered
         ^                           |                        |----- again in webhook_retry_s x 4^n, or as asked
         '---- the hold runs out ----'                        '----- given up: attempts used up, or 410

Every gateway sends: a delivery is given out to one of them and held for it, so nobody has to lead, and one that hangs
or dies holds nothing up for longer than its hold. What was sent and not noted before a crash is sent again, under the
same `webhook-id`: at least once, as with any webhook.

Tenants take turns, and the hosts that each calls. A slow receiver has a few threads of its own and no more, and so has
the tenant of many slow ones. What waits in memory beyond such a share is let go, and comes back with the end of its
hold: so nobody can fill the room in which others wait.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..config import ServeSettings
from ..core import Delivery, Event, Job
from ..errors import Unavailable
from ..jobs.keeper import Loop
from ..jobs.store import Store
from ..storage.guard import NotReached, host_of, parse
from .signing import Signer
from .webhooks import FINAL, STARTED, Outcome, Post, body_of, keys_at, signed

TOLD = frozenset({STARTED, *FINAL})
LOOK_S = 1.0  # between looks at the store, where no event says that there is something
PAGE = 256  # deliveries taken from the store at once
THREADS, TENANT_THREADS, HOST_THREADS = 32, 12, 4  # calls at once: of all, of a tenant, of a tenant to one host
ALL_WAITING, TENANT_WAITING, HOST_WAITING = 4096, 1024, 512
HOLD_S, HOLD_ATTEMPTS = 60.0, 4.0  # or so many attempts at their longest: who waits in memory gets its turn meanwhile
GROWTH, LONGEST_PAUSE_S = 4.0, 24 * 3600.0
JITTER = 0.2  # of a pause, more or less: a receiver that was down is not met by all at once
STOP_S = 5.0
FAULT = "it could not be sent: a fault of ours, which our log tells"

log = logging.getLogger(__name__)
Heard = Callable[[Delivery], None]


@dataclass(frozen=True)
class Held:
    """A delivery that is ours until then."""

    delivery: Delivery
    host: str
    until: float

    @property
    def tenant(self) -> str:
        """Whose it is."""
        return self.delivery.tenant


class Turns:
    """Whose call goes next: tenants in turn, and of each its hosts, with bounds for both on what runs and what waits.

    A host has a bound for each tenant, not one for all: a receiver that many use may be slow for one of them.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, dict[str, deque[Held]]] = {}
        self._running: Counter[tuple[str, str]] = Counter()

    def add(self, held: Held) -> None:
        """It waits; or is let go, where too many do."""
        hosts = self._waiting.get(held.tenant, {})
        of_tenant, of_all = _count(hosts), sum(map(_count, self._waiting.values()))
        if len(hosts.get(held.host, ())) < HOST_WAITING and of_tenant < TENANT_WAITING and of_all < ALL_WAITING:
            self._waiting.setdefault(held.tenant, {}).setdefault(held.host, deque()).append(held)

    def next(self) -> Held | None:
        """The one to begin now; it runs until `done`. None where none may."""
        if self._running.total() >= THREADS:
            return None
        free = (tenant for tenant in self._waiting if self._runs_of(tenant) < TENANT_THREADS)
        lines = ((tenant, host) for tenant in free for host in self._waiting[tenant])
        found = next((line for line in lines if self._running[line] < HOST_THREADS), None)
        return None if found is None else self._take(*found)

    def done(self, held: Held) -> None:
        """It has ended."""
        self._running[held.tenant, held.host] -= 1
        self._running += Counter()  # drops what is zero

    def _runs_of(self, tenant: str) -> int:
        return sum(count for (other, _), count in self._running.items() if other == tenant)

    def _take(self, tenant: str, host: str) -> Held:
        """The first in that line; its tenant goes behind other tenants, its host behind the tenant's other hosts."""
        hosts = self._waiting.pop(tenant)
        line = hosts.pop(host)
        held = line.popleft()
        if line:
            hosts[host] = line
        if hosts:
            self._waiting[tenant] = hosts
        self._running[tenant, host] += 1
        return held


def _count(hosts: Mapping[str, deque[Held]]) -> int:
    return sum(map(len, hosts.values()))


class Sender:
    """Sends what is due, in threads of its own; `tell` says a job as the API shows it, `heard` is told of each attempt.

    `hear` may be called from any thread.
    """

    def __init__(
        self,
        store: Store,
        signer: Signer,
        post: Post,
        serve: ServeSettings,
        tell: Callable[[Job], dict[str, Any]],
        clock: Callable[[], float],
        heard: Sequence[Heard] = (),
    ) -> None:
        self._store, self._signer, self._post, self._serve = store, signer, post, serve
        self._tell, self._clock, self._heard = tell, clock, tuple(heard)
        self._turns, self._lock = Turns(), threading.Lock()
        self._threads: set[threading.Thread] = set()
        self._is_due, self._looked_at = threading.Event(), float("-inf")
        self._hold_s = max(HOLD_S, HOLD_ATTEMPTS * serve.webhook_timeout_s)
        self._is_stopping = self._is_over = False
        self._loop = Loop("webhooks", self.run_once, clock)

    def start(self) -> None:
        """Send from now on."""
        self._loop.start()

    def stop(self) -> None:
        """Begin nothing more; wait a little for what is under way. The rest is sent again by whoever comes next."""
        self._is_stopping = True
        self._loop.stop()
        end = time.monotonic() + STOP_S
        for thread in list(self._threads):
            thread.join(max(0.0, end - time.monotonic()))
        self._is_over = True

    def hear(self, job_id: str, event: Event) -> None:
        """Something happened that a webhook may want told."""
        if event.type in TOLD:
            self.wake()

    def wake(self) -> None:
        """Look at the store with the next turn."""
        self._is_due.set()

    def run_once(self, now: float) -> None:
        """Take what is due, where it is time to look, and begin what may."""
        if not self._is_due.is_set() and 0 <= now - self._looked_at < LOOK_S:
            return
        self._is_due.clear()
        found = self._store.due_deliveries(now, PAGE, self._hold_s)
        self._looked_at = now
        if len(found) == PAGE:
            self.wake()
        with self._lock:
            for delivery in found:
                self._turns.add(Held(delivery, _host_of(delivery.url), now + self._hold_s))
        self._begin()

    def _begin(self) -> None:
        with self._lock:
            while not self._is_stopping and (held := self._turns.next()) is not None:
                # Daemons: a receiver that keeps us waiting must not keep the process.
                thread = threading.Thread(target=self._run, args=(held,), name="webhook", daemon=True)
                self._threads.add(thread)
                thread.start()

    def _run(self, held: Held) -> None:
        try:
            if held.until - self._clock() > self._serve.webhook_timeout_s:  # else it is somebody else's any moment
                self._attempt(held.delivery)
        except Unavailable as error:
            log.warning("webhook of %s: %s", held.delivery.job_id, error)
        except Exception:  # budget: the thread's outermost frame; the delivery comes back with the end of its hold
            log.exception("webhook of %s failed", held.delivery.job_id)
        finally:
            with self._lock:
                self._turns.done(held)
                self._threads.discard(threading.current_thread())
            self._begin()

    def _attempt(self, delivery: Delivery) -> None:
        job = self._store.get(delivery.job_id)
        if job is None:
            return
        at = self._clock()
        outcome = self._sent(delivery, job, at)
        if self._is_over:
            return  # the store may be closed by now
        made = {"at": at, "status": outcome.status, "error": outcome.error}
        next_at = next_at_of(outcome, len(delivery.attempts) + 1, self._clock(), self._serve, random.random())
        noted = self._store.note_delivery(delivery.id, made, next_at, is_delivered=outcome.is_delivered)
        if noted is not None:
            log.info("webhook", extra={"job_id": job.id, "event_type": noted.event, "state": noted.state, **made})
            for hear in self._heard:
                hear(noted)

    def _sent(self, delivery: Delivery, job: Job, at: float) -> Outcome:
        try:
            body = body_of(delivery, job, self._tell)
            return self._post.run(delivery.url, self._headers_of(delivery, job, at, body), body)
        except Unavailable:
            raise
        except Exception:  # budget: what a receiver can make us stumble over must wait its turn as any failure does
            log.exception("webhook of %s could not be sent", job.id)
            return Outcome(None, FAULT)

    def _headers_of(self, delivery: Delivery, job: Job, at: float, body: bytes) -> dict[str, str]:
        secret = self._store.webhook_secret(job.tenant)
        return signed(keys_at(self._signer, job.tenant, secret, at), delivery.id, at, body)


def next_at_of(outcome: Outcome, attempts: int, now: float, serve: ServeSettings, chance: float) -> float | None:
    """When to try again after that many attempts, None where not; `chance` is from 0 to 1. Pure."""
    if outcome.is_delivered or outcome.is_gone or attempts >= serve.webhook_attempts:
        return None
    pause_s = min(serve.webhook_retry_s * GROWTH ** (attempts - 1), LONGEST_PAUSE_S)
    return now + max(pause_s * (1 + JITTER * (2 * chance - 1)), outcome.retry_after_s)


def _host_of(url: str) -> str:
    try:
        return host_of(parse(url, allow_private=True))
    except NotReached:
        return ""
