"""How ends are written, by whoever had a claim: a worker or a forwarder. No torch.

    nothing raised              complete
    handed back, abandoned      nothing: whoever took it away writes
    lease lost                  nothing of this claim stays
    a client wants it           confirm_cancelled
    anything else               fail; with retry_at where another attempt may go better

A store that is away is asked again until it answers; the lease decides whether the answer still counts.
"""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from ..core import Artifact, Job, JobState, Lease
from ..errors import DarkroomError, LeaseLost, StoreUnavailable
from ..jobs.store import Store
from .attempt import Stop
from .claiming import pause_s
from .events import AttemptEnded, LeaseWasLost, StoreFailed, Tell

if TYPE_CHECKING:
    from ..storage.objects import Storage

log = logging.getLogger(__name__)
T = TypeVar("T")

ASK_AGAIN_S = (0.1, 5.0)  # the first pause while the store is away, and the longest


class Ending(Protocol):
    """What an attempt must have to be ended; `keys` are of what lies in the storage by now."""

    job: Job
    claimed_at: float
    keys: list[str]
    outputs: list[Artifact]

    @property
    def lease(self) -> Lease:
        """What its verbs show the store."""

    def check(self) -> None:
        """Raise `JobCancelled` where somebody wants it stopped."""

    def begin_ending(self) -> Stop | None:
        """From here on nobody stops it; returns why somebody has before."""


A = TypeVar("A", bound=Ending)


class Writing(ABC, Generic[A]):
    """Writes the ends of attempts; `retry_s` is the pause before a second one. Nothing is asked of the store again once
    `giving_up` is set."""

    def __init__(
        self, store: Store, storage: Storage, *, retry_s: float, tell: Tell, giving_up: threading.Event
    ) -> None:
        self._store, self._storage, self._tell = store, storage, tell
        self._retry_s, self._giving_up = retry_s, giving_up

    # What an attempt is to whom it belongs.

    @abstractmethod
    def metrics(self, attempt: A) -> Mapping[str, float]:
        """What it took, as the job keeps it."""

    @abstractmethod
    def said(self, attempt: A, error: BaseException) -> Mapping[str, Any]:
        """The error as the job keeps it: {code, message, field}."""

    @abstractmethod
    def step(self, attempt: A) -> int:
        """Denoising steps done."""

    @abstractmethod
    def may_pass(self, attempt: A, error: BaseException) -> bool:
        """Whether it may go better another time."""

    @abstractmethod
    def is_fault(self, error: BaseException) -> bool:
        """Whether it is a fault of our own, and so to be logged."""

    def kept(self, attempt: A) -> Sequence[str]:
        """Keys of what the job's next attempt would need: they go when the job ends."""
        return ()

    # How it ends.

    def complete(self, attempt: A) -> None:
        """running -> succeeded."""
        attempt.begin_ending()
        attempt.check()
        metrics = self.metrics(attempt)
        try:
            self._persist(lambda: self._store.complete(attempt.lease, attempt.outputs, metrics, time.time()))
        except LeaseLost:
            if not self._is_completed(attempt):
                raise
        self._remove(self.kept(attempt))
        self._note(attempt, "succeeded")

    def fail(self, attempt: A, error: BaseException) -> None:
        """However it ends that something was raised."""
        why = attempt.begin_ending()
        try:
            if why in (Stop.HANDED_BACK, Stop.ABANDONED):
                self._note(attempt, why)
            elif why == Stop.LOST or isinstance(error, LeaseLost):
                self._lose(attempt)
            elif why == Stop.CANCELLED:
                self._confirm_cancelled(attempt)
            else:
                self._fail(attempt, error)
        except LeaseLost:
            self._lose(attempt)
        except DarkroomError as refused:
            log.warning("%s: its end was not written, the lease returns it: %s", attempt.job.id, refused)
            self._note(attempt, Stop.LOST, refused)

    def _confirm_cancelled(self, attempt: A) -> None:
        metrics = self.metrics(attempt)
        self._persist(lambda: self._store.confirm_cancelled(attempt.lease, metrics, time.time()))
        self._remove([*attempt.keys, *self.kept(attempt)])
        self._note(attempt, Stop.CANCELLED)

    def _fail(self, attempt: A, error: BaseException) -> None:
        metrics, said, retry_at = self.metrics(attempt), self.said(attempt, error), self._retry_at(attempt, error)
        if self.is_fault(error):
            log.error("%s failed", attempt.job.id, exc_info=error)
        job = self._persist(lambda: self._store.fail(attempt.lease, said, metrics, time.time(), retry_at))
        has_failed = job.state == JobState.FAILED
        self._remove([*attempt.keys, *(self.kept(attempt) if has_failed else ())])
        self._note(attempt, "failed" if has_failed else "retried", error)

    def _retry_at(self, attempt: A, error: BaseException) -> float | None:
        if not self.may_pass(attempt, error):
            return None
        return time.time() + pause_s(attempt.job.attempt, self._retry_s, random.random())

    def _lose(self, attempt: A) -> None:
        """Another claim followed: nothing of this one stays, but what that claim needs."""
        self._remove(attempt.keys)
        self._tell(LeaseWasLost(attempt.job.id))
        self._note(attempt, Stop.LOST)

    def _remove(self, keys: Sequence[str]) -> None:
        with contextlib.suppress(DarkroomError):  # they lie under the job's own prefix, where nobody reads them
            if keys:
                self._storage.delete(keys)

    def _is_completed(self, attempt: A) -> bool:
        """Whether it was this claim that completed it: the answer to an earlier asking may have been lost."""
        job = self._persist(lambda: self._store.get(attempt.job.id))
        return job is not None and job.state == JobState.SUCCEEDED and job.fence == attempt.job.fence

    def _persist(self, write: Callable[[], T]) -> T:
        """Ask until the store answers, or the process gives up."""
        delay_s, longest_s = ASK_AGAIN_S
        while True:
            try:
                return write()
            except StoreUnavailable:
                self._tell(StoreFailed("writing the end of a job"))
                if self._giving_up.wait(delay_s):
                    raise
            delay_s = min(2 * delay_s, longest_s)

    def _note(self, attempt: A, status: str, error: BaseException | None = None) -> None:
        job, seconds = attempt.job, time.monotonic() - attempt.claimed_at
        code = self.said(attempt, error)["code"] if error is not None else None
        ids, metrics = (job.id, job.model, job.attempt, job.request_id), self.metrics(attempt)
        self._tell(AttemptEnded(*ids, str(status), seconds, self.step(attempt), code, metrics, job.traceparent))
