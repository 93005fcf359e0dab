"""The thread that asks the store for work, and for what of it is to be stopped."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from ..core import Job
from ..errors import DarkroomError, Forbidden, InvariantBroken, StoreCorrupt, Unauthorised
from ..jobs.store import Claimant, Store
from .attempt import Attempt, InFlight, Stop
from .claiming import MOST_IN_FLIGHT, Wanted, Work, ahead_s, how_many, let_s
from .events import AttemptEnded, JobsClaimed, StopAsked, StoreFailed, Tell
from .heartbeat import Skew

log = logging.getLogger(__name__)

POLL_S = 0.25  # the longest between two looks at the store
NAP_S = 0.02  # between two looks for cancelled jobs while there is no room for new ones
ROOM_S = 0.5  # how long a prediction holds at most: it costs milliseconds
ROOM_SHARE = 0.05  # and at most this share of what is claimed ahead
AWAY_S = 1.0  # between two looks while it is away
ENDING = (Unauthorised, Forbidden, StoreCorrupt, InvariantBroken)  # the key opens nothing, or a fault that stays
MOST_WAITING = 16  # jobs whose model is still to be loaded; more stay in the queue, for whoever has it
LEARN = 0.2  # how much the latest job counts in what one typically takes


@dataclass(frozen=True)
class Prediction:
    """What an engine says of itself: `seconds` of work it has, `fits` more requests by predicted bytes, and `joining`,
    by model, how many more would find free rows in forwards that run anyway."""

    seconds: float = 0.0
    fits: int = MOST_IN_FLIGHT
    joining: Mapping[str, int] = field(default_factory=dict)


class Claims:
    """Claims while there is room and hands each job to `begin`; `predicted` says what the engine still has to do."""

    def __init__(
        self,
        store: Store,
        in_flight: InFlight,
        claimant: Callable[[], Claimant],
        predicted: Callable[[], Prediction],
        begin: Callable[[Job], None],
        tell: Tell,
        claim_ahead_s: float,
    ) -> None:
        self._store, self._in_flight, self._claimant, self._predicted = store, in_flight, claimant, predicted
        self._begin, self._tell, self._claim_ahead_s = begin, tell, claim_ahead_s
        self._typical_s: dict[str, float] = {}  # by model
        self._wanted, self._stale_at = Wanted(), 0.0  # on time.monotonic's clock
        self._joining: Mapping[str, int] = {}
        self._closed, self._claiming = threading.Event(), threading.Lock()
        self._skew = Skew()

    def run(self) -> None:
        """Take turns until closed; raises only what no later turn would mend (`ENDING`)."""
        while not self._closed.is_set():
            try:
                self.run_once()
            except ENDING:
                raise
            except DarkroomError as error:
                log.warning("nothing is claimed: %s", error)
                self._tell(StoreFailed("claiming"))
                self._closed.wait(AWAY_S)

    def run_once(self) -> None:
        """Stop what is to be cancelled, take what fits, sleep until there may be more."""
        self._stop_cancelled()
        wanted = Wanted() if self._skew.is_too_much else self._room()
        if not wanted.jobs:
            self._closed.wait(NAP_S)
            return
        began = time.monotonic()
        is_more = self._claim(wanted) == wanted.jobs
        if not is_more:
            self._store.wait_for_work(POLL_S)
        if is_more or time.monotonic() - began < 0.9 * POLL_S:  # it was told of some
            self._closed.wait(let_s(len(self._in_flight)))

    def close(self) -> None:
        """Claim nothing more; when it returns, all that was claimed has begun."""
        self._closed.set()
        with self._claiming:
            pass

    def heed_clock(self, ahead_s: float, most_s: float) -> None:
        """Claim nothing while this machine's clock is further off the store's than that."""
        self._skew.heed(ahead_s, most_s)

    def learn(self, ended: AttemptEnded) -> None:
        """What jobs take of the device, as they turn out; what one that went on from a tape still took is not that."""
        device_s = ended.metrics.get("device_s", 0.0)
        is_whole = "resumed_from_step" not in ended.metrics
        if ended.status == "succeeded" and device_s and is_whole:
            before = self._typical_s.get(ended.model, device_s)
            self._typical_s[ended.model] = before + LEARN * (device_s - before)

    def _room(self) -> Wanted:
        """How many jobs to ask for; looked at anew after a claim, after a while, and when nothing is left."""
        now = time.monotonic()
        if now >= self._stale_at or not len(self._in_flight):
            self._wanted = how_many(self._work(), self._claim_ahead_s, self._typical())
            self._stale_at = now + min(ROOM_S, ROOM_SHARE * self._claim_ahead_s)
        return self._wanted

    def _claim(self, wanted: Wanted) -> int:
        with self._claiming:
            if self._closed.is_set():
                return 0
            jobs = self._store.claim(self._asking(wanted.must_join), wanted.jobs, time.time())
            self._stale_at = 0.0
            for job in jobs:
                self._begin(job)
        if jobs:
            self._tell(JobsClaimed(len(jobs)))
        return len(jobs)

    def _asking(self, must_join: bool) -> Claimant:
        """Who asks: while enough jobs wait for a model to be loaded, for those of the loaded ones alone."""
        claimant = self._claimant()
        if must_join:
            return replace(claimant, models=tuple(model for model in claimant.loaded if self._joining.get(model)))
        waiting = _waiting(self._in_flight.all(), claimant)
        return replace(claimant, models=claimant.loaded) if len(waiting) >= MOST_WAITING else claimant

    def _typical(self) -> float:
        """Seconds of the device, as for the models at hand; of one of which none has ended, as the door judged it."""
        at_hand = [self._typical_s.get(each.job.model, each.job.cost_s) for each in self._in_flight.all()]
        said = at_hand or list(self._typical_s.values())
        return max(sum(said) / len(said), 1e-3) if said else self._claim_ahead_s

    def _stop_cancelled(self) -> None:
        for job_id in self._store.cancelling(self._claimant().worker) if len(self._in_flight) else ():
            attempt = self._in_flight.find(job_id)
            if attempt is not None and attempt.stop(Stop.CANCELLED):
                self._tell(StopAsked(job_id, Stop.CANCELLED))

    def _work(self) -> Work:
        attempts = self._in_flight.all()
        predicted = self._predicted() if attempts else Prediction()
        # What waits for its model keeps the device busy only later: until then, others have it.
        waiting = _waiting(attempts, self._claimant()) if attempts else []
        costs = _costs([attempt for attempt in attempts if attempt not in waiting])
        begun = Counter(attempt.job.model for attempt in attempts if not attempt.is_submitted)
        self._joining = {model: max(0, count - begun[model]) for model, count in predicted.joining.items()}
        return Work(
            in_flight=len(attempts),
            ahead_s=ahead_s(predicted.seconds, costs["submitted"], costs["unsubmitted"]),
            fits=predicted.fits - begun.total(),
            joining=sum(self._joining.values()),
            has_suspect=any(attempt.job.is_suspect for attempt in attempts),
        )


def _waiting(attempts: list[Attempt], claimant: Claimant) -> list[Attempt]:
    """Those whose model is not loaded yet."""
    return [each for each in attempts if not each.is_submitted and each.job.model not in claimant.loaded]


def _costs(attempts: list[Attempt]) -> Mapping[str, float]:
    """Device seconds as the door judged them, of what the engine has to do and of what it has not been handed."""
    costs = {"submitted": 0.0, "unsubmitted": 0.0}
    for attempt in attempts:
        if not attempt.is_submitted:
            costs["unsubmitted"] += attempt.job.cost_s
        elif attempt.is_running:
            costs["submitted"] += attempt.job.cost_s
    return costs
