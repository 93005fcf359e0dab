"""Puts right what time has broken: stages what is due, fails what is late, rescues lost leases, prunes what is old.

    turn --lead--> leads --> stage_due, expire, rescue, prune (rows) --> pruned artifacts --> clean (bytes), sweep
          '-----> another leads: nothing

Every gateway has a keeper, and one of them leads. The verbs may run twice without harm, so a leader that was too slow
to notice its end is no danger. Bytes are removed in a thread of their own: an object store that hangs must not keep
the jobs of a dead worker waiting.

Rows go before bytes, or a crash between the two would leave jobs that point at nothing. So a crash can leave bytes
without a row. The sweep finds them: once a day it looks at stored files older than any row may be, and removes those
whose job or upload the store no longer knows. Younger files are never touched, whatever the store says: a store that
was emptied by mistake costs no picture that its retention would have kept.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from ..config import ServeSettings
from ..core import Artifact
from ..errors import Unavailable
from .store import Store

HOUR_S = 3600.0
GIB = 1024**3
TURN_S = 0.25
LEAD_S = 6.0  # how long a leader that has died is waited for
ASK_S, EXPIRE_S, RESCUE_S, PRUNE_S, SWEEP_S = 2.0, 1.0, 1.0, 60.0, 24 * HOUR_S
SETTLED_S = HOUR_S  # before the first sweep: it lists all that is stored, and a process may have restarted often
LONGEST_PAUSE_S = 2.0  # between turns while the store or the storage is away
STOP_S = 5.0  # for a turn that is under way
SWEEP_KEYS = 500  # looked at in one turn
MARGIN_S = 24 * HOUR_S  # the clock of an object store is another

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sweep:
    """How stored bytes are looked through, by verbs of `Storage`; `forget` removes the tapes of a job by its id."""

    older: Callable[[str, float], Iterable[str]]
    delete: Callable[[Sequence[str]], None]
    forget: Callable[[str], None] = lambda _: None


class Keeper:
    """Keeps a store in order; `storage_remove` removes the bytes of artifacts whose rows are gone.

    `run_once` and `clean_once` are what its two threads do again and again; `clock` is seconds since the epoch.
    """

    def __init__(
        self,
        store: Store,
        storage_remove: Callable[[list[Artifact]], None],
        settings: ServeSettings,
        *,
        sweep: Sweep | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store, self._storage_remove, self._settings, self._sweep = store, storage_remove, settings, sweep
        self._clock = clock
        self._who = uuid.uuid4().hex
        self._done_at: dict[str, float] = {}
        self._whole_turn_at: float | None = None
        self._grace_from: float | None = None
        self._pruned: list[Artifact] = []
        self._expired: deque[str] = deque()  # jobs whose tapes nobody needs
        self._stored: Iterator[str] | None = None
        self._loops = (Loop("keeper", self.run_once, clock), Loop("keeper-bytes", self.clean_once, clock))
        self.is_leader = False
        self.others_led_at = 0.0  # when it last asked in vain

    def start(self) -> None:
        """Keep the store from now on."""
        for loop in self._loops:
            loop.start()

    def stop(self) -> None:
        """End both threads; another keeper leads at once."""
        for loop in self._loops:
            loop.stop()
        if self.is_leader:
            self.is_leader = False
            try:
                self._store.lead(self._who, self._clock(), 0.0)
            except Unavailable:
                log.info("the store is away: the next keeper leads in %.0f s", LEAD_S)

    def run_once(self, now: float) -> None:
        """Do to the rows what is due, where this is the keeper that leads."""
        self._notice_absence(now)
        self._every(ASK_S, self._lead, now)
        if self.is_leader:
            self._store.stage_due(now)
            self._every(EXPIRE_S, self._expire, now)
            self._every(RESCUE_S, self._rescue, now)
            self._every(PRUNE_S, self._prune, now)
        self._whole_turn_at = now

    def clean_once(self, now: float) -> None:
        """Remove the bytes of what was pruned; then look on for bytes that nothing points at."""
        if self._pruned:
            self._storage_remove(self._pruned)
            self._pruned = []  # only now: what the storage did not take is offered again
        while self._expired:
            self._forget(self._expired[0])
            self._expired.popleft()
        self._done_at.setdefault("_start_sweep", now + SETTLED_S - SWEEP_S)
        if self._sweep and self.is_leader:
            if self._stored is None:
                self._every(SWEEP_S, self._start_sweep, now)
            else:
                self._look_on(self._sweep, self._stored)

    def _every(self, every_s: float, verb: Callable[[float], object], now: float) -> None:
        """Do it, if it was last done that long ago; a clock that went back counts as long ago."""
        done_at = self._done_at.get(verb.__name__)
        if done_at is None or not 0 <= now - done_at < every_s:
            verb(now)
            self._done_at[verb.__name__] = now

    def _notice_absence(self, now: float) -> None:
        """Leases may have run out only because we, the store or the whole box stood still: let workers beat first."""
        last = self._whole_turn_at
        if last is not None and now - last > self._settings.heartbeat_s:
            self._grace_from = now

    def _lead(self, now: float) -> None:
        try:
            self.is_leader = self._store.lead(self._who, now, LEAD_S)
        except Unavailable:
            self.is_leader = False  # who else could ask may have been heard
            raise
        if not self.is_leader:
            self.others_led_at = now

    def _expire(self, now: float) -> None:
        self._expired += self._store.expire(now)

    def _forget(self, job_id: str) -> None:
        job = self._store.get(job_id)
        if self._sweep and job is not None and job.fence:  # it had begun
            self._sweep.forget(job_id)

    def _rescue(self, now: float) -> None:
        if self._grace_from is None or not 0 <= now - self._grace_from < 2 * self._settings.heartbeat_s:
            self._store.rescue(now)

    def _prune(self, now: float) -> None:
        if self._pruned:  # their bytes come first: what is only in memory should stay little
            self._store.prune(0.0, 0.0, now)  # what has no bytes, such as old progress, does not wait for them
            return
        pruned = self._store.prune(*self._limits(now), now)
        try:
            if self._settings.keep_gb is not None:
                pruned = [*pruned, *self._store.prune_bytes(int(self._settings.keep_gb * GIB), now)]
        finally:
            self._pruned = pruned  # once: the thread that removes bytes must see all of it

    def _limits(self, now: float) -> tuple[float, float]:
        """Jobs that ended, and uploads that came, before these times are forgotten."""
        return now - self._settings.keep_jobs_h * HOUR_S, now - self._settings.keep_uploads_h * HOUR_S

    def _start_sweep(self, now: float) -> None:
        assert self._sweep is not None
        jobs_before, uploads_before = self._limits(now - MARGIN_S)
        outputs, uploads = self._sweep.older("outputs", jobs_before), self._sweep.older("uploads", uploads_before)
        self._stored = itertools.chain(outputs, uploads)

    def _look_on(self, sweep: Sweep, stored: Iterator[str]) -> None:
        """Remove, of the next keys, those that nothing points at; a fault ends this sweep, and the next finds them."""
        self._stored = None
        keys = list(itertools.islice(stored, SWEEP_KEYS))
        leftovers = [key for key in keys if not self._is_known(key)]
        if leftovers:
            sweep.delete(leftovers)
            log.warning("removed %d stored files whose job or upload is gone, such as %s", len(leftovers), leftovers[0])
        if len(keys) == SWEEP_KEYS:
            self._stored = stored

    def _is_known(self, key: str) -> bool:
        """Whether its job, or itself where it is an upload, has a row; keys are made in storage/objects.py."""
        kind, name, *_ = key.split("/")
        if kind == "outputs":
            return self._store.get(name) is not None
        return self._store.artifact(name.split(".")[0]) is not None


class Loop:
    """A thread that takes turns until it is stopped, with longer pauses while something it needs is away."""

    def __init__(self, name: str, turn: Callable[[float], None], clock: Callable[[], float]) -> None:
        self._turn, self._clock = turn, clock
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the turn that is under way, which is not waited for any longer than `STOP_S`."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(STOP_S)

    def _run(self) -> None:
        pause_s = 0.0
        while not self._stopping.wait(pause_s):
            try:
                self._turn(self._clock())
                pause_s = TURN_S
            except Unavailable as error:
                log.warning("%s: %s", self._thread.name, error)
                pause_s = min(2 * pause_s or TURN_S, LONGEST_PAUSE_S)
            except Exception:  # budget: the thread's outermost loop: one fault must not end all rescues for good
                log.exception("%s: a turn failed", self._thread.name)
                pause_s = LONGEST_PAUSE_S
