"""A forwarder: to our store a worker, to another Darkroom a client.

starting --the other Darkroom is ready--> ready --asked to--> draining --empty, or time is up--> stopped
    '-------------------- a thread of ours broke: what is in flight is handed back --------------> gone
docs/architecture/07-forward.md says why it is as it is.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from queue import Empty, SimpleQueue

import structlog

from .. import __version__
from ..config import Settings
from ..core import Job, Lease, WorkerReport
from ..errors import DarkroomError, StoreUnavailable
from ..jobs.store import Store
from ..models.catalogue import Entry
from ..storage.objects import Storage
from ..worker.attempt import Stop
from ..worker.events import AttemptBegan, ClockRead, StateChanged, StopAsked, Tell, WorkerEvent, log_ids
from ..worker.heartbeat import CLOCK_SHARE, Heartbeat, Skew
from .attempt import Attempt, InFlight
from .backend import Backend, backends_of
from .chain import Chain, Tools
from .claims import Claims
from .ending import Endings
from .pace import Pace, learned, pace_of

log = logging.getLogger(__name__)

GRACE_S = 3.0  # for what is being written when it stops
DRAIN, STOP = "drain", "stop"


class Forwarder:
    """Forwards the jobs of the remote `entries`; `run` is its life. `listeners` hear its events, a worker's."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        storage: Storage,
        entries: Sequence[Entry],
        *,
        worker_id: str,
        listeners: Iterable[Tell] = (),
    ) -> None:
        self.id, self._settings, self._store, self._listeners = worker_id, settings, store, tuple(listeners)
        self._phase = ""  # draining or stopped, once it is
        self._commands: SimpleQueue[str] = SimpleQueue()
        self._failure: BaseException | None = None
        self._is_over = False
        self._giving_up = threading.Event()
        self._in_flight = InFlight()
        self._skew = Skew()
        self._paces: dict[str, Pace] = {}
        said = settings.serve
        self._heartbeat = Heartbeat(
            store,
            self._report,
            lambda: [attempt.lease for attempt in self._in_flight.all()],
            lost=self._lose,
            asked_to_drain=self.ask_drain,
            tell=self._tell,
            every_s=said.heartbeat_s,
        )
        self._backends = backends_of(entries, self._heartbeat.nudge)
        endings = Endings(
            store,
            storage,
            retry_s=said.retry_s,
            price_per_hour_usd=said.price_per_hour_usd,
            tell=self._tell,
            giving_up=self._giving_up,
        )
        self._chain = Chain(Tools(store, storage, self._tell), endings)
        self._claims = [
            Claims(self.id, store, backend, self._in_flight, self._begin, self._call_off, self._tell, self._skew)
            for backend in self._backends
        ]

    # Its life.

    def run(self) -> None:
        """Forward until told to stop; raises what ended it before its time."""
        self._heart = self._spawn("heartbeat", self._heartbeat.run)
        for backend, claims in zip(self._backends, self._claims, strict=True):
            self._spawn("watch", backend.watch)
            self._spawn("claims", claims.run)
        try:
            if self._commands.get() == DRAIN:
                self._drain()
        finally:
            self._stop()
        if self._failure is not None:
            raise self._failure

    def ask_drain(self) -> None:
        """Have it take nothing more, finish what fits and stop; asked again, it hands back what it has at once."""
        self._commands.put(DRAIN)

    def ask_stop(self) -> None:
        """Have it hand back what it has and stop."""
        self._commands.put(STOP)

    def _drain(self) -> None:
        # The claims end first, or what goes back below would be replaced.
        for claims in self._claims:
            claims.close()
        self._set_phase("draining")
        until = time.monotonic() + self._settings.serve.drain_s
        while len(self._in_flight) and time.monotonic() < until:
            try:
                self._commands.get_nowait()
            except Empty:
                self._in_flight.wait_until_empty(0.1)
            else:
                return

    def _stop(self) -> None:
        """Hand back what is left: over there it goes on, and whoever claims it next finds it there."""
        self._is_over = True
        for claims in self._claims:
            claims.close()
        self._hand_back()
        self._in_flight.wait_until_empty(GRACE_S)  # what is being written
        self._giving_up.set()
        self._heartbeat.close()
        self._heart.join(GRACE_S)
        self._set_phase("stopped")
        self._heartbeat.beat()  # the last: from now on nobody counts on it
        for backend in self._backends:
            backend.close()

    def _hand_back(self) -> None:
        stopped = [attempt for attempt in self._in_flight.all() if attempt.stop(Stop.HANDED_BACK)]
        for attempt in stopped:
            self._tell(StopAsked(attempt.job.id, Stop.HANDED_BACK))
        if not stopped:
            return
        try:
            self._store.release([attempt.lease for attempt in stopped], "the forwarder drains", time.time())
        except StoreUnavailable as error:
            log.warning("%d jobs come back when their leases run out: %s", len(stopped), error)

    # What its threads ask.

    def _begin(self, job: Job, backend: Backend) -> None:
        attempt = Attempt(job, backend)
        self._in_flight.add(attempt)
        self._tell(AttemptBegan(job.id, job.model, job.attempt, job.request_id, job.traceparent, job.steps))
        self._spawn(f"job-{job.id[:8]}", lambda: self._attempt(attempt))

    def _attempt(self, attempt: Attempt) -> None:
        job = attempt.job
        try:
            with structlog.contextvars.bound_contextvars(**log_ids(job.id, job.request_id, job.traceparent)):
                self._chain.run(attempt)
        finally:
            self._in_flight.remove(attempt)
            self._learn(attempt)

    def _call_off(self, attempt: Attempt) -> None:
        """Its own thread listens to events, and hears of its end by them once that has been asked for."""
        self._spawn("cancel", lambda: self._chain.cancel(attempt))

    def _learn(self, attempt: Attempt) -> None:
        if attempt.ended is None or attempt.started_at is None or attempt.ended.state != "succeeded":
            return
        metrics = {name: value for name, value in attempt.ended.metrics.items() if value is not None}
        latest = pace_of(attempt.job, metrics, time.monotonic() - attempt.started_at)
        if latest is not None:
            model = attempt.job.model
            self._paces[model] = learned(self._paces.get(model), latest)

    def _report(self) -> WorkerReport:
        paces, ready = dict(self._paces), [backend for backend in self._backends if backend.is_ready]
        facts = {
            "kind": "forwarder",
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "version": __version__,
            "rows": {model: pace.rows for model, pace in paces.items()},
            "rest_s": {model: pace.rest_s for model, pace in paces.items()},
        }
        if self._settings.serve.worker_metrics:
            facts["metrics_url"] = f"http://{self._settings.serve.worker_metrics}/metrics"
        return WorkerReport(
            id=self.id,
            state=self._phase or ("ready" if ready else "starting"),
            at=time.time(),
            models=tuple(model for backend in ready for model in backend.models),
            loaded=tuple(model for backend in ready for model in backend.loaded),
            in_flight=len(self._in_flight),
            step_seconds={model: pace.step_s for model, pace in paces.items()},
            facts=facts,
        )

    def _lose(self, leases: Sequence[Lease]) -> None:
        for attempt in self._in_flight.all():
            if attempt.lease in leases and attempt.stop(Stop.LOST):
                self._tell(StopAsked(attempt.job.id, Stop.LOST))

    def _set_phase(self, phase: str) -> None:
        self._phase = phase
        self._tell(StateChanged(phase))
        self._heartbeat.nudge()

    def _spawn(self, name: str, target: Callable[[], None]) -> threading.Thread:
        def life() -> None:
            try:
                target()
            except BaseException as error:  # budget: a thread's outermost frame; a forwarder without it is none
                if not self._is_over:  # afterwards everything is closed under its feet
                    if isinstance(error, DarkroomError):
                        log.error("%s ended: %s", name, error.code)  # its words may hold the other's address
                    else:
                        log.error("%s ended", name, exc_info=error)
                    self._failure = self._failure or error
                    self._commands.put(STOP)

        thread = threading.Thread(target=life, name=f"darkroom-{name}", daemon=True)
        thread.start()
        return thread

    def _tell(self, event: WorkerEvent) -> None:
        if isinstance(event, ClockRead):
            self._skew.heed(event.ahead_s, self._settings.serve.lease_s * CLOCK_SHARE)
        for listener in self._listeners:
            listener(event)
