"""A worker: one engine, and around it the threads that claim, report and keep its leases.

starting --models loaded and tried--> ready --asked to--> draining --empty, or time is up--> stopped
    '------------ a model cannot be loaded, the engine or a thread of ours broke ------------> gone, with its error

docs/architecture/06-worker.md says why it is as it is.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from queue import Empty, SimpleQueue

import structlog

from ..config import Settings
from ..core import Job, Lease, WorkerReport
from ..engine.engine import Engine, Options, Tick
from ..errors import EngineBroken, StoreUnavailable
from ..jobs.store import Claimant, Store
from ..models.catalogue import Entry
from ..models.device import fix_threads, place
from ..models.loading import Loaded
from ..models.residency import Resident
from ..models.tasks import model_of
from ..safety import read_rules
from ..storage.encoding import preview_data_url
from ..storage.incoming import PictureLimits
from ..storage.objects import Storage
from ..workflows.loading import with_parts
from . import serving
from .adapting import AdapterFiles
from .attempt import Attempt, InFlight, Stop
from .chain import Chain, Tools
from .claiming import unfinishable
from .claims import Claims, Prediction
from .ending import Endings
from .events import (
    AttemptBegan,
    AttemptEnded,
    BatchRan,
    ClockRead,
    ModelLeft,
    ModelLoaded,
    StageBegan,
    StateChanged,
    StopAsked,
    Tell,
    WatchRead,
    WorkerEvent,
    log_ids,
)
from .facts import Facts
from .heartbeat import CLOCK_SHARE, Heartbeat
from .metering import metrics_of
from .step_box import StepBox
from .tapes import Tapes
from .ticks import Ticks
from .timesheet import Timesheet, process_began_at

log = logging.getLogger(__name__)

GRACE_S = 5.0  # for what is being written when the worker stops, and for threads that wait for the store
DRAINS = "the worker drains"
POOL = 4  # encodes and uploads at once


class Command(StrEnum):
    """What the conductor is told; a queue of these may be written to in a signal handler."""

    DRAIN = "drain"
    LEAVE = "leave"  # as `DRAIN`, but never hurries
    STOP = "stop"
    EMPTIED = "emptied"


class Worker:
    """Serves `entries`; `run` is its life, in the thread that calls it. `listeners` hear its events.

    `preload` names the models that are loaded and tried before it is ready.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        storage: Storage,
        entries: Mapping[str, Entry],
        *,
        worker_id: str,
        preload: Sequence[str] = (),
        listeners: Iterable[Tell] = (),
    ) -> None:
        self.id, self.state = worker_id, "starting"
        self._settings, self._store, self._entries, self._preload = settings, store, entries, tuple(preload)
        self._listeners = [*listeners, self._learn]
        self._commands: SimpleQueue[Command] = SimpleQueue()
        self._giving_up = threading.Event()
        self._failure: BaseException | None = None
        self._is_over, self._is_signalled, self._reason = False, False, ""
        self._threads: list[threading.Thread] = []
        self._in_flight = InFlight(lambda: self._commands.put(Command.EMPTIED))
        self._ticks = Ticks(self._in_flight.all)
        self._build(storage)

    def _build(self, storage: Storage) -> None:
        said, entries, placement = self._settings.serve, with_parts(self._entries), place()
        rows, here = serving.thread_rows([*entries.values()]), self._settings.workers_here
        threads = fix_threads(self._settings.threads, rows, here)
        room, aside = said.adapter_memory_mb * 2**20, said.decode_aside
        options = Options(on_tick=self._ticked, adapter_bytes=room, decode_aside=aside)
        self._engine = Engine(batching=said.batching, preview_every=said.preview_every, options=options)
        self._timesheet = Timesheet(process_began_at(), said.price_per_hour_usd, self._engine.stats)
        tell, loading = self._model_changed, self._timesheet.loading
        self._residency = serving.residency_of(
            entries, self._settings, placement.kind, self._engine, self._load, tell, loading
        )
        self._step_box = StepBox(self._store, preview_data_url, self._tell)
        self._pool = ThreadPoolExecutor(POOL, "darkroom-files")
        self._tapes = Tapes(storage, self._pool, said.tape_every)
        limits = PictureLimits(int(said.max_upload_mb * 2**20), said.max_pixels)
        parts = (self._store, storage, self._engine, self._residency, self._step_box, self._pool)
        adapters = AdapterFiles(entries, storage, self._settings.home)
        tools = Tools(*parts, threads, limits, self._tell, read_rules(self._settings.safety), adapters, self._tapes)
        self._chain = Chain(tools, self._endings(storage))
        device = (self._engine, self._residency, placement)
        self._facts = Facts(self.id, tuple(self._entries), *device, self._timesheet, self._settings)
        self._heartbeat = Heartbeat(
            self._store,
            self._report,
            lambda: [attempt.lease for attempt in self._in_flight.all()],
            lost=self._lose,
            asked_to_drain=lambda: self.ask_drain(hurries=False),
            tell=self._tell,
            every_s=said.heartbeat_s,
        )
        self._claims = Claims(
            self._store, self._in_flight, self._claimant, self._predicted, self._begin, self._tell, said.claim_ahead_s
        )

    def _load(self, entry: Entry) -> Loaded:
        with self._timesheet.loading():
            return serving.load(entry, self._settings)

    def _endings(self, storage: Storage) -> Endings:
        return Endings(
            self._store,
            storage,
            retry_s=self._settings.serve.retry_s,
            price_per_hour_usd=self._settings.serve.price_per_hour_usd,
            tell=self._tell,
            doomed=self._fail,
            giving_up=self._giving_up,
        )

    # Its life.

    def run(self) -> None:
        """Serve until told to stop, with the engine in this thread; raises what ended it before its time."""
        try:
            self._engine.run(self.start)
        except BaseException as error:  # budget: the engine is broken; the conductor says so to the store
            log.error("the engine stopped", exc_info=error)
            self._fail(EngineBroken(f"the engine stopped: {type(error).__name__}: {error}"))
        self._conductor.join()
        self._join(GRACE_S)
        if self._failure is not None:
            raise self._failure

    def start(self) -> None:
        """Report, load and try the models; then claim. The engine must be about to run."""
        serving.take_over(self._store, self.id)
        self._heart = self._spawn("heartbeat", self._heartbeat.run)
        self._spawn("step-box", self._step_box.run)
        self._spawn("tapes", self._tapes.run)
        self._spawn("start", self._make_ready)
        self._conductor = self._spawn("conductor", self._conduct)  # last: what it may have to end is there

    def drain(self) -> None:
        """Take nothing more and finish what fits in `drain_s`; asked again meanwhile, finish nothing."""
        # The claims end first, or what goes back below would be replaced.
        self._claims.close()
        self._set_state("draining")
        # What will not be done in time goes back now and not at the end: somebody else can begin it meanwhile.
        left_s = {attempt.job.id: self._left_s(attempt) for attempt in self._in_flight.all()}
        late = set(unfinishable(left_s, self._settings.serve.drain_s))
        self._hand_back([attempt for attempt in self._in_flight.all() if attempt.job.id in late])
        # The heartbeat goes on, or the leases of what is being finished would run out.
        self._wait_until_empty(self._settings.serve.drain_s)

    def stop(self) -> None:
        """Hand back what is left, say so, and end the engine."""
        self._is_over = True
        self._claims.close()
        self._hand_back(self._in_flight.all())
        self._wait_until_empty(GRACE_S)  # what is being written is let finish: its lease is extended until then
        self._giving_up.set()
        self._step_box.close()
        self._tapes.close()
        self._heartbeat.close()
        self._heart.join(GRACE_S)
        self._residency.close()
        self._set_state("stopped")
        self._heartbeat.beat()  # the last: from now on nobody counts on this worker
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._engine.close(cancel=True)  # last, for `run` returns with it

    def fall(self) -> None:
        """The engine, its device or a thread of ours broke: tell the store what a supervisor would of a dead worker."""
        assert self._failure is not None
        self._is_over = True
        self._claims.close()
        self._giving_up.set()
        self._stop(self._in_flight.all(), Stop.ABANDONED)
        self._heartbeat.close()
        self._step_box.close()
        self._tapes.close()
        self._residency.close()
        try:
            self._store.release_worker(self.id, f"the worker broke: {self._failure}", time.time())
        except StoreUnavailable as error:
            log.warning("the jobs come back when their leases run out: %s", error)
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._engine.close(cancel=True)

    def ask_drain(self, reason: str = DRAINS, *, hurries: bool = True) -> None:
        """Have it drain and stop; the second that `hurries` has it hand back at once. The first `reason` is told."""
        self._reason = self._reason or reason
        self._commands.put(Command.DRAIN if hurries else Command.LEAVE)

    def ask_stop(self) -> None:
        """Have it hand back what it has and stop."""
        self._commands.put(Command.STOP)

    @property
    def is_quiet(self) -> bool:
        """Whether all of its threads have ended, as they have unless one waits for a disk or a network."""
        return not self._residency.is_loading and not any(thread.is_alive() for thread in self._threads)

    def _conduct(self) -> None:
        while (command := self._commands.get()) is Command.EMPTIED:
            pass
        try:
            self._is_signalled = command is Command.DRAIN
            if command is not Command.STOP and self._failure is None:
                self.drain()
            if self._failure is None:
                self.stop()
        except BaseException as error:  # budget: nobody else could end the engine, and `run` would wait for ever
            self._fail(error)
        if self._failure is not None:
            self.fall()

    def _join(self, seconds: float) -> None:
        """Let threads see that it is over."""
        until = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _make_ready(self) -> None:
        for name in self._preload:
            serving.warm(name, self._engine, self._residency)
        self._timesheet.ready()
        self._set_state("ready")
        self._claims.run()

    def _wait_until_empty(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while len(self._in_flight) and (left_s := until - time.monotonic()) > 0:
            try:
                command = self._commands.get(timeout=left_s)
            except Empty:
                return
            if command is Command.STOP or (command is Command.DRAIN and self._is_signalled):
                return
            self._is_signalled |= command is Command.DRAIN

    def _hand_back(self, attempts: Sequence[Attempt]) -> None:
        self._tapes.store_all(attempts)  # first: a request that was stopped has no tape
        stopped, price = self._stop(attempts, Stop.HANDED_BACK), self._settings.serve.price_per_hour_usd
        if not stopped:
            return
        # What has not come as far as the engine tells nothing: an earlier attempt's figures stay.
        took = {attempt.lease: metrics_of(attempt, price) for attempt in stopped if attempt.handles}
        try:
            self._store.release([attempt.lease for attempt in stopped], self._reason or DRAINS, time.time(), took)
        except StoreUnavailable as error:
            log.warning("%d jobs come back when their leases run out: %s", len(stopped), error)

    def _stop(self, attempts: Sequence[Attempt], why: Stop) -> list[Attempt]:
        """Those that could still be stopped."""
        stopped = [attempt for attempt in attempts if attempt.stop(why)]
        for attempt in stopped:
            self._tell(StopAsked(attempt.job.id, why))
        return stopped

    def _left_s(self, attempt: Attempt) -> float:
        """Seconds until it is done, as steps go now; endless for what has not begun."""
        if not attempt.is_submitted:
            return float("inf")
        pace = self._engine.step_seconds().get(attempt.served_as or "")
        step, steps = attempt.progress
        return (steps - step) * pace["step_s"] + pace["rest_s"] if pace else 0.0

    # What its threads ask.

    def _begin(self, job: Job) -> None:
        attempt = Attempt(job)
        self._in_flight.add(attempt)
        self._tell(AttemptBegan(job.id, job.model, job.attempt, job.request_id, job.traceparent, job.steps))
        self._spawn(f"job-{job.id[:8]}", lambda: self._attempt(attempt))

    def _attempt(self, attempt: Attempt) -> None:
        try:
            job = attempt.job
            with structlog.contextvars.bound_contextvars(**log_ids(job.id, job.request_id, job.traceparent)):
                self._chain.run(attempt)
        finally:
            self._ticks.end(attempt)
            self._in_flight.remove(attempt)

    def _claimant(self) -> Claimant:
        return Claimant(self.id, tuple(self._entries), self._residency.loaded, len(self._in_flight) == 0)

    def _predicted(self) -> Prediction:
        room, joining = self._engine.room(), dict[str, int]()
        for served, count in room.joining.items():  # tasks and solvers of a model share its forwards
            joining[model_of(served)] = max(count, joining.get(model_of(served), 0))
        return Prediction(self._engine.predict_seconds(), room.fits, joining)

    def _report(self) -> WorkerReport:
        return self._facts.report(self.state, len(self._in_flight), self._ticks.latest(time.time()))

    def _lose(self, leases: Sequence[Lease]) -> None:
        held = [attempt for attempt in self._in_flight.all() if attempt.lease in leases]
        self._stop(held, Stop.LOST)

    def _fail(self, error: BaseException) -> None:
        """It cannot go on."""
        if self._failure is None and not self._is_over:
            self._failure = error
            self._commands.put(Command.STOP)

    def _set_state(self, state: str) -> None:
        self.state = state
        self._tell(StateChanged(state))
        self._heartbeat.nudge()

    def _spawn(self, name: str, target: Callable[[], None]) -> threading.Thread:
        def life() -> None:
            try:
                target()
            except BaseException as error:  # budget: a thread's outermost frame; a worker without it is no worker
                if not self._is_over:  # afterwards everything is closed under its feet
                    log.error("%s ended", name, exc_info=error)
                    self._fail(error)

        thread = threading.Thread(target=life, name=f"darkroom-{name}", daemon=True)
        self._threads = [each for each in self._threads if each.is_alive()]
        thread.start()
        self._threads.append(thread)  # started, or nobody could join it
        return thread

    # What others hear.

    def _tell(self, event: WorkerEvent) -> None:
        for listener in self._listeners:
            listener(event)

    def _learn(self, event: WorkerEvent) -> None:
        if isinstance(event, AttemptEnded):
            self._claims.learn(event)
            self._heartbeat.hint()
        elif isinstance(event, StageBegan) and event.stage == Chain.follow.__name__:
            self._heartbeat.hint()
        elif isinstance(event, BatchRan):
            self._facts.learn(event)
        elif isinstance(event, WatchRead):
            self._ticks.is_watched = event.is_watched
        elif isinstance(event, ClockRead):
            self._claims.heed_clock(event.ahead_s, self._settings.serve.lease_s * CLOCK_SHARE)

    def _ticked(self, tick: Tick) -> None:
        self._ticks.note(tick)
        if self._ticks.is_watched:
            self._heartbeat.hint()
        self._tell(BatchRan(tick.module, tick.kind, tick.rows, tick.padded_rows, tick.requests, tick.seconds))

    def _model_changed(self, name: str, resident: Resident | None) -> None:
        came = resident and ModelLoaded(name, resident.seconds, resident.size_bytes, resident.source)
        self._tell(came or ModelLeft(name, self._residency.place_of(name)))
        self._heartbeat.nudge()
