"""The thread that claims the jobs of one service's models, and hears of those that somebody wants cancelled."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from ..core import Job
from ..errors import StoreUnavailable
from ..jobs.store import Claimant, Store
from ..worker.attempt import Stop
from ..worker.events import JobsClaimed, StopAsked, StoreFailed, Tell
from ..worker.heartbeat import Skew
from .attempt import Attempt, InFlight
from .backend import Backend

log = logging.getLogger(__name__)

MOST_IN_FLIGHT = 128  # each has a thread that mostly sleeps, and a stream of events
MOST_WAITING = 16  # handed over and not begun there: the rest waits here, where priorities and cancels still count
MOST_AT_ONCE = 16
POLL_S = 0.25  # the longest between two looks at the store
AWAY_S = 1.0  # between two looks while it is away


class Claims:
    """Claims what `backend` serves while it answers; `begin` takes each job, `call_off` each that is to be stopped
    over there."""

    def __init__(  # budget: what a claim asks, and whom it tells; each is one word at the one place that makes it
        self,
        worker_id: str,
        store: Store,
        backend: Backend,
        in_flight: InFlight,
        begin: Callable[[Job, Backend], None],
        call_off: Callable[[Attempt], None],
        tell: Tell,
        skew: Skew,
    ) -> None:
        self._id, self._store, self._backend, self._in_flight = worker_id, store, backend, in_flight
        self._begin, self._call_off, self._tell, self._skew = begin, call_off, tell, skew
        self._closed, self._claiming = threading.Event(), threading.Lock()

    def run(self) -> None:
        """Take turns until closed."""
        while not self._closed.is_set():
            try:
                self.run_once()
            except StoreUnavailable as error:
                log.warning("nothing is claimed: %s", error)
                self._tell(StoreFailed("claiming"))
                self._closed.wait(AWAY_S)

    def run_once(self) -> None:
        """Stop what is late or to be cancelled, take what fits, sleep until there may be more."""
        self._stop_late()
        self._stop_cancelled()
        attempts = self._in_flight.all()
        wanted = how_many([attempt for attempt in attempts if attempt.backend is self._backend])
        if wanted and self._can_claim and self._claim(wanted, is_idle=not attempts) == wanted:
            return
        self._store.wait_for_work(POLL_S)

    def close(self) -> None:
        """Claim nothing more; when it returns, all that was claimed has begun."""
        self._closed.set()
        with self._claiming:
            pass

    @property
    def _can_claim(self) -> bool:
        return bool(self._backend.models) and not self._skew.is_too_much

    def _claim(self, wanted: int, *, is_idle: bool) -> int:
        models = self._backend.models  # in memory there or not: that is the other Darkroom's to plan
        with self._claiming:
            if self._closed.is_set():
                return 0
            jobs = self._store.claim(Claimant(self._id, models, models, is_idle), wanted, time.time())
            for job in jobs:
                self._begin(job, self._backend)
        if jobs:
            self._tell(JobsClaimed(len(jobs)))
        return len(jobs)

    def _stop_late(self) -> None:
        """Their own threads may be listening to silence: what is called off there ends it."""
        for attempt in self._in_flight.all():
            if attempt.backend is self._backend and attempt.wake_if_late():
                self._call_off(attempt)

    def _stop_cancelled(self) -> None:
        for job_id in self._store.cancelling(self._id) if len(self._in_flight) else ():
            attempt = self._in_flight.find(job_id)
            if attempt is not None and attempt.stop(Stop.CANCELLED):
                self._tell(StopAsked(job_id, Stop.CANCELLED))
                self._call_off(attempt)


def how_many(attempts: list[Attempt]) -> int:
    """How many jobs to ask for beside those at one service: as it begins them, more follow. Pure."""
    if any(attempt.job.is_suspect for attempt in attempts):
        return 0
    waiting = sum(attempt.started_at is None for attempt in attempts)
    return max(0, min(MOST_WAITING - waiting, MOST_IN_FLIGHT - len(attempts), MOST_AT_ONCE))
