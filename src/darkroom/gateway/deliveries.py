"""Makes the webhook calls that the store says are owed, again and again until each is taken or given up.

    store.due_deliveries --held--> Turns --a free thread--> POST --> store.note_delivery: delivered
         ^                           |                        |----- again in webhook_retry_s x 4^n, or as asked
         '---- the hold runs out ----'                        '----- given up: attempts used up, or 410

Every gateway sends: a delivery is given out to one of them and held for it, so nobody has to lead, and one that hangs
or dies holds nothing up for longer than its hold. What was sent and not noted before a crash is sent again, under the
same `webhook-id`: at least once, as with any webhook.

A slow receiver has a few threads of its own and no more. What waits for it in memory beyond its share is let go, and
comes back with the end of its hold: so it cannot fill the room in which others wait.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..config import ServeSettings
from ..core import Delivery, Event, Job
from ..errors import Unavailable
from ..jobs.keeper import Loop
from ..jobs.store import Store
from ..storage.guard import NotReached, host_of, parse
from .signing import Signer
from .webhooks import FINAL, STARTED, Outcome, Post, body_of, signed

TOLD = frozenset({STARTED, *FINAL})
LOOK_S = 1.0  # between looks at the store, where no event says that there is something
PAGE = 256  # deliveries taken from the store at once
THREADS = 16
HOST_THREADS = 4
HOST_WAITING, ALL_WAITING = 512, 4096
HOLD_S, HOLD_ATTEMPTS = 60.0, 4.0  # or so many attempts at their longest: who waits in memory gets its turn meanwhile
GROWTH, LONGEST_PAUSE_S = 4.0, 24 * 3600.0
JITTER = 0.2  # of a pause, more or less: a receiver that was down is not met by all at once
STOP_S = 5.0

log = logging.getLogger(__name__)
Heard = Callable[[Delivery], None]


@dataclass(frozen=True)
class Held:
    """A delivery that is ours until then."""

    delivery: Delivery
    host: str
    until: float


class Turns:
    """Whose call goes next: hosts in turn, each with at most `HOST_THREADS` at once."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[Held]] = {}
        self._running: dict[str, int] = {}
        self._count = 0

    def add(self, held: Held) -> None:
        """It waits; or is let go, where too many do."""
        line = self._waiting.setdefault(held.host, deque())
        if len(line) < HOST_WAITING and self._count < ALL_WAITING:
            line.append(held)
            self._count += 1
        self._tidy(held.host)

    def next(self) -> Held | None:
        """The one to begin now; it runs until `done`. None where none may."""
        if sum(self._running.values()) >= THREADS:
            return None
        host = next((host for host in self._waiting if self._running.get(host, 0) < HOST_THREADS), None)
        if host is None:
            return None
        line = self._waiting.pop(host)
        held = line.popleft()
        self._waiting[host] = line  # behind the other hosts
        self._tidy(host)
        self._count -= 1
        self._running[host] = self._running.get(host, 0) + 1
        return held

    def done(self, host: str) -> None:
        """One of that host's has ended."""
        self._running[host] -= 1
        if not self._running[host]:
            del self._running[host]

    def _tidy(self, host: str) -> None:
        if not self._waiting[host]:
            del self._waiting[host]


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
        self._is_stopping = False
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
                self._turns.done(held.host)
                self._threads.discard(threading.current_thread())
            self._begin()

    def _attempt(self, delivery: Delivery) -> None:
        job = self._store.get(delivery.job_id)
        if job is None:
            return
        body, at = body_of(delivery, job, self._tell), self._clock()
        outcome = self._post.run(delivery.url, self._headers_of(delivery, job, at, body), body)
        if self._is_stopping:
            return  # the store may be closed by now
        made = {"at": at, "status": outcome.status, "error": outcome.error}
        next_at = next_at_of(outcome, len(delivery.attempts) + 1, self._clock(), self._serve, random.random())
        noted = self._store.note_delivery(delivery.id, made, next_at, is_delivered=outcome.is_delivered)
        if noted is not None:
            log.info("webhook", extra={"job_id": job.id, "event_type": noted.event, "state": noted.state, **made})
            for hear in self._heard:
                hear(noted)

    def _headers_of(self, delivery: Delivery, job: Job, at: float, body: bytes) -> dict[str, str]:
        return signed(self._signer.webhook_key(job.tenant), delivery.id, at, body)


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
